/**
 * Mask2Former's semantic inference at the image's own size, exactly, without ever storing C × H × W.
 *
 * @module
 */
import { prunedClassification } from "../../kernels/classification/pruned.ts";
import type { InferenceOptions } from "./in_slices.ts";
import { type MaskLogits, refuseNonFinite } from "./mask_logits.ts";
import { type ClassLogits, numColumns, softmaxRow } from "./softmax_row.ts";

/** What {@linkcode semanticInference} reads. */
export interface SemanticInput extends MaskLogits, ClassLogits {
  /** Pixels whose winning score is below it become void; 0 where left out. */
  readonly threshold?: number;
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
  input: ClassLogits,
  probabilities: T,
): T {
  const { numMasks, numClasses } = input;
  const row = new Float64Array(numColumns(input));
  for (let n = 0; n < numMasks; n++) {
    softmaxRow(input, n, row);
    for (let c = 0; c < numClasses; c++) probabilities[n * numClasses + c] = row[c]!;
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
  options: InferenceOptions = {},
): Promise<SemanticResult> {
  const { maskLogits, numMasks, numClasses, maskHeight, maskWidth, height, width } = input;
  refuseNonFinite(input);
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
