/**
 * Mask2Former's semantic inference at the image's own size, exactly, without ever storing C × H × W.
 *
 * @module
 */
import { prunedClassification } from "../../kernels/classification/pruned.ts";
import { ModelError } from "../../lib/errors.ts";

/** What {@linkcode semanticInference} reads. */
export interface SemanticInput {
  /** N × h × w mask logits, row-major; finite. */
  readonly maskLogits: ArrayLike<number>;
  /** N × K class logits, row-major, where K is `numClasses`, plus one with `hasVoid`. */
  readonly classLogits: ArrayLike<number>;
  /** N. */
  readonly numMasks: number;
  /** C. */
  readonly numClasses: number;
  /** Whether the last column of `classLogits` is void. */
  readonly hasVoid: boolean;
  /** h. */
  readonly maskHeight: number;
  /** w. */
  readonly maskWidth: number;
  /** H, rows of the result. */
  readonly height: number;
  /** W, columns of the result. */
  readonly width: number;
  /** Pixels whose winning score is below it become void; 0 where left out. */
  readonly threshold?: number;
}

/** What {@linkcode semanticInference} looks at and calls while it works. */
export interface SemanticOptions {
  /** Aborts the work. */
  signal?: AbortSignal;
  /** Called with the pixels done and the pixels in all. */
  progress?: (done: number, total: number) => void;
}

/** Labels and scores, row-major. */
export interface SemanticResult {
  /** H × W classes from 0 to C − 1, or −1 for void. */
  labels: Int32Array;
  /** H × W scores of the winning class; 0 where void. */
  scores: Float32Array;
}

/**
 * Row-wise softmax of class logits, void left out.
 *
 * @param input N × K class logits, where K is C, plus one with `hasVoid`.
 * @param probabilities Receives N × C.
 * @returns `probabilities`.
 * @throws {ModelError} If a class logit is NaN or +∞.
 */
export function classProbabilities<T extends Float32Array | Float64Array>(
  input: Pick<SemanticInput, "classLogits" | "numMasks" | "numClasses" | "hasVoid">,
  probabilities: T,
): T {
  const { classLogits, numMasks, numClasses, hasVoid } = input;
  const columns = numClasses + (hasVoid ? 1 : 0);
  const exponentials = new Float64Array(columns);
  for (let n = 0; n < numMasks; n++) {
    let top = -Infinity;
    for (let c = 0; c < columns; c++) {
      const logit = classLogits[n * columns + c]!;
      if (!(logit < Infinity)) {
        throw new ModelError(`class logits of mask ${n} hold ${logit}; they must be finite`);
      }
      if (logit > top) top = logit;
    }
    if (top === -Infinity) continue;
    let sum = 0;
    for (let c = 0; c < columns; c++) {
      exponentials[c] = Math.exp(classLogits[n * columns + c]! - top);
      sum += exponentials[c]!;
    }
    for (let c = 0; c < numClasses; c++) probabilities[n * numClasses + c] = exponentials[c]! / sum;
  }
  return probabilities;
}

/**
 * Labels every pixel with argmax_c Σ_n softmax(class logits)[n, c] · sigmoid(mask logits)[n, p],
 * mask logits resized bilinearly to H × W (align_corners = false), void left out of the argmax, ties
 * to the lower class (Cheng et al., "Masked-attention Mask Transformer", 2022, after MaskFormer's
 * section 3.4). The score is that sum. Works in float64 on the host, with no device; the `semantic`
 * segmenter computes the same where its pipeline runs.
 *
 * @throws {ModelError} If a mask logit is not finite, or a class logit is NaN or +∞.
 * @throws The signal's reason, if it aborts.
 */
export async function semanticInference(
  input: SemanticInput,
  options: SemanticOptions = {},
): Promise<SemanticResult> {
  const { maskLogits, numMasks, numClasses, maskHeight, maskWidth, height, width } = input;
  for (let i = 0; i < numMasks * maskHeight * maskWidth; i++) {
    if (!Number.isFinite(maskLogits[i])) {
      const mask = Math.floor(i / (maskHeight * maskWidth));
      throw new ModelError(`mask logits of mask ${mask} hold ${maskLogits[i]}; must be finite`);
    }
  }
  return await prunedClassification({
    maskLogits,
    probabilities: classProbabilities(input, new Float64Array(numMasks * numClasses)),
    masks: numMasks,
    classes: numClasses,
    maskHeight,
    maskWidth,
    height,
    width,
    threshold: input.threshold ?? 0,
    empty: 0,
  }, options);
}
