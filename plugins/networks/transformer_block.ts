/**
 * The pre-norm transformer block: ViT's, and CLIP's in both towers.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { attention, type AttentionOptions } from "./attention.ts";
import { feedForward, type FeedForwardOptions } from "./feed_forward.ts";
import { layerNorm } from "./layers.ts";

/** Options of {@linkcode transformerBlock}. */
export interface TransformerBlockOptions extends AttentionOptions, FeedForwardOptions {
  /** Added to the variance in layer norms; 1e-5 where left out. */
  epsilon?: number;
}

/**
 * Self-attention, then feed-forward, each on normalised tokens and added to its input (Dosovitskiy
 * et al., 2021, equations 2 and 3).
 *
 * @param x B×T×C.
 * @returns B×T×C.
 */
export function transformerBlock(
  scope: ParameterScope,
  x: Value,
  options: TransformerBlockOptions,
): Value {
  const { epsilon } = options;
  const normal = layerNorm(scope.scope("attentionNorm"), x, epsilon);
  const attended = ops.add(x, attention(scope.scope("attention"), normal, normal, options));
  const again = layerNorm(scope.scope("feedForwardNorm"), attended, epsilon);
  return ops.add(attended, feedForward(scope.scope("feedForward"), again, options));
}
