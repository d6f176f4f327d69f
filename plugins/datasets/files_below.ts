/**
 * The files of a folder and of all folders in it.
 *
 * @module
 */
import { readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../lib/errors.ts";

/**
 * Lists files, hidden ones apart. Links to files and folders count as what they lead to.
 *
 * @param folder Where to look.
 * @returns Paths from the folder with `/`, in an order that is the same everywhere.
 * @throws {InputError} If a link leads nowhere, or into a folder that it lies in; names it.
 */
export function filesBelow(folder: string): string[] {
  const files: string[] = [];
  const visit = (below: string, outer: readonly string[]) => {
    const here = join(folder, below);
    const real = realpathSync(here);
    if (outer.includes(real)) {
      throw new InputError(
        `${here}: leads back to ${real}, in which it lies itself; take the link away`,
      );
    }
    for (const entry of readdirSync(here, { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.name.startsWith(".") && !entry.isDirectory()) continue;
      const found = entry.isSymbolicLink() ? follow(join(folder, path)) : entry;
      if (found.isDirectory()) visit(path, [...outer, real]);
      else if (found.isFile()) files.push(path);
    }
  };
  visit("", []);
  return files.sort();
}

function follow(link: string): { isDirectory(): boolean; isFile(): boolean } {
  try {
    return statSync(link);
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = missing ? "which isn't there" : `which can't be read: ${(cause as Error).message}`;
    throw new InputError(
      `${link}: is a link to ${readlinkSync(link)}, ${why}; mend the link or take it away`,
      { cause },
    );
  }
}
