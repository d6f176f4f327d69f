/**
 * Files of a run, written so that a crash at any moment leaves either the old or the new one.
 *
 * @module
 */
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { OutputError } from "../../lib/errors.ts";

/** The part of `node:fs` that writes; tests put a full disk in its place. */
export type FileSystem = Pick<
  typeof fs,
  "openSync" | "writeSync" | "fsyncSync" | "closeSync" | "renameSync" | "rmSync"
>;

/** The real file system. */
export const realFileSystem: FileSystem = fs;

const temporarySuffix = ".tmp";

/** Whether a name is that of a file that was never finished. */
export function isTemporary(name: string): boolean {
  return name.startsWith(".") && name.endsWith(temporarySuffix);
}

/** Why a file can't be written, in words. */
function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "ENOSPC" || code === "EDQUOT") return "the disk is full; make room";
  if (code === "EACCES" || code === "EPERM") return "permission to write there is missing";
  if (code === "EROFS") return "the disk is read-only";
  return `can't be written: ${String(message ?? error).split("\n", 1)[0]}`;
}

/** The error of a file that can't be written. */
export function writeError(path: string, cause: unknown): OutputError {
  return new OutputError(`${path}: ${reason(cause)}`, { cause });
}

/** Writes all bytes: the system may take fewer at once. */
function writeAll(files: FileSystem, fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const written = files.writeSync(fd, bytes, at, bytes.length - at);
    if (written === 0) throw Object.assign(new Error("no byte was taken"), { code: "ENOSPC" });
    at += written;
  }
}

/** Makes what was renamed in a folder outlive a loss of power. */
function syncFolder(path: string, files: FileSystem): void {
  let fd: number;
  try {
    fd = files.openSync(path, "r");
  } catch {
    return; // Some systems don't open folders; there, renames are journalled.
  }
  try {
    files.fsyncSync(fd);
  } catch {
    // Nor do all of them sync one.
  } finally {
    files.closeSync(fd);
  }
}

/**
 * Writes a file: complete and on the disk under another name first, then renamed.
 *
 * @param path Where to.
 * @param pieces Its bytes.
 * @throws {OutputError} If it can't be written; what stood there before still does.
 */
export function writeFileAtomically(
  path: string,
  pieces: Iterable<Uint8Array>,
  files: FileSystem = realFileSystem,
): void {
  const temporary = join(dirname(path), `.${basename(path)}${temporarySuffix}`);
  try {
    const fd = files.openSync(temporary, "w");
    try {
      for (const piece of pieces) writeAll(files, fd, piece);
      files.fsyncSync(fd);
    } finally {
      files.closeSync(fd);
    }
    files.renameSync(temporary, path);
    syncFolder(dirname(path), files);
  } catch (cause) {
    try {
      files.rmSync(temporary, { force: true });
    } catch {
      // The first failure says more.
    }
    throw writeError(path, cause);
  }
}

/** Writes text; see {@linkcode writeFileAtomically}. */
export function writeTextAtomically(path: string, text: string, files?: FileSystem): void {
  writeFileAtomically(path, [new TextEncoder().encode(text)], files);
}

/**
 * Appends text to a file.
 *
 * @throws {OutputError} If it can't be written; part of the text may be there then.
 */
export function appendText(path: string, text: string, files: FileSystem = realFileSystem): void {
  try {
    const fd = files.openSync(path, "a");
    try {
      writeAll(files, fd, new TextEncoder().encode(text));
    } finally {
      files.closeSync(fd);
    }
  } catch (cause) {
    throw writeError(path, cause);
  }
}
