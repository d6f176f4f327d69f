/**
 * What differs between semantic, panoptic and instance segmentation when they are scored.
 *
 * @module
 */
import type { DatasetSample } from "../../../lib/data/dataset.ts";
import type { Rgb } from "../../../lib/image/palette.ts";
import type { SlotName, Slots } from "../../../lib/stages/slots.ts";
import type { Json } from "../../training/checkpoint.ts";
import type { ClassResult, Confusion, Figures } from "../result.ts";

/** What a pipeline gave. */
export type Outputs = { readonly [Name in SlotName]: Slots[Name] };

/** The classes that are scored. */
export interface ScoredClasses {
  /** Names, and whether they are things, as labels index them. */
  readonly classes: readonly { readonly name: string; readonly isThing: boolean | null }[];
  /** Index of the class for whatever no other class means; null where there is none. */
  readonly others: number | null;
}

/** Regions of an image and their colours, to be drawn over it. */
export interface Drawing {
  /** H × W; indices into `colours`, −1 for none. */
  readonly labels: Int32Array;
  /** A colour for every region. */
  readonly colours: readonly Rgb[];
}

/** Figures that grow image by image. */
export interface Accumulator {
  /** Adds what {@linkcode Task.score} gave for an image. */
  add(scores: Json): void;
  /**
   * The figures so far.
   *
   * @param over Which classes means are over: those of the truth or the prediction, or those of the
   * truth alone.
   */
  figures(over: "either" | "truth"): Figures;
  /** The figures of every class so far. */
  classes(): Omit<ClassResult, "nearest">[];
  /** The commonest confusions so far. */
  confusions(): Confusion[];
}

/** One of the three tasks, for certain classes. */
export interface Task {
  /** The slots that it reads. */
  readonly outputs: readonly SlotName[];
  /**
   * Scores one image.
   *
   * @param sample The image and its truth.
   * @param outputs What the pipeline gave; labels from the number of classes on are distractors.
   * @returns What {@linkcode Accumulator.add} takes.
   */
  score(sample: DatasetSample, outputs: Outputs): Promise<Json>;
  /** The image's own score in percent; null where nothing was scored. */
  imageScore(scores: Json): number | null;
  /** Indices of the classes that an image shows, in truth or prediction, the largest first. */
  present(scores: Json): number[];
  /** The truth, drawn; `colours` has one for each class. */
  drawTruth(sample: DatasetSample, colours: readonly Rgb[]): Drawing;
  /** The prediction, drawn. */
  drawPrediction(
    sample: DatasetSample,
    outputs: Outputs,
    colours: readonly Rgb[],
  ): Promise<Drawing>;
  /** Begins to sum up. */
  accumulate(): Accumulator;
}
