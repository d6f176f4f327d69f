/**
 * Checks that run unchanged in Deno, Node and the browser, and tell a test runner how they went.
 *
 * @module
 */

/** One named check; it fails by throwing. */
export interface Check {
  /** Unique among all checks. */
  readonly name: string;
  /** Throws where something is wrong, {@linkcode Skipped} where it can't tell; may return a remark. */
  run(): Promise<string | void> | string | void;
}

/** How a check went. */
export interface CheckResult {
  /** The check's name. */
  readonly name: string;
  /** What was thrown; null where the check passed. */
  readonly error: string | null;
  /** Why the check can't tell; null where it can. */
  readonly skipped: string | null;
  /** What the check remarked. */
  readonly note: string;
  /** How long it took. */
  readonly seconds: number;
}

/** Thrown by a check that can't tell, with the reason. */
export class Skipped extends Error {}

/** Throws unless `condition` holds. */
export function ensure(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Runs `task` and returns what it throws; throws where it throws nothing. */
export async function thrownBy(task: () => unknown): Promise<unknown> {
  try {
    await task();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** Runs the checks one after another. */
export async function* runChecks(checks: readonly Check[]): AsyncGenerator<CheckResult> {
  for (const { name, run } of checks) {
    const started = performance.now();
    let error: string | null = null;
    let skipped: string | null = null;
    let note = "";
    try {
      note = await run() ?? "";
    } catch (thrown) {
      if (thrown instanceof Skipped) skipped = thrown.message;
      else error = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown);
    }
    yield { name, error, skipped, note, seconds: (performance.now() - started) / 1000 };
  }
}
