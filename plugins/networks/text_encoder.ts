/**
 * The text tower of the small CLIP: a transformer over subwords, averaged over the tokens.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { layerNorm, linear } from "./layers.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Sizes of the text tower. */
export interface TextEncoderConfig {
  /** Number of subwords. */
  vocabularySize: number;
  /** The longest text, in subwords. */
  maxLength: number;
  /** Channels of a token. */
  width: number;
  /** Number of transformer blocks. */
  depth: number;
  /** Heads of each block. */
  heads: number;
  /** D, the size of the joint space. */
  jointSize: number;
}

/**
 * Builds the text tower.
 *
 * @param tokens C×L subwords, int64; L at most `maxLength`.
 * @param mask C×L, 1 for a token and 0 for padding.
 * @returns C×D unit rows.
 */
export function textEncoder(
  scope: ParameterScope,
  tokens: Value,
  mask: Value,
  config: TextEncoderConfig,
): Value {
  const { vocabularySize, maxLength, width, depth, heads, jointSize } = config;
  const table = scope.parameter("embedding", [vocabularySize, width], { normal: 0.05 });
  const positions = scope.parameter("position", [maxLength, width], { normal: 0.02 });
  let x = ops.add(ops.gather(table, tokens), ops.slice(positions, 0, 0, ops.dimOf(tokens, 1)));
  const bias = ops.unsqueeze(ops.mul(ops.sub(mask, 1), 1e9), [1, 2]);
  for (let i = 0; i < depth; i++) {
    x = transformerBlock(scope.scope("blocks").scope(i), x, { heads, bias });
  }
  const weights = ops.div(mask, ops.reduceSum(mask, [1], true));
  const pooled = ops.squeeze(ops.matMul(ops.unsqueeze(weights, [1]), x), [1]);
  const joint = linear(scope.scope("joint"), layerNorm(scope.scope("norm"), pooled), jointSize);
  return ops.l2Normalize(joint);
}
