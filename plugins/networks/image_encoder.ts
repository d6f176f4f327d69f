/**
 * The image tower of the small CLIP: a vision transformer (Dosovitskiy et al., 2021) whose tokens
 * lie in the joint image-text space, so that any pooling of them is an embedding.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { conv3x3, layerNorm, linear, toMap, toTokens } from "./layers.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Sizes of the image tower. */
export interface ImageEncoderConfig {
  /** Channels of the convolutional stem at a quarter of the image's size. */
  stemWidth: number;
  /** Channels of a token. */
  width: number;
  /** Number of transformer blocks. */
  depth: number;
  /** Heads of each block. */
  heads: number;
  /** Side of the learned position table, in tokens of 8×8 pixels. */
  grid: number;
  /** D, the size of the joint space. */
  jointSize: number;
}

/** What the image tower gives. */
export interface ImageEncoderOutputs {
  /** Dense features in the joint space, B×D×(H/8)×(W/8), not normalised. */
  features: Value;
  /** Shallow features, B×C×(H/4)×(W/4). */
  pyramid4: Value;
  /** Tokens halfway up and at the top, B×2C×(H/8)×(W/8). */
  pyramid8: Value;
}

/**
 * Builds the image tower.
 *
 * @param image B×3×H×W, RGB in 0…1; H and W are multiples of 8.
 */
export function imageEncoder(
  scope: ParameterScope,
  image: Value,
  config: ImageEncoderConfig,
): ImageEncoderOutputs {
  const { stemWidth, width, depth, heads, grid, jointSize } = config;
  const patches = ops.spaceToDepth(ops.sub(ops.mul(image, 4), 2), 4);
  const embedded = linear(scope.scope("stem.patches"), toTokens(patches), stemWidth, 0.1);
  const stem = toMap(ops.relu(embedded), patches);
  const pyramid4 = ops.relu(conv3x3(scope.scope("stem.mix"), stem, stemWidth));

  const merged = ops.spaceToDepth(pyramid4, 2);
  const table = scope.parameter("position", [1, width, grid, grid], { normal: 0.02 });
  const position = ops.resizeBilinear(table, ops.dimOf(merged, 2), ops.dimOf(merged, 3));
  let tokens = linear(scope.scope("embed"), toTokens(merged), width, 0.05);
  tokens = ops.add(tokens, toTokens(position));
  let halfway = tokens;
  for (let i = 0; i < depth; i++) {
    tokens = transformerBlock(scope.scope("blocks").scope(i), tokens, { heads });
    if (i + 1 === depth >> 1) halfway = tokens;
  }
  const top = layerNorm(scope.scope("norm"), tokens);
  const middle = layerNorm(scope.scope("halfwayNorm"), halfway);
  return {
    features: toMap(linear(scope.scope("joint"), top, jointSize, 0.05), merged),
    pyramid4,
    pyramid8: toMap(ops.concat([middle, top], -1), merged),
  };
}
