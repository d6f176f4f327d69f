/**
 * Keeps two runs out of one folder.
 *
 * @module
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kill, pid } from "node:process";
import { OutputError } from "../../lib/errors.ts";
import { writeError } from "./run_files.ts";

/** Who works in a folder. */
interface Owner {
  /** Its process. */
  readonly pid: number;
  /** When that began, in ticks since the machine did; null where the system doesn't say. */
  readonly began: string | null;
}

/** The name of the lock. */
export const lockFile = "running.json";

/** When a process began: another one may get its number later. */
function beganAt(pid: number): string | null {
  try {
    // The name, in parentheses, may hold spaces; the start is the 22nd field of all.
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive({ pid, began }: Owner): boolean {
  try {
    kill(pid, 0);
  } catch (error) {
    // A process of somebody else's is alive, too.
    if ((error as { code?: string }).code !== "EPERM") return false;
  }
  const now = beganAt(pid);
  return began === null || now === null || began === now;
}

/** The owner that a lock names; null where it is gone, or no lock. */
function readOwner(path: string): Owner | null {
  try {
    const { pid, began } = JSON.parse(readFileSync(path, "utf8")) as Partial<Owner>;
    return Number.isSafeInteger(pid) && pid! > 0 ? { pid: pid!, began: began ?? null } : null;
  } catch {
    return null;
  }
}

/**
 * Takes a folder for this process's run. What a killed process has left is no obstacle: a lock counts
 * as long as its process lives. Processes of other machines are not seen.
 *
 * @param folder The run's folder; it exists.
 * @returns The lock; disposing of it gives the folder free.
 * @throws {OutputError} If another run, or another one of this process, works there; names folder
 *   and process. Or if the lock can't be written.
 */
export function lockRun(folder: string): Disposable {
  const path = join(folder, lockFile);
  const draft = join(folder, `.${lockFile}.${pid}.tmp`);
  const own: Owner = { pid, began: beganAt(pid) };
  try {
    writeFileSync(draft, JSON.stringify(own) + "\n");
    for (;;) {
      try {
        // Either this makes the lock, whole, or there is one.
        linkSync(draft, path);
        break;
      } catch (error) {
        if ((error as { code?: string }).code !== "EEXIST") throw error;
      }
      const owner = readOwner(path);
      if (owner !== null && isAlive(owner)) {
        throw new OutputError(
          `${folder}: process ${owner.pid} works there; wait for its end or stop it, or choose ` +
            "another folder",
        );
      }
      removeStale(path, owner);
    }
  } catch (error) {
    throw error instanceof OutputError ? error : writeError(path, error);
  } finally {
    rmSync(draft, { force: true });
  }
  return {
    [Symbol.dispose]() {
      if (readOwner(path)?.pid === pid) rmSync(path, { force: true });
    },
  };
}

/** Removes a lock that nobody holds, but not the one that somebody else has put in its place. */
function removeStale(path: string, stale: Owner | null): void {
  const aside = `${path}.${pid}.tmp`;
  try {
    renameSync(path, aside);
  } catch {
    return; // It is gone.
  }
  const found = readOwner(aside);
  if (found !== null && (found.pid !== stale?.pid || found.began !== stale.began)) {
    try {
      linkSync(aside, path);
    } catch {
      // A third one has come before.
    }
  }
  rmSync(aside, { force: true });
}
