/**
 * A user's own data: a folder of images and label PNGs, in the layouts of detectron2 and
 * mmsegmentation.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { statSync } from "node:fs";
import { join } from "node:path";
import { InputError, OptionError } from "../../../lib/errors.ts";
import type { Image } from "../../../lib/image/image.ts";
import { knownNames } from "../../../lib/stages/suggest.ts";
import { decodeUtf8 } from "../../../lib/text/decode_utf8.ts";
import { readImage } from "../../codecs/read_image.ts";
import { checkClasses, parseNames } from "../../commands/class_list.ts";
import { filesBelow } from "../files_below.ts";
import { isFolder } from "../list_files.ts";
import { decodeLabelMap } from "./label_png.ts";

/** The greatest value that a label can have, in a PNG of 16 bits. */
const maxLabel = 65535;

/** Where the data is, and what its label values mean. */
export interface LabelledFolderOptions {
  /** The folder. */
  readonly path: string;
  /** Class names in the order of the label values, or a file with them. */
  readonly classes: string | readonly string[];
  /** Label value that counts nowhere; 255 where left out. */
  readonly ignoreLabel?: number;
  /** Label 0 counts nowhere, and 1 is the first class; false where left out. */
  readonly reduceZeroLabel?: boolean;
  /** How image files end; any of .jpg, .jpeg, .png and .webp where empty or left out. */
  readonly imageSuffix?: string;
  /** How label files end; ".png" where left out. */
  readonly labelSuffix?: string;
}

/** Which part of the data. */
export type Split = "train" | "val";

/** An image and its labels. */
export interface LabelledImage {
  /** The image. */
  readonly image: Image;
  /** height × width indices into the class names; −1 where a pixel counts nowhere. */
  readonly labels: Int32Array;
}

interface Sample {
  /** The image's path below the split's folder, without its suffix. */
  readonly id: string;
  readonly image: string;
  readonly label: string;
}

interface SplitFiles {
  readonly samples: readonly Sample[];
  /** A label file without an image, and the image that is missing. */
  readonly stray: { readonly label: string; readonly image: string } | null;
}

const noFiles: SplitFiles = { samples: [], stray: null };

const layouts = [["images", "annotations"], ["img_dir", "ann_dir"]] as const;
const splitNames: Readonly<Record<Split, readonly string[]>> = {
  train: ["train", "training"],
  val: ["val", "validation"],
};
const imageSuffixes = [".jpg", ".jpeg", ".png", ".webp"];

/** Names by label value, and where each stands among the classes. */
interface ClassList {
  readonly names: readonly string[];
  /** Names that mean each class, its own first. */
  readonly synonyms: readonly (readonly string[])[];
  /** Index of the class that a label value stands for. */
  readonly indexOf: ReadonlyMap<number, number>;
}

/**
 * Reads a class list: names in the order of their label values, one a line or as a JSON array; or a
 * JSON array of objects with `id`, the label value, `name`, and perhaps `synonyms`.
 */
async function readClasses(classes: string | readonly string[]): Promise<ClassList> {
  const inOrder = (names: readonly string[]): ClassList => ({
    names,
    synonyms: names.map((name) => [name]),
    indexOf: new Map(names.map((_, i) => [i, i])),
  });
  if (typeof classes !== "string") return inOrder(checkClasses(classes, "data.classes"));
  let bytes: Uint8Array;
  try {
    bytes = await readFile(classes);
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = missing ? "no such file" : `can't be read: ${(cause as Error).message}`;
    throw new InputError(
      `class list ${classes}: ${why}; it must be a file with a name a line, or JSON`,
      { cause },
    );
  }
  const text = decodeUtf8(bytes, classes);
  const entries = parseEntries(text, classes);
  if (entries === null) return inOrder(checkClasses(parseNames(text, classes), classes));
  return isNames(entries) ? inOrder(checkClasses(entries, classes)) : withIds(entries, classes);
}

function isNames(entries: readonly unknown[]): entries is readonly string[] {
  return entries.every((entry) => typeof entry === "string");
}

/** The entries of a JSON array; null where the text doesn't look like JSON. */
function parseEntries(text: string, path: string): unknown[] | null {
  if (!/^\s*[[{]/.test(text)) return null;
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${path}: is no valid JSON: ${(cause as Error).message}`, { cause });
  }
  if (!Array.isArray(entries)) {
    throw new InputError(
      `${path}: is a JSON object; a class list is a JSON array, of names or of objects with the ` +
        'fields id and name: [{"id": 0, "name": "sky"}]',
    );
  }
  return entries;
}

const entryFields = ["id", "name", "synonyms"];

function withIds(entries: readonly unknown[], path: string): ClassList {
  const indexOf = new Map<number, number>();
  const synonyms: string[][] = [];
  const names = entries.map((value, i) => {
    const entry = (value ?? {}) as Readonly<Record<string, unknown>>;
    const { id, name, synonyms: further = [] } = entry;
    const words = typeof name === "string" ? `entry ${i + 1} ("${name}")` : `entry ${i + 1}`;
    if (typeof name !== "string") throw new InputError(`${path}: ${words} has no "name"`);
    const unknown = Object.keys(entry).find((field) => !entryFields.includes(field));
    if (unknown !== undefined) {
      throw new InputError(
        `${path}: ${words} has an unknown field "${unknown}"; ${knownNames(unknown, entryFields)}`,
      );
    }
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > maxLabel) {
      throw new InputError(
        `${path}: ${words} has ${
          id === undefined ? 'no "id"' : `the id ${JSON.stringify(id)}`
        }; it must be the class's label value, a whole number from 0 to ${maxLabel}`,
      );
    }
    const first = indexOf.get(id as number);
    if (first !== undefined) {
      throw new InputError(`${path}: ${words} has the id ${id} of entry ${first + 1}`);
    }
    if (
      !Array.isArray(further) || further.some((text) => typeof text !== "string" || !text.trim())
    ) {
      throw new InputError(`${path}: ${words} has synonyms that are no list of names`);
    }
    indexOf.set(id as number, i);
    synonyms.push([...new Set([name, ...further as string[]].map((text) => text.trim()))]);
    return name;
  });
  return { names: checkClasses(names, path), synonyms, indexOf };
}

/**
 * A folder of images and label PNGs. These layouts are understood, with `training` and `validation`
 * too in place of `train` and `val`, and with folders inside:
 *
 *     images/train/a.jpg   annotations/train/a.png     detectron2, ADE20K
 *     img_dir/train/a.jpg  ann_dir/train/a.png         mmsegmentation
 */
export class LabelledFolder {
  /** The folder. */
  readonly path: string;
  /** The classes' names; labels index them. */
  readonly names: readonly string[];
  /** Names that mean each class, its own first. */
  readonly synonyms: readonly (readonly string[])[];
  readonly #indexOf: Int32Array;
  readonly #splits: Readonly<Record<Split, SplitFiles>>;

  private constructor(
    path: string,
    classes: ClassList,
    indexOf: Int32Array,
    splits: Readonly<Record<Split, SplitFiles>>,
  ) {
    this.path = path;
    this.names = classes.names;
    this.synonyms = classes.synonyms;
    this.#indexOf = indexOf;
    this.#splits = splits;
  }

  /**
   * Lists the images and finds each one's labels; reads none of them yet.
   *
   * @param options Where the data is.
   * @param needed The splits that are looked at, so that a fault in another is no matter: it counts
   *   as empty. The first must have an image.
   * @throws {OptionError} If no label can have the value that counts nowhere.
   * @throws {InputError} If the folder has none of the layouts, no image in the first split, an
   *   image without labels or there twice, or the class list is wrong: an entry without an id, a
   *   name there twice.
   */
  static async open(
    options: LabelledFolderOptions,
    needed: readonly [Split, ...Split[]] = ["train", "val"],
  ): Promise<LabelledFolder> {
    const { path, ignoreLabel = 255, reduceZeroLabel = false } = options;
    if (!Number.isInteger(ignoreLabel) || ignoreLabel < 0 || ignoreLabel > maxLabel) {
      throw new OptionError(
        `${path}: ignoreLabel is ${ignoreLabel}; it must be a whole number from 0 to ${maxLabel}, ` +
          "as labels have at most 16 bits",
      );
    }
    if (!isFolder(path)) throw new InputError(`${path}: no such folder`);
    const classes = await readClasses(options.classes);
    const layout = layouts.find(([images]) => isFolder(join(path, images)));
    if (layout === undefined) {
      throw new InputError(
        `${path}: has neither images/ and annotations/ (detectron2) nor img_dir/ and ann_dir/ ` +
          "(mmsegmentation)",
      );
    }
    const splits: Record<Split, SplitFiles> = { train: noFiles, val: noFiles };
    for (const split of needed) splits[split] = filesOf(options, layout, split);
    if (splits[needed[0]].samples.length === 0) {
      throw new InputError(`${join(path, layout[0], needed[0])}: holds no image`);
    }
    // -2 is a value that the class list doesn't have, -1 one that counts nowhere.
    const indexOf = new Int32Array(maxLabel + 1).fill(-2);
    for (const [value, index] of classes.indexOf) {
      const shifted = value + Number(reduceZeroLabel);
      if (shifted <= maxLabel) indexOf[shifted] = index;
    }
    if (reduceZeroLabel) indexOf[0] = -1;
    const hidden = indexOf[ignoreLabel]!;
    if (options.ignoreLabel === undefined && hidden >= 0) {
      throw new InputError(
        `${path}: the label ${ignoreLabel} counts nowhere, and is the class ` +
          `"${classes.names[hidden]}" as well; give a value of no class, such as 65535, as ` +
          "ignoreLabel (--ignore-label)",
      );
    }
    indexOf[ignoreLabel] = -1;
    return new LabelledFolder(path, classes, indexOf, splits);
  }

  /** The number of images. */
  count(split: Split): number {
    return this.#splits[split].samples.length;
  }

  /** An image's path below the folder of its split, without its suffix. */
  id(split: Split, index: number): string {
    return this.#splits[split].samples[index]!.id;
  }

  /**
   * Training leaves labels without an image alone; a score must not.
   *
   * @throws {InputError} If there are any; names the first.
   */
  refuseStrayLabels(split: Split): void {
    const { stray } = this.#splits[split];
    if (stray === null) return;
    throw new InputError(`${stray.label}: has no image; there is no ${stray.image}`);
  }

  /**
   * A digest of what training depends on: the files' names and sizes, and what labels mean. The
   * folder may be moved.
   */
  fingerprint(): string {
    const hash = createHash("sha256").update(JSON.stringify(this.names));
    hash.update(this.#indexOf);
    for (const { image, label } of this.#splits.train.samples) {
      for (const file of [image, label]) {
        hash.update(`${file.slice(this.path.length)} ${statSync(file).size}\n`);
      }
    }
    return hash.digest("hex").slice(0, 16);
  }

  /**
   * Reads an image and its labels.
   *
   * @throws {InputError} If a file can't be decoded, the two differ in size, or a label value is
   *   neither in the class list nor the ignored one; names the file.
   */
  async read(split: Split, index: number): Promise<LabelledImage> {
    const sample = this.#splits[split].samples[index]!;
    const [image, bytes] = await Promise.all([readImage(sample.image), readFile(sample.label)]);
    const { width, height, depth, values } = decodeLabelMap(bytes, sample.label);
    const most = this.#indexOf.findLastIndex((index) => index >= 0);
    if (depth < 16 && most > 255) {
      throw new InputError(
        `${sample.label}: has ${depth} bits per pixel; the class list's labels go up to ${most}, ` +
          "which takes 16",
      );
    }
    if (width !== image.width || height !== image.height) {
      throw new InputError(
        `${sample.label}: is ${width}×${height}, its image ${sample.image} is ` +
          `${image.width}×${image.height}; both must be of one size`,
      );
    }
    const labels = Int32Array.from(values, (value) => this.#indexOf[value]!);
    const wrong = labels.indexOf(-2);
    if (wrong >= 0) {
      const known = this.#indexOf.reduce((n, index) => n + Number(index >= 0), 0);
      const least = this.#indexOf.findIndex((index) => index >= 0);
      throw new InputError(
        `${sample.label}: has the label ${values[wrong]} at row ${Math.floor(wrong / width)}, ` +
          `column ${wrong % width}; the class list has ${known}, from ${least} to ${most}`,
      );
    }
    return { image, labels };
  }

  /**
   * Reads everything once, so that a fault shows now and not hours later.
   *
   * @throws {InputError} As {@linkcode LabelledFolder.read}, or if no pixel of the training images
   *   is labelled.
   */
  async verify(splits: readonly Split[]): Promise<void> {
    for (const split of splits) {
      let labelled = 0;
      for (let i = 0; i < this.count(split); i++) {
        const { labels } = await this.read(split, i);
        if (labels.some((label) => label >= 0)) labelled++;
      }
      if (labelled === 0 && this.count(split) > 0) {
        throw new InputError(
          `${this.path}: all pixels of its ${this.count(split)} ${split} images have labels that ` +
            "count nowhere",
        );
      }
    }
  }
}

function filesOf(
  { path, imageSuffix = "", labelSuffix = ".png" }: LabelledFolderOptions,
  [images, labels]: readonly [string, string],
  split: Split,
): SplitFiles {
  const name = splitNames[split].find((name) => isFolder(join(path, images, name)));
  if (name === undefined) return noFiles;
  const [imageFolder, labelFolder] = [join(path, images, name), join(path, labels, name)];
  if (!isFolder(labelFolder)) {
    throw new InputError(
      `${labelFolder}: no such folder; it must hold the labels of ${imageFolder}`,
    );
  }
  const suffixes = imageSuffix === "" ? imageSuffixes : [imageSuffix];
  const existing = new Set(filesBelow(labelFolder));
  const samples = new Map<string, Sample>();
  for (const file of filesBelow(imageFolder)) {
    const suffix = suffixes.find((suffix) => file.toLowerCase().endsWith(suffix.toLowerCase()));
    if (suffix === undefined) continue;
    const id = file.slice(0, -suffix.length);
    const [image, label] = [join(imageFolder, file), join(labelFolder, id + labelSuffix)];
    const first = samples.get(id);
    if (first !== undefined) {
      throw new InputError(
        `${first.image}: is there a second time, as ${image}, with the same labels; keep one`,
      );
    }
    if (!existing.has(id + labelSuffix)) {
      throw new InputError(`${image}: has no labels; there is no ${label}`);
    }
    samples.set(id, { id, image, label });
  }
  const known = new Set([...samples.keys()].map((id) => id + labelSuffix));
  const stray = [...existing].find((file) => file.endsWith(labelSuffix) && !known.has(file));
  return {
    samples: [...samples.values()],
    stray: stray === undefined ? null : {
      label: join(labelFolder, stray),
      image: join(imageFolder, stray.slice(0, -labelSuffix.length) + suffixes[0]),
    },
  };
}
