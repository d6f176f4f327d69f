/**
 * What an evaluation found.
 *
 * @module
 */
import type { EvaluationTask } from "./run_folder.ts";

/** A figure in percent; null where nothing was scored. */
export type Percent = number | null;

/** Figures of semantic segmentation. */
export interface SemanticFigures {
  /** Mean IoU over the classes that occur in the truth or in the prediction. */
  readonly mIoU: Percent;
  /** Pixels with the right class, of those that have one. */
  readonly pixelAccuracy: Percent;
  /** Mean over classes of the share of their pixels that is right. */
  readonly meanAccuracy: Percent;
  /** Mean IoU, weighted by how many pixels a class has. */
  readonly frequencyWeightedIoU: Percent;
  /** How many classes occur in the truth or in the prediction. */
  readonly classesScored: number;
}

/** Panoptic quality over a group of classes. */
export interface PanopticGroup {
  /** Panoptic quality: SQ times RQ, class by class. */
  readonly PQ: Percent;
  /** Segmentation quality: the mean IoU of matched segments. */
  readonly SQ: Percent;
  /** Recognition quality: the F1 score of the matching. */
  readonly RQ: Percent;
  /** How many classes were scored. */
  readonly classesScored: number;
}

/** Figures of panoptic segmentation. */
export interface PanopticFigures extends PanopticGroup {
  /** The same over things. */
  readonly things: PanopticGroup;
  /** The same over stuff. */
  readonly stuff: PanopticGroup;
}

/** Figures of instance segmentation: COCO's average precision of masks. */
export interface InstanceFigures {
  /** Mean over IoU thresholds from 0.50 to 0.95. */
  readonly AP: Percent;
  /** At the threshold 0.50. */
  readonly AP50: Percent;
  /** At the threshold 0.75. */
  readonly AP75: Percent;
  /** Of small objects. */
  readonly APsmall: Percent;
  /** Of medium objects. */
  readonly APmedium: Percent;
  /** Of large objects. */
  readonly APlarge: Percent;
}

/** Figures of any task. */
export type Figures = SemanticFigures | PanopticFigures | InstanceFigures;

/** One class. */
export interface ClassResult {
  /** Its name. */
  readonly name: string;
  /** IoU, PQ or AP; null where the class occurs nowhere. */
  readonly score: Percent;
  /** Further figures by name: pixels in the truth, segments matched … */
  readonly details: Readonly<Record<string, number | null>>;
  /** The training category nearest to it, and the cosine of the two; null where nobody knows. */
  readonly nearest: { readonly name: string; readonly similarity: number } | null;
}

/** Pixels of one class that were given to another. */
export interface Confusion {
  /** The true class. */
  readonly truth: string;
  /** The predicted class; null for none. */
  readonly prediction: string | null;
  /** How many pixels. */
  readonly pixels: number;
  /** Their share of the true class's pixels, in percent. */
  readonly share: number;
}

/** One image and its own score. */
export interface ImageScore {
  /** Its number in the data set. */
  readonly index: number;
  /** Its id in the data set. */
  readonly id: string;
  /** Its mIoU or PQ, in percent. */
  readonly score: number;
}

/** Everything that was found: the file `result.json`. Figures are in percent. */
export type EvaluationResult = Figures & {
  /** What was measured. */
  readonly task: EvaluationTask;
  /** The data set's name. */
  readonly dataset: string;
  /** How many images. */
  readonly images: number;
  /** `I/N` where these are the figures of a shard only. */
  readonly shard: string | null;
  /** The mean similarity of the classes to the training vocabulary; null where nobody knows. */
  readonly similarity: number | null;
  /** The classes, in the data set's order. */
  readonly classes: readonly ClassResult[];
  /** The commonest confusions of pixels, commonest first. */
  readonly confusions: readonly Confusion[];
  /**
   * The figures as irrelevant names are added to the vocabulary; null where none were. Means are over
   * the classes of the truth alone: so all are over the same ones, however often a class that no
   * image shows is predicted.
   */
  readonly distractors: readonly (Figures & { readonly count: number })[] | null;
  /** The images that did best, the best one first. */
  readonly best: readonly ImageScore[];
  /** The images that did worst, the worst one first. */
  readonly worst: readonly ImageScore[];
};

/** What stands for a task: the name of the figure, for the whole and for a class. */
export const mainFigures: Readonly<
  Record<EvaluationTask, { readonly whole: string; readonly perClass: string }>
> = {
  semantic: { whole: "mIoU", perClass: "IoU" },
  panoptic: { whole: "PQ", perClass: "PQ" },
  instance: { whole: "AP", perClass: "AP" },
};

/** So many images, in words. */
export function countImages(count: number): string {
  return `${count} ${count === 1 ? "image" : "images"}`;
}

/** The figure that stands for the whole: mIoU, PQ or AP. */
export function mainFigure(task: EvaluationTask, figures: Figures): Percent {
  return (figures as unknown as Record<string, Percent>)[mainFigures[task].whole] ?? null;
}

/** The figures of a result, with names as people write them. */
export function namedFigures(result: EvaluationResult): [name: string, value: Percent][] {
  if ("mIoU" in result) {
    return [
      ["mIoU", result.mIoU],
      ["pixel accuracy", result.pixelAccuracy],
      ["mean accuracy", result.meanAccuracy],
      ["frequency-weighted IoU", result.frequencyWeightedIoU],
    ];
  }
  if ("PQ" in result) {
    const { things, stuff } = result;
    return [
      ["PQ", result.PQ],
      ["SQ", result.SQ],
      ["RQ", result.RQ],
      ["PQ of things", things.PQ],
      ["PQ of stuff", stuff.PQ],
    ];
  }
  return [
    ["AP", result.AP],
    ["AP50", result.AP50],
    ["AP75", result.AP75],
    ["AP of small objects", result.APsmall],
    ["AP of medium objects", result.APmedium],
    ["AP of large objects", result.APlarge],
  ];
}

/** A share as a percentage, NaN as null: JSON knows no NaN. */
export function percent(share: number): Percent {
  return Number.isNaN(share) ? null : 100 * share;
}
