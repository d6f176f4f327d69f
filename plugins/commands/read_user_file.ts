/**
 * Files that a person named on the command line.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { InputError } from "../../lib/errors.ts";

/**
 * Reads one.
 *
 * @param path Where it is.
 * @param wanted What to name where the path is a folder's: `name a config in it`.
 * @throws {InputError} If it can't be read; names the file and says why.
 */
export async function readUserFile(path: string, wanted: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    const reason = code === "ENOENT"
      ? "no such file"
      : code === "EISDIR"
      ? `is a folder; ${wanted}`
      : `can't be read: ${(cause as Error).message}`;
    throw new InputError(`${path}: ${reason}`, { cause });
  }
}

/** As {@linkcode readUserFile}, decoded as Node decodes UTF-8. */
export async function readUserText(path: string, wanted: string): Promise<string> {
  return Buffer.from(await readUserFile(path, wanted)).toString("utf8");
}
