/**
 * What was thrown, in one line.
 *
 * @module
 */

/** The first line of the message of whatever was thrown. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
}
