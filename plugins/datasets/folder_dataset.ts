/**
 * A plain folder of images and label PNGs as a data set.
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
import { InputError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import { checkIndex } from "./file_dataset.ts";
import {
  LabelledFolder,
  type LabelledFolderOptions,
  type Split,
} from "./labelled_folder/labelled_folder.ts";

/** The splits of a plain folder, the default first. */
export const folderSplits: readonly Split[] = ["val", "train"];

/** One split of a {@linkcode LabelledFolder}. */
export class FolderDataset implements Dataset {
  readonly name = "folder";
  readonly classes: readonly DatasetClass[];
  readonly othersIndex = null;
  readonly hasSegments = false;
  readonly #folder: LabelledFolder;
  readonly #split: Split;

  private constructor(folder: LabelledFolder, split: Split) {
    this.classes = folder.names.map((name, c) => ({
      name,
      synonyms: folder.synonyms[c]!,
      isThing: null,
    }));
    this.#folder = folder;
    this.#split = split;
  }

  /**
   * Lists the images of a split.
   *
   * @param options Where the data is, and what its label values mean.
   * @param split `val` where left out.
   * @throws {InputError} As {@linkcode LabelledFolder.open}, or if there is no such split, no image
   *   in it, or a label file without an image.
   */
  static async open(options: LabelledFolderOptions, split = "val"): Promise<FolderDataset> {
    const known = folderSplits.find((name) => name === split);
    if (known === undefined) {
      throw new InputError(
        `folder: there is no split "${split}"; ${knownNames(split, folderSplits)}`,
      );
    }
    const folder = await LabelledFolder.open(options, [known]);
    folder.refuseStrayLabels(known);
    return new FolderDataset(folder, known);
  }

  get length(): number {
    return this.#folder.count(this.#split);
  }

  id(index: number): string {
    checkIndex(this, index);
    return this.#folder.id(this.#split, index);
  }

  fingerprint(): Promise<string> {
    return fingerprintDataset(this);
  }

  async read(index: number, { signal }: DatasetReadOptions = {}): Promise<DatasetSample> {
    const id = this.id(index);
    signal?.throwIfAborted();
    const { image, labels } = await this.#folder.read(this.#split, index);
    signal?.throwIfAborted();
    return { id, image, labels };
  }
}
