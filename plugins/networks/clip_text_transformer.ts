/**
 * CLIP's text tower (Radford et al., 2021).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { causalMask } from "./attention.ts";
import type { Activation } from "./feed_forward.ts";
import { layerNorm, projection } from "./layers.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Sizes of the tower; see `clipSizes` for the published ones. */
export interface ClipTextTransformerConfig {
  /** Number of subwords. The last one ends a text. */
  vocabularySize: number;
  /** The longest text, in subwords. */
  maxLength: number;
  /** Channels of a token. */
  width: number;
  /** Number of transformer blocks. */
  depth: number;
  /** Heads of each block. */
  heads: number;
  /** Width of the blocks' hidden layer; four times `width` where left out. */
  hiddenWidth?: number;
  /** `quickGelu` in OpenAI's weights, `gelu` in most others. */
  activation: Activation;
  /** D, the size of the joint space. */
  jointSize: number;
}

/**
 * Builds the tower: tokens see themselves and those before them, and the token that ends the text,
 * which is the first one of the highest number, speaks for all of it.
 *
 * @param tokens C×L subwords, int64; L at most `maxLength`.
 * @returns C×D, not normalised.
 */
export function clipTextTransformer(
  scope: ParameterScope,
  tokens: Value,
  config: ClipTextTransformerConfig,
): Value {
  const { vocabularySize, maxLength, width, depth, jointSize } = config;
  const table = scope.parameter("embedding", [vocabularySize, width], { normal: 0.02 });
  const positions = scope.parameter("position", [maxLength, width], { normal: 0.01 });
  const length = ops.dimOf(tokens, 1);
  let x = ops.add(ops.gather(table, tokens), ops.slice(positions, 0, 0, length));
  const mask = causalMask(tokens, length);
  for (let i = 0; i < depth; i++) {
    x = transformerBlock(scope.scope("blocks").scope(i), x, { ...config, mask });
  }
  const end = ops.unsqueeze(ops.argMax(ops.cast(tokens, "int32"), 1), [1]);
  const pooled = layerNorm(scope.scope("norm"), ops.gatherND(x, end, 1));
  return projection(scope.scope("projection"), pooled, jointSize);
}
