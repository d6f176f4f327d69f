/**
 * Class probabilities of a mask.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";
import { exp } from "../../lib/portable_math.ts";

/** Class logits of N masks. */
export interface ClassLogits {
  /** N × K class logits, row-major, where K is `numClasses`, plus one with `hasVoid`. */
  readonly classLogits: ArrayLike<number>;
  /** N. */
  readonly numMasks: number;
  /** C. */
  readonly numClasses: number;
  /** Whether the last column of `classLogits` is void. */
  readonly hasVoid: boolean;
}

/** K: how many columns a row of class logits has. */
export function numColumns({ numClasses, hasVoid }: ClassLogits): number {
  return numClasses + (hasVoid ? 1 : 0);
}

/**
 * Softmax of one mask's class logits, in float64. Logits of −∞ stand for probabilities of 0; where
 * all are −∞, all probabilities are 0.
 *
 * @param input Class logits of all masks.
 * @param mask Which of them.
 * @param probabilities Receives K probabilities, void last where there is void.
 * @throws {ModelError} If a class logit is NaN or +∞.
 */
export function softmaxRow(input: ClassLogits, mask: number, probabilities: Float64Array): void {
  const { classLogits } = input;
  const columns = numColumns(input);
  const at = mask * columns;
  let top = -Infinity;
  for (let c = 0; c < columns; c++) {
    const logit = classLogits[at + c]!;
    if (!(logit < Infinity)) {
      throw new ModelError(`class logits of mask ${mask} hold ${logit}; they must be finite`);
    }
    if (logit > top) top = logit;
  }
  if (top === -Infinity) {
    probabilities.fill(0, 0, columns);
    return;
  }
  let sum = 0;
  for (let c = 0; c < columns; c++) {
    probabilities[c] = exp(classLogits[at + c]! - top);
    sum += probabilities[c]!;
  }
  for (let c = 0; c < columns; c++) probabilities[c]! /= sum;
}
