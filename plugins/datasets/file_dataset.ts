/**
 * Data sets of an image file and a label file each.
 *
 * @module
 */
import {
  type Dataset,
  type DatasetClass,
  type DatasetReadOptions,
  type DatasetSample,
  fingerprintDataset,
} from "../../lib/data/dataset.ts";
import { InputError, OptionError } from "../../lib/errors.ts";
import type { Image } from "../../lib/image/image.ts";
import { readImage } from "../codecs/read_image.ts";
import { decodeLabelFile, readDatasetFile } from "./label_file.ts";
import type { LabelTable } from "./label_table.ts";

/** The two files of an image. */
export interface LabelledFiles {
  /** See {@linkcode Dataset.id}. */
  readonly id: string;
  /** The image's file. */
  readonly image: string;
  /** Its labels' file. */
  readonly labels: string;
}

/** What a {@linkcode FileDataset} is made of. */
export interface FileDatasetParts {
  /** See {@linkcode Dataset.name}. */
  readonly name: string;
  /** See {@linkcode Dataset.classes}. */
  readonly classes: readonly DatasetClass[];
  /** See {@linkcode Dataset.othersIndex}; null where left out. */
  readonly othersIndex?: number | null;
  /** The files, in the data set's order. */
  readonly files: readonly LabelledFiles[];
  /** What label values mean. */
  readonly table: LabelTable;
}

/**
 * Refuses an index outside a data set.
 *
 * @throws {OptionError} Names the data set and how many images it has.
 */
export function checkIndex(
  { name, length }: Pick<Dataset, "name" | "length">,
  index: number,
): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  throw new OptionError(`${name}: there is no image ${index}; it has ${length}, from 0`);
}

/**
 * Refuses labels of another size than their image.
 *
 * @throws {InputError} Names both files and both sizes.
 */
export function checkSizes(
  files: Pick<LabelledFiles, "image" | "labels">,
  image: Image,
  labels: { readonly width: number; readonly height: number },
): void {
  if (labels.width === image.width && labels.height === image.height) return;
  throw new InputError(
    `${files.labels}: is ${labels.width}×${labels.height}, its image ${files.image} is ` +
      `${image.width}×${image.height}; both must be of one size`,
  );
}

/** A data set that is two files per image: any format that `readImage` takes, and PNG or TIFF. */
export class FileDataset implements Dataset {
  readonly name: string;
  readonly classes: readonly DatasetClass[];
  readonly othersIndex: number | null;
  readonly hasSegments = false;
  readonly #files: readonly LabelledFiles[];
  readonly #table: LabelTable;

  /** @param parts What it is made of. */
  constructor({ name, classes, othersIndex = null, files, table }: FileDatasetParts) {
    this.name = name;
    this.classes = classes;
    this.othersIndex = othersIndex;
    this.#files = files;
    this.#table = table;
  }

  get length(): number {
    return this.#files.length;
  }

  id(index: number): string {
    checkIndex(this, index);
    return this.#files[index]!.id;
  }

  fingerprint(): Promise<string> {
    return fingerprintDataset(this);
  }

  async read(index: number, { signal }: DatasetReadOptions = {}): Promise<DatasetSample> {
    checkIndex(this, index);
    signal?.throwIfAborted();
    const files = this.#files[index]!;
    const [image, map] = await Promise.all([
      readImage(files.image),
      readDatasetFile(files.labels).then((bytes) => decodeLabelFile(bytes, files.labels)),
    ]);
    signal?.throwIfAborted();
    checkSizes(files, image, map);
    return { id: files.id, image, labels: this.#table.labels(map, files.labels) };
  }
}
