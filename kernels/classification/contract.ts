/**
 * What per-pixel classification takes and gives, on every engine.
 *
 * @module
 */
import { OptionError, ShapeError } from "../../lib/errors.ts";
import type { DType, Tensor } from "../../lib/tensor.ts";
import { checkOperand } from "../dispatch/operand.ts";

/**
 * A pixel whose best score is at most this, 2⁻¹⁰⁰, is covered by nothing: the end of what every
 * engine's arithmetic can tell from zero.
 */
export const emptyScore = 2 ** -100;

/** Options of per-pixel classification. */
export interface ClassificationOptions {
  /** Pixels whose winning score is below it become void; 0 where left out. */
  readonly threshold?: number;
  /**
   * Refuse NaN and infinity in the inputs by name; off by default. `on read` lets a run on WebGPU go
   * on without waiting for the answer: then it is the reading of labels or scores that is refused, and
   * the answer costs no read-back of its own. On the CPU it is the same as true.
   */
  readonly checkFinite?: boolean | "on read";
  /** Makes the error for them from its message; an `InputError` where left out. */
  readonly nonFinite?: (message: string) => Error;
}

/** Inputs of per-pixel classification: float32, or float16. */
export interface ClassificationInput {
  /** Mask logits M, N×h×w. */
  readonly maskLogits: Tensor;
  /** How probable each class is for each mask, N×C, not negative; void has been left out. */
  readonly probabilities: Tensor;
  /** H, rows of the result. */
  readonly height: number;
  /** W, columns of the result. */
  readonly width: number;
}

/** What a run looks at and calls while it works. */
export interface ClassificationRun {
  /** Aborts the work between two slices of it. */
  readonly signal?: AbortSignal | undefined;
  /** Called between slices with the pixels done and the pixels in all. */
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** Result of per-pixel classification. Whoever receives it disposes of it. */
export class PixelLabels implements Disposable {
  /** H×W classes from 0 to C − 1, or −1 for void, where the kernel ran. */
  readonly labels: Tensor<"int32">;
  /** H×W scores of the winning class, 0 where void. */
  readonly scores: Tensor<"float32">;

  /** Made by the kernels. */
  constructor(labels: Tensor<"int32">, scores: Tensor<"float32">) {
    this.labels = labels;
    this.scores = scores;
  }

  /** Frees both tensors. */
  dispose(): void {
    this.labels.dispose();
    this.scores.dispose();
  }

  /** As {@linkcode PixelLabels.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Sizes of one run. */
export interface ClassificationSizes {
  /** N */
  readonly masks: number;
  /** C */
  readonly classes: number;
  /** h */
  readonly maskHeight: number;
  /** w */
  readonly maskWidth: number;
  /** H */
  readonly height: number;
  /** W */
  readonly width: number;
}

/**
 * Checks the options.
 *
 * @throws {OptionError} If the threshold is no number from 0 on.
 */
export function checkClassificationOptions(options: ClassificationOptions): void {
  const { threshold = 0 } = options;
  if (!(threshold >= 0 && threshold < Infinity)) {
    throw new OptionError(
      `classification: threshold must be a number from 0 on, got ${String(threshold)}`,
    );
  }
}

/**
 * Checks the inputs and reads their sizes.
 *
 * @throws {ShapeError} If one has another element type or rank, an empty axis, or another N, or if
 *   the output size is no pair of positive integers.
 */
export function checkClassification(
  input: ClassificationInput,
  dtypes: readonly DType[] = ["float32", "float16"],
): ClassificationSizes {
  const { maskLogits, probabilities, height, width } = input;
  checkOperand("classification", "maskLogits", maskLogits, ["N", "h", "w"], dtypes);
  checkOperand("classification", "probabilities", probabilities, ["N", "C"], dtypes);
  const [masks, maskHeight, maskWidth] = maskLogits.shape as [number, number, number];
  const [rows, classes] = probabilities.shape as [number, number];
  if (rows !== masks) {
    throw new ShapeError(
      `classification: probabilities have ${rows} rows, maskLogits ${masks} masks; both must be N`,
    );
  }
  for (const [name, size] of [["height", height], ["width", width]] as const) {
    // Pixels are numbered in 32-bit integers.
    if (!(Number.isInteger(size) && size > 0 && size < 2 ** 16)) {
      throw new ShapeError(
        `classification: ${name} must be an integer from 1 to 65535, got ${String(size)}`,
      );
    }
  }
  return { masks, classes, maskHeight, maskWidth, height, width };
}
