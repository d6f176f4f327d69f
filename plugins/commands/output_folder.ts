/**
 * Results on disk: all of them or none.
 *
 * @module
 */
import { mkdir, open, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { OutputError } from "../../lib/errors.ts";

/** Why a folder or file can't be written, in words. */
function reason(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  switch (code) {
    case "EACCES":
    case "EPERM":
      return "permission to write there is missing; choose another folder with --out";
    case "EROFS":
      return "the disk is read-only; choose another folder with --out";
    case "ENOTDIR":
    case "EEXIST":
      return "a file is in the way; choose another folder with --out";
    case "ENOSPC":
      return "the disk is full; make room or choose another folder with --out";
    default:
      return `can't be written: ${String(message ?? error).split("\n", 1)[0]}`;
  }
}

/** A folder that was found writable before any work was put into what goes there. */
export class OutputFolder {
  /** The folder, as it was named. */
  readonly path: string;
  /** The topmost folder that had to be made, or undefined. */
  readonly #made: string | undefined;

  private constructor(path: string, made: string | undefined) {
    this.path = path;
    this.#made = made;
  }

  /**
   * Makes the folder where it is missing, and tries whether it can be written to.
   *
   * @throws {OutputError} If not; names the folder and says why.
   */
  static async open(path: string): Promise<OutputFolder> {
    let made: string | undefined;
    try {
      made = await mkdir(path, { recursive: true });
      if (!(await stat(path)).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
      const probe = temporary(join(path, "probe"));
      await (await open(probe, "wx")).close();
      await rm(probe);
    } catch (cause) {
      throw new OutputError(`output folder ${path}: ${reason(cause)}`, { cause });
    }
    return new OutputFolder(path, made);
  }

  /**
   * Writes files. Each is complete before any takes its name, so that nobody ever finds half of
   * one, and an error leaves none behind. A link stays, and the file that it leads to is replaced.
   *
   * @param files Bytes by file name.
   * @returns The paths, in the order of `files`.
   * @throws {OutputError} If one can't be written; names it.
   */
  async write(files: ReadonlyMap<string, Uint8Array>): Promise<string[]> {
    const written: { path: string; target: string; unfinished: string; bytes: Uint8Array }[] = [];
    let current = this.path;
    try {
      for (const [name, bytes] of files) {
        const path = current = join(this.path, name);
        const found = await stat(path).catch(() => null);
        // A rename would replace a device or a pipe.
        if (found !== null && !found.isFile()) {
          throw Object.assign(new Error(), { code: found.isDirectory() ? "EISDIR" : "EEXIST" });
        }
        const target = found === null ? path : await realpath(path);
        written.push({ path, target, unfinished: temporary(target), bytes });
      }
      for (const { path, unfinished, bytes } of written) {
        current = path;
        const file = await open(unfinished, "wx");
        try {
          await file.writeFile(bytes);
        } finally {
          await file.close();
        }
      }
      for (const { path, target, unfinished } of written) {
        current = path;
        await rename(unfinished, target);
      }
    } catch (cause) {
      await Promise.all(written.map(({ unfinished }) => rm(unfinished, { force: true })));
      const inTheWay = (cause as { code?: string }).code === "EISDIR";
      throw new OutputError(
        `${current}: ${inTheWay ? "a folder of that name is in the way" : reason(cause)}`,
        { cause },
      );
    }
    return written.map(({ path }) => path);
  }

  /** After a failure: takes away the folders that {@linkcode OutputFolder.open} had to make. */
  async discard(): Promise<void> {
    if (this.#made === undefined) return;
    const top = resolve(this.#made);
    try {
      for (let folder = resolve(this.path);; folder = dirname(folder)) {
        await rmdir(folder);
        if (folder === top) break;
      }
    } catch {
      // Somebody has put something there meanwhile: then the folder is theirs.
    }
  }
}

function temporary(path: string): string {
  return join(
    dirname(path),
    `.${basename(path)}.${process.pid}.tmp`,
  );
}
