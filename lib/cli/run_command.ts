/**
 * From errors to exit codes.
 *
 * @module
 */
import process from "node:process";
import { OutputError, OvsError } from "../errors.ts";
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
      await complain(`ovs: ${printable(error.message.replace(/\s*\n\s*/g, " "))}\n`);
      return EXIT_USAGE;
    }
    // The reader of our output went away (`ovs … | head`): nobody is left to tell.
    if ((error as { code?: string } | null)?.code === "EPIPE") return 0;
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    await complain(`ovs: this is a defect, please report it\n${text}\n`);
    return EXIT_DEFECT;
  }
}

/** Writes to standard error; where that fails too, the exit code has to do. */
async function complain(text: string): Promise<void> {
  await writeText(process.stderr, text).catch(() => {});
}

/**
 * Writes a text and waits until the system has taken it: a pipe takes only so much at once.
 *
 * @throws {OutputError} If it can't be written. Where nobody reads it any more, the system's own
 * error with the code `EPIPE`.
 */
export async function writeText(stream: NodeJS.WritableStream, text: string): Promise<void> {
  // A failed write is told twice: to its callback, and as an event, which ends the process unless
  // somebody listens.
  const ignore = () => {};
  stream.once("error", ignore);
  try {
    await new Promise<void>((resolve, reject) => {
      stream.write(text, (error) => error ? reject(error) : resolve());
    });
    stream.off("error", ignore);
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    if (code === "EPIPE") throw cause;
    const name = stream === process.stderr ? "standard error" : "standard output";
    throw new OutputError(
      code === "ENOSPC"
        ? `${name} can't be written: the disk is full; make room, or send it elsewhere`
        : `${name} can't be written: ${message}`,
      { cause },
    );
  }
}
