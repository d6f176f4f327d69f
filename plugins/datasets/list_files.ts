/**
 * Which image goes with which labels.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../lib/errors.ts";
import type { LabelledFiles } from "./file_dataset.ts";
import { filesBelow } from "./files_below.ts";

/** Whether there is a folder. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Where a data set's files are. */
export interface LabelledFolders {
  /** The folder of images. */
  readonly images: string;
  /** The folder of labels. */
  readonly labels: string;
  /** How image files may end; what ends otherwise is no matter. */
  readonly imageSuffixes: readonly string[];
  /** How label files may end. */
  readonly labelSuffixes: readonly string[];
  /** How files may end that are no matter, although a suffix fits them; none where left out. */
  readonly otherSuffixes?: readonly string[];
}

/** Files by their path without the suffix. */
function byStem(
  folder: string,
  suffixes: readonly string[],
  others: readonly string[] = [],
): Map<string, string> {
  const stems = new Map<string, string>();
  for (const file of filesBelow(folder)) {
    if (others.some((suffix) => file.endsWith(suffix))) continue;
    const suffix = suffixes.find((suffix) => file.endsWith(suffix));
    if (suffix === undefined) continue;
    const stem = file.slice(0, -suffix.length);
    const first = stems.get(stem);
    if (first !== undefined) {
      throw new InputError(`${first}: is there a second time, as ${join(folder, file)}; keep one`);
    }
    stems.set(stem, join(folder, file));
  }
  return stems;
}

/**
 * Pairs all images of a folder with their labels in another, by their names without suffixes.
 *
 * @throws {InputError} If a folder is missing, there is no image, or one file lacks the other.
 */
export function pairFiles(folders: LabelledFolders): LabelledFiles[] {
  for (const [folder, other] of [["images", "labels"], ["labels", "images"]] as const) {
    if (isFolder(folders[folder])) continue;
    throw new InputError(
      `${folders[folder]}: no such folder; it must hold the ${folder} of the ${other} in ` +
        folders[other],
    );
  }
  const images = byStem(folders.images, folders.imageSuffixes);
  const labels = byStem(folders.labels, folders.labelSuffixes, folders.otherSuffixes);
  if (images.size === 0) {
    throw new InputError(
      `${folders.images}: holds no image; their names must end with ` +
        folders.imageSuffixes.join(" or "),
    );
  }
  for (const [stem, label] of labels) {
    if (images.has(stem)) continue;
    const missing = join(folders.images, stem + folders.imageSuffixes.join(" or "));
    throw new InputError(`${label}: has no image; there is no ${missing}`);
  }
  return [...images].map(([id, image]) => {
    const label = labels.get(id);
    if (label === undefined) {
      const missing = join(folders.labels, id + folders.labelSuffixes.join(" or "));
      throw new InputError(`${image}: has no labels; there is no ${missing}`);
    }
    return { id, image, labels: label };
  });
}

/**
 * Finds the files that a list names, one a line; files beside them are no matter.
 *
 * @param list A text file.
 * @param folders Where its names are to be found, with the first suffix of each kind.
 * @throws {InputError} If the list can't be read, is empty or names a file twice, or one of the
 *   files isn't there.
 */
export function listedFiles(list: string, folders: LabelledFolders): LabelledFiles[] {
  let text: string;
  try {
    text = readFileSync(list, "utf8");
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = missing ? "no such file" : `can't be read: ${(cause as Error).message}`;
    throw new InputError(`${list}: ${why}; it must list the images, one a line`, { cause });
  }
  const ids = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (ids.length === 0) throw new InputError(`${list}: lists no image; one a line is needed`);
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) throw new InputError(`${list}: lists ${id} twice; keep one`);
    seen.add(id);
  }
  const present = {
    images: new Set(isFolder(folders.images) ? filesBelow(folders.images) : []),
    labels: new Set(isFolder(folders.labels) ? filesBelow(folders.labels) : []),
  };
  return ids.map((id) => {
    const path = (kind: "images" | "labels", suffix: string) => {
      const file = id + suffix;
      if (!present[kind].has(file)) {
        const what = kind === "images" ? "image" : "labels";
        throw new InputError(
          `${list}: ${id} has no ${what}; there is no ${join(folders[kind], file)}`,
        );
      }
      return join(folders[kind], file);
    };
    return {
      id,
      image: path("images", folders.imageSuffixes[0]!),
      labels: path("labels", folders.labelSuffixes[0]!),
    };
  });
}
