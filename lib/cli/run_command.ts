/**
 * From errors to exit codes.
 *
 * @module
 */
import process from "node:process";
import { OvsError } from "../errors.ts";
import { printable } from "./text.ts";

/** Exit code where somebody can act on the message: wrong input, option, file or device. */
export const EXIT_USAGE = 2;
/** Exit code of a defect. */
export const EXIT_DEFECT = 1;

/**
 * Runs a command to its end. An {@linkcode OvsError} becomes one line on standard error and exit
 * code 2; anything else is a defect and keeps its stack trace, with exit code 1.
 *
 * @param command The work.
 * @returns The exit code, 0 where all went well.
 */
export async function runCommand(command: () => Promise<void>): Promise<number> {
  try {
    await command();
    return 0;
  } catch (error) {
    if (error instanceof OvsError) {
      await writeText(
        process.stderr,
        `ovs: ${printable(error.message.replace(/\s*\n\s*/g, " "))}\n`,
      );
      return EXIT_USAGE;
    }
    // The reader of our output went away (`ovs … | head`): nobody is left to tell.
    if ((error as { code?: string } | null)?.code === "EPIPE") return 0;
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    await writeText(process.stderr, `ovs: this is a defect, please report it\n${text}\n`);
    return EXIT_DEFECT;
  }
}

/** Writes a text and waits until the system has taken it: a pipe takes only so much at once. */
export function writeText(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => error ? reject(error) : resolve());
  });
}
