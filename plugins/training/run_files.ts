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
  | "openSync"
  | "writeSync"
  | "fsyncSync"
  | "closeSync"
  | "renameSync"
  | "rmSync"
  | "statSync"
  | "lstatSync"
  | "realpathSync"
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
 * The file that a rename may replace: what a link leads to, not the link itself. Null where it can
 * only be written in place: a device or a pipe, or a link to nothing yet.
 */
function replaceable(path: string, files: FileSystem): string | null {
  const found = files.statSync(path, { throwIfNoEntry: false });
  if (found?.isFile()) return files.realpathSync(path);
  const isThere = found !== undefined ||
    files.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  return isThere ? null : path;
}

function writePieces(
  path: string,
  pieces: Iterable<Uint8Array>,
  files: FileSystem,
  { sync }: { sync: boolean },
): void {
  const fd = files.openSync(path, "w");
  try {
    for (const piece of pieces) writeAll(files, fd, piece);
    // Pipes and some devices refuse it.
    if (sync) files.fsyncSync(fd);
  } finally {
    files.closeSync(fd);
  }
}

/**
 * Writes a file: complete and on the disk under another name first, then renamed. A link stays and
 * the file that it leads to is replaced; devices and pipes are written to as they are.
 *
 * @param path Where to.
 * @param pieces Its bytes.
 * @throws {OutputError} If it can't be written; a file that stood there before still does.
 */
export function writeFileAtomically(
  path: string,
  pieces: Iterable<Uint8Array>,
  files: FileSystem = realFileSystem,
): void {
  let temporary: string | undefined;
  try {
    const target = replaceable(path, files);
    if (target === null) return writePieces(path, pieces, files, { sync: false });
    temporary = join(dirname(target), `.${basename(target)}${temporarySuffix}`);
    writePieces(temporary, pieces, files, { sync: true });
    files.renameSync(temporary, target);
    syncFolder(dirname(target), files);
  } catch (cause) {
    try {
      if (temporary !== undefined) files.rmSync(temporary, { force: true });
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
