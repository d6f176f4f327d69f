/**
 * The command line as a user runs it.
 *
 * @module
 */
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../../plugins/commands/main.ts", import.meta.url));

/** What a command has left. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `ovs` in a process of its own, in a folder. */
export function runOvs(cwd: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["run", "-A", "--quiet", main, ...args],
      { cwd, maxBuffer: 2 ** 28, encoding: "utf8" },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}
