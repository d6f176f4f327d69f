/**
 * The confusion matrix and the figures that come from it.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";

/** Options of {@linkcode ConfusionMatrix}. */
export interface ConfusionMatrixOptions {
  /**
   * Pixels with this label in the truth count for nothing. None where left out; 255 in most public
   * benchmarks, −1 where pixels outside the vocabulary shall not count.
   */
  ignoreLabel?: number;
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
 * Counts pixels by true and predicted class, image after image, and gives intersection over union.
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
   * @throws {ShapeError} If the two differ in length.
   * @throws {InputError} If a label is neither a class, nor void, nor the ignored label; nothing is
   * counted then.
   */
  add(truth: ArrayLike<number>, prediction: ArrayLike<number>): void {
    if (truth.length !== prediction.length) {
      throw new ShapeError(
        `confusion matrix: ${truth.length} true labels, ${prediction.length} predicted ones`,
      );
    }
    const counted = new Map<number, number>();
    // Neighbours mostly agree: one update for every run of equal pairs.
    for (let i = 0; i < truth.length;) {
      const t = truth[i]!;
      const p = prediction[i]!;
      const start = i;
      do i++; while (i < truth.length && truth[i] === t && prediction[i] === p);
      if (t === this.ignoreLabel) continue;
      const key = this.#key(t, p);
      counted.set(key, (counted.get(key) ?? 0) + i - start);
    }
    for (const [key, pixels] of counted) this.#count(key, pixels);
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
   * Mean IoU, 0 to 1, over the classes that occur in the truth *or* in the prediction: a class
   * predicted where it never is counts as 0. NaN where nothing was scored.
   */
  meanIou(): number {
    const scored = this.iou().filter((iou) => !Number.isNaN(iou));
    return scored.reduce((sum, iou) => sum + iou, 0) / scored.length;
  }

  /**
   * Share of pixels with the right class, 0 to 1, over the pixels that have a class in the truth.
   * NaN where there are none.
   */
  pixelAccuracy(): number {
    const { right, truth } = this.#sums();
    const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
    return sum(right) / sum(truth);
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
   * @throws {InputError} If a cell names a class that does not exist or a count below 0.
   */
  static fromJSON(data: SerializedConfusionMatrix): ConfusionMatrix {
    const matrix = new ConfusionMatrix(
      data.numClasses,
      data.ignoreLabel === null ? {} : { ignoreLabel: data.ignoreLabel },
    );
    for (const [truth, prediction, pixels] of data.cells) {
      if (!Number.isInteger(pixels) || pixels < 0) {
        throw new InputError(`confusion matrix: cell ${truth}, ${prediction} counts ${pixels}`);
      }
      matrix.#count(matrix.#key(truth, prediction), pixels);
    }
    return matrix;
  }

  #key(truth: number, prediction: number): number {
    for (const [label, side] of [[truth, "true"], [prediction, "predicted"]] as const) {
      if (!Number.isInteger(label) || label < -1 || label >= this.numClasses) {
        throw new InputError(
          `confusion matrix: ${side} label ${label} is neither −1 nor one of 0 to ` +
            `${this.numClasses - 1}`,
        );
      }
    }
    return (truth + 1) * (this.numClasses + 1) + prediction + 1;
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
