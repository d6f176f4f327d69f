/**
 * Patches of an image as tokens.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { convolution } from "./layers.ts";

/** Options of {@linkcode patchEmbedding}. */
export interface PatchEmbeddingOptions {
  /** Side of a patch in pixels. */
  patchSize: number;
  /** Whether a number per channel is added; true where left out. */
  bias?: boolean;
}

/**
 * Each patch becomes a vector by one linear map: a convolution whose windows lie side by side. Pixels
 * that don't fill a patch at the right and the bottom are left out.
 *
 * @param image B×3×H×W.
 * @param width C, channels of a token.
 * @returns B×C×h×w, with h = ⌊H/patchSize⌋; `toTokens` makes tokens of it.
 */
export function patchEmbedding(
  scope: ParameterScope,
  image: Value,
  width: number,
  { patchSize, bias = true }: PatchEmbeddingOptions,
): Value {
  return convolution(scope, image, width, {
    kernel: patchSize,
    stride: patchSize,
    padding: 0,
    bias,
  });
}
