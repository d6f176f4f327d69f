/**
 * The confusion matrix and the figures that come from it.
 *
 * @module
 */
import { InputError, OptionError, ShapeError } from "../errors.ts";
import { PairTally } from "./pair_tally.ts";
import { readInteger, readList, readObject } from "./read_serialized.ts";

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

function mean(values: readonly number[]): number {
  const scored = values.filter((value) => !Number.isNaN(value));
  return sum(scored) / scored.length;
}

/** Options of {@linkcode ConfusionMatrix}. */
export interface ConfusionMatrixOptions {
  /**
   * Pixels with this label in the truth count for nothing. None where left out; 255 in most public
   * benchmarks, −1 where pixels outside the vocabulary shall not count.
   */
  ignoreLabel?: number;
}

/** Which classes a mean is over. */
export interface MeanOptions {
  /**
   * Classes that the mean leaves out, such as an "others" class. Nothing else changes: a pixel of
   * theirs that was given another class is still a false alarm of that one.
   */
  without?: readonly number[];
}

/** Options of {@linkcode ConfusionMatrix.meanIou}. */
export interface MeanIouOptions extends MeanOptions {
  /**
   * `"either"`, which is what mmsegmentation does, where left out: a class predicted where it never
   * is counts as 0. `"truth"`, as Detectron2: the mean is over the classes that occur in the truth.
   */
  over?: "either" | "truth";
}

/** One of {@linkcode ConfusionMatrix.mostConfused}. */
export interface Confusion {
  /** The class that the pixels have. */
  truth: number;
  /** The other class, which they were given. */
  prediction: number;
  /** Number of pixels. */
  pixels: number;
  /** Share of the pixels of `truth`, 0 to 1. */
  share: number;
}

/** A {@linkcode ConfusionMatrix} as plain data, for files and other processes. */
export interface SerializedConfusionMatrix {
  /** Number of classes. */
  numClasses: number;
  /** The label that counts for nothing, if there is one. */
  ignoreLabel: number | null;
  /** Cells other than 0: truth, prediction, pixels; −1 is void. */
  cells: [truth: number, prediction: number, pixels: number][];
}

/**
 * Counts pixels by true and predicted class, image after image, and gives intersection over union
 * and accuracies, as mmsegmentation defines them (`docs/metrics.md` has all of it beside others).
 * Cells are kept sparsely, so memory grows with the confusions that happen, not with classes
 * squared. Merging the matrices of two halves of a data set gives exactly that of the whole.
 *
 * Label −1 is *void*: no class. A void prediction on a class's pixel is a miss of that class; a
 * class predicted on void is a false alarm of that class, unless `ignoreLabel` is −1. Void itself
 * is never scored.
 *
 * @example
 * ```ts
 * import { ConfusionMatrix } from "@ovstage/ovstage";
 * const matrix = new ConfusionMatrix(2);
 * matrix.add(new Int32Array([0, 0, 1, 1]), new Int32Array([0, 1, 1, 1]));
 * console.log(matrix.iou()); // [0.5, 0.6666666666666666]
 * ```
 */
export class ConfusionMatrix {
  /** Number of classes. */
  readonly numClasses: number;
  /** The label that counts for nothing, if there is one. */
  readonly ignoreLabel: number | null;
  readonly #cells = new Map<number, number>();

  /**
   * Begins with nothing counted.
   *
   * @param numClasses Number of classes, at least 1; labels run from 0, and −1 is void.
   * @throws {InputError} If `numClasses` is not a positive integer.
   */
  constructor(numClasses: number, options: ConfusionMatrixOptions = {}) {
    if (!Number.isInteger(numClasses) || numClasses < 1) {
      throw new InputError(`confusion matrix: ${numClasses} classes; at least 1 is needed`);
    }
    this.numClasses = numClasses;
    this.ignoreLabel = options.ignoreLabel ?? null;
  }

  /**
   * Adds the pixels of one image.
   *
   * @param truth Class indices, any shape, row-major.
   * @param prediction Class indices for the same pixels.
   * @param image What errors call the image.
   * @throws {ShapeError} If the two differ in length.
   * @throws {InputError} If a label is neither a class, nor void, nor the ignored label; nothing is
   * counted then.
   */
  add(truth: ArrayLike<number>, prediction: ArrayLike<number>, image?: string): void {
    const where = image === undefined ? "confusion matrix" : `confusion matrix: ${image}`;
    if (truth.length !== prediction.length) {
      throw new ShapeError(
        `${where}: ${truth.length} true labels, ${prediction.length} predicted ones`,
      );
    }
    const side = this.numClasses + 1;
    const tally = new PairTally(side * side);
    // Neighbours mostly agree: one update for every run of equal pairs.
    for (let i = 0; i < truth.length;) {
      const t = truth[i]!;
      const p = prediction[i]!;
      const start = i;
      do i++; while (i < truth.length && truth[i] === t && prediction[i] === p);
      if (t === this.ignoreLabel) continue;
      if (!this.#isLabel(t) || !this.#isLabel(p)) {
        this.#refuse(t, p, `${where}: pixel ${start}: `);
      }
      tally.add((t + 1) * side + p + 1, i - start);
    }
    for (const [key, pixels] of tally.entries()) this.#count(key, pixels);
  }

  /**
   * Adds all counts of another matrix.
   *
   * @throws {InputError} If the two don't have the same classes and ignored label.
   */
  merge(other: ConfusionMatrix): void {
    if (other.numClasses !== this.numClasses || other.ignoreLabel !== this.ignoreLabel) {
      throw new InputError(
        `confusion matrix: ${other.numClasses} classes (ignored: ${other.ignoreLabel}) don't ` +
          `merge with ${this.numClasses} (ignored: ${this.ignoreLabel})`,
      );
    }
    for (const [key, pixels] of [...other.#cells]) this.#count(key, pixels);
  }

  /** Pixels with this true and this predicted class; −1 is void. */
  pixels(truth: number, prediction: number): number {
    return this.#cells.get(this.#key(truth, prediction)) ?? 0;
  }

  /** How many classes occur in the truth or in the prediction; those are the scored ones. */
  get numScored(): number {
    return this.iou().filter((iou) => !Number.isNaN(iou)).length;
  }

  /**
   * Intersection over union of each class: pixels that are right, over pixels where the truth or
   * the prediction has the class. NaN for a class that neither has.
   */
  iou(): number[] {
    const { right, truth, predicted } = this.#sums();
    return Array.from(right, (n, c) => n / (truth[c]! + predicted[c]! - n));
  }

  /**
   * Accuracy of each class: pixels of the class that were given it, over the pixels of the class.
   * NaN for a class that the truth doesn't have.
   */
  accuracy(): number[] {
    const { right, truth } = this.#sums();
    return Array.from(right, (n, c) => n / truth[c]!);
  }

  /**
   * Mean IoU, 0 to 1, over the classes that occur in the truth *or* in the prediction, or in the
   * truth alone. NaN where nothing was scored.
   *
   * @throws {OptionError} If `without` names no class.
   */
  meanIou(options: MeanIouOptions = {}): number {
    const { truth } = this.#sums();
    const iou = this.iou().map((iou, c) => options.over === "truth" && truth[c] === 0 ? NaN : iou);
    return mean(this.#kept(iou, options));
  }

  /**
   * Mean accuracy, 0 to 1, over the classes that occur in the truth. NaN where there are none.
   *
   * @throws {OptionError} If `without` names no class.
   */
  meanAccuracy(options: MeanOptions = {}): number {
    return mean(this.#kept(this.accuracy(), options));
  }

  /**
   * Share of pixels with the right class, 0 to 1, over the pixels that have a class in the truth.
   * NaN where there are none.
   *
   * @throws {OptionError} If `without` names no class.
   */
  pixelAccuracy(options: MeanOptions = {}): number {
    const { right, truth } = this.#sums();
    return sum(this.#kept(right, options)) / sum(this.#kept(truth, options));
  }

  /**
   * Mean of the IoU of the classes, each weighted by its pixels in the truth, 0 to 1. NaN where
   * there are none.
   *
   * @throws {OptionError} If `without` names no class.
   */
  frequencyWeightedIou(options: MeanOptions = {}): number {
    const { truth } = this.#sums();
    const weighted = this.iou().map((iou, c) => truth[c] === 0 ? 0 : truth[c]! * iou);
    return sum(this.#kept(weighted, options)) / sum(this.#kept(truth, options));
  }

  /**
   * The pairs of classes that are taken for each other most often: pixels of `truth` that were
   * given `prediction`. Void is no class, and in no pair.
   *
   * @param count How many pairs at most.
   * @returns Most pixels first; of as many, the lower classes.
   */
  mostConfused(count = 20): Confusion[] {
    const { truth: total } = this.#sums();
    return this.toJSON().cells
      .filter(([truth, prediction]) => truth !== prediction && truth >= 0 && prediction >= 0)
      .sort((a, b) => b[2] - a[2]).slice(0, count)
      .map(([truth, prediction, pixels]) => ({
        truth,
        prediction,
        pixels,
        share: pixels / total[truth]!,
      }));
  }

  /** The matrix as plain data; {@linkcode ConfusionMatrix.fromJSON} is the inverse. */
  toJSON(): SerializedConfusionMatrix {
    const cells = [...this.#cells].sort(([a], [b]) => a - b).map(([key, pixels]) =>
      [...this.#labels(key), pixels] as [number, number, number]
    );
    return { numClasses: this.numClasses, ignoreLabel: this.ignoreLabel, cells };
  }

  /**
   * Reads what {@linkcode ConfusionMatrix.toJSON} gave.
   *
   * @throws {InputError} If a field is missing or no such number, or a cell names a class that does
   * not exist.
   */
  static fromJSON(data: SerializedConfusionMatrix): ConfusionMatrix {
    const fields = readObject(data, "confusion matrix");
    const numClasses = readInteger(fields["numClasses"], "confusion matrix: numClasses", 1);
    const ignored = fields["ignoreLabel"];
    const matrix = new ConfusionMatrix(
      numClasses,
      ignored === null
        ? {}
        : { ignoreLabel: readInteger(ignored, "confusion matrix: ignoreLabel", -Infinity) },
    );
    readList(fields["cells"], "confusion matrix: cells").forEach((entry, i) => {
      const where = `confusion matrix: cells[${i}]`;
      const [truth, prediction, pixels] = readList(entry, where, 3);
      matrix.#count(
        matrix.#key(
          readInteger(truth, `${where}: the true label`, -1, numClasses - 1),
          readInteger(prediction, `${where}: the predicted label`, -1, numClasses - 1),
        ),
        readInteger(pixels, `${where}: the number of pixels`),
      );
    });
    return matrix;
  }

  #isLabel(label: number): boolean {
    return Number.isInteger(label) && label >= -1 && label < this.numClasses;
  }

  #refuse(truth: number, prediction: number, where: string): never {
    const [side, label] = this.#isLabel(truth) ? ["predicted", prediction] : ["true", truth];
    throw new InputError(
      `${where}${side} label ${label} is neither −1 nor one of 0 to ${this.numClasses - 1}` +
        (side === "true" ? `; the ignored label is ${this.ignoreLabel ?? "not set"}` : ""),
    );
  }

  #key(truth: number, prediction: number): number {
    if (!this.#isLabel(truth) || !this.#isLabel(prediction)) {
      this.#refuse(truth, prediction, "confusion matrix: ");
    }
    return (truth + 1) * (this.numClasses + 1) + prediction + 1;
  }

  /** The values of the classes that a mean is over. */
  #kept(values: ArrayLike<number>, { without = [] }: MeanOptions): number[] {
    for (const c of without) {
      if (!Number.isInteger(c) || c < 0 || c >= this.numClasses) {
        throw new OptionError(
          `confusion matrix: without names class ${c}; classes are 0 to ${this.numClasses - 1}`,
        );
      }
    }
    const left = new Set(without);
    return Array.from(values).filter((_, c) => !left.has(c));
  }

  #labels(key: number): [truth: number, prediction: number] {
    const side = this.numClasses + 1;
    return [Math.floor(key / side) - 1, key % side - 1];
  }

  #count(key: number, pixels: number): void {
    this.#cells.set(key, (this.#cells.get(key) ?? 0) + pixels);
  }

  #sums(): { right: Float64Array; truth: Float64Array; predicted: Float64Array } {
    const right = new Float64Array(this.numClasses);
    const truth = new Float64Array(this.numClasses);
    const predicted = new Float64Array(this.numClasses);
    for (const [key, pixels] of this.#cells) {
      const [t, p] = this.#labels(key);
      if (t >= 0) truth[t]! += pixels;
      if (p >= 0) predicted[p]! += pixels;
      if (t >= 0 && t === p) right[t]! += pixels;
    }
    return { right, truth, predicted };
  }
}
