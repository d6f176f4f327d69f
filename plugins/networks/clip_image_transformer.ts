/**
 * CLIP's image tower as a vision transformer (Radford et al., 2021).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import type { Activation } from "./feed_forward.ts";
import { layerNorm, projection, toMap, toTokens } from "./layers.ts";
import { patchEmbedding } from "./patch_embedding.ts";
import { interpolatePositions, type Interpolation } from "./position_embedding.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Sizes of the tower; see `clipSizes` for the published ones. */
export interface ClipImageTransformerConfig {
  /** Side of a patch in pixels. */
  patchSize: number;
  /** Side of the table of positions, in patches: 14 for patches of 16 in images of 224. */
  grid: number;
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
  /** How positions are stretched to images of other sizes; `bicubic` where left out. */
  interpolation?: Interpolation;
}

/** What CLIP's image towers give, not normalised. */
export interface ClipImageOutputs {
  /** The image's embedding, B×D. */
  embedding: Value;
  /** Each place's features in the joint space, B×D×h×w. */
  features: Value;
}

/**
 * Builds the tower. Its `features` are the patches' own tokens, normalised and projected as the
 * class token is.
 *
 * @param image B×3×H×W, normalised by the mean and deviation that the weights were trained with.
 */
export function clipImageTransformer(
  scope: ParameterScope,
  image: Value,
  config: ClipImageTransformerConfig,
): ClipImageOutputs {
  const { patchSize, grid, width, depth } = config;
  const map = patchEmbedding(scope.scope("patchEmbedding"), image, width, {
    patchSize,
    bias: false,
  });
  const normal = { normal: width ** -0.5 };
  const classToken = scope.parameter("classEmbedding", [width], normal);
  const table = scope.parameter("position", [grid * grid + 1, width], normal);
  const places = interpolatePositions(
    ops.slice(table, 0, 1),
    [grid, grid],
    [ops.dimOf(map, 2), ops.dimOf(map, 3)],
    config.interpolation,
  );
  const first = ops.add(ops.unsqueeze(classToken, [0]), ops.slice(table, 0, 0, 1));
  let x = ops.concat([
    ops.expand(ops.unsqueeze(first, [0]), [ops.dimOf(map, 0), 1, width]),
    ops.add(toTokens(map), places),
  ], 1);
  x = layerNorm(scope.scope("preNorm"), x);
  for (let i = 0; i < depth; i++) {
    x = transformerBlock(scope.scope("blocks").scope(i), x, config);
  }
  const joint = projection(
    scope.scope("projection"),
    layerNorm(scope.scope("norm"), x),
    config.jointSize,
  );
  return {
    embedding: ops.squeeze(ops.slice(joint, 1, 0, 1), [1]),
    features: toMap(ops.slice(joint, 1, 1), map),
  };
}
