/**
 * Data sets: images with the truth about every pixel, read one at a time.
 *
 * @module
 */
import type { Image } from "../image/image.ts";

/** A class of a data set. */
export interface DatasetClass {
  /** Its name, once in the data set. */
  readonly name: string;
  /** Names that mean the class; the first is `name`. */
  readonly synonyms: readonly string[];
  /** Whether it is a thing, which can be counted, or stuff; null where nobody says. */
  readonly isThing: boolean | null;
}

/** A segment of the truth: one object of a thing, or all pixels of stuff. */
export interface DatasetSegment {
  /** Its number in the image's `ids`, at least 1. */
  readonly id: number;
  /** Index of its class. */
  readonly label: number;
  /** Whether its class is a thing. */
  readonly isThing: boolean;
  /** Whether it is a group of objects that nobody told apart (COCO's `iscrowd`). */
  readonly isCrowd: boolean;
  /** Number of pixels. */
  readonly area: number;
}

/** An image and its truth. */
export interface DatasetSample {
  /** As {@linkcode Dataset.id}. */
  readonly id: string;
  /** The image, height H and width W. */
  readonly image: Image;
  /** H × W class indices, row-major; −1 where a pixel counts nowhere. */
  readonly labels: Int32Array;
  /** The truth of panoptic and instance segmentation, where {@linkcode Dataset.hasSegments}. */
  readonly segments?: {
    /** H × W numbers of segments, row-major; 0 where a pixel is in none. */
    readonly ids: Int32Array;
    /** The segments, each with at least one pixel. */
    readonly segments: readonly DatasetSegment[];
  };
}

/** Options of {@linkcode Dataset.read}. */
export interface DatasetReadOptions {
  /** Ends the reading early. */
  readonly signal?: AbortSignal;
}

/**
 * A data set. Labels are class indices from 0, whatever numbers the files hold: what a benchmark
 * ignores (255, 65535, a zero that means nothing) is −1 here. Opening one lists its images; each is
 * decoded when it is read, and none is kept.
 *
 * @example
 * ```ts
 * import { type Dataset, Image } from "@ovstage/ovstage";
 * const dataset: Dataset = {
 *   name: "one pixel",
 *   classes: [{ name: "dog", synonyms: ["dog", "hound"], isThing: true }],
 *   othersIndex: null,
 *   hasSegments: false,
 *   length: 1,
 *   id: () => "pixel",
 *   fingerprint: () => Promise.resolve("0"),
 *   read: () => Promise.resolve({ id: "pixel", image: new Image(1, 1), labels: new Int32Array(1) }),
 * };
 * const { labels } = await dataset.read(0);
 * console.log(dataset.classes[labels[0]!]?.name); // dog
 * ```
 */
export interface Dataset {
  /** What to call it: its kind and split, such as `voc21` or `emoji-scenes far`. */
  readonly name: string;
  /** The classes; labels index them. */
  readonly classes: readonly DatasetClass[];
  /** Index of the class that stands for whatever no other class means; null where there is none. */
  readonly othersIndex: number | null;
  /** Whether samples have `segments`. */
  readonly hasSegments: boolean;
  /** Number of images. */
  readonly length: number;
  /** Name of the image at an index: unique in the data set, and the same whenever it is opened. */
  id(index: number): string;
  /** As {@linkcode fingerprintDataset}. */
  fingerprint(): Promise<string>;
  /**
   * Reads an image and its truth.
   *
   * @param index From 0 to `length` − 1.
   * @throws {InputError} If a file is missing or damaged, image and labels differ in size, or a
   * label value is not in the data set's list; names the file.
   */
  read(index: number, options?: DatasetReadOptions): Promise<DatasetSample>;
}

/** What {@linkcode fingerprintDataset} looks at. */
export type DatasetOutline = Pick<
  Dataset,
  "classes" | "othersIndex" | "hasSegments" | "length" | "id"
>;

/**
 * SHA-256 over a data set's classes and the ids of its images, in order: two data sets of one
 * fingerprint can be scored together. It doesn't look at pixels.
 *
 * @returns 64 hexadecimal digits.
 */
export async function fingerprintDataset(dataset: DatasetOutline): Promise<string> {
  const { classes, othersIndex, hasSegments, length } = dataset;
  const text = JSON.stringify({
    classes: classes.map(({ name, synonyms, isThing }) => [name, synonyms, isThing]),
    othersIndex,
    hasSegments,
    ids: Array.from({ length }, (_, i) => dataset.id(i)),
  });
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
