/**
 * The mask decoder: a small Mask2Former (Cheng et al., 2022) over the frozen image tower, whose
 * query embeddings lie in the joint image-text space.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { attention } from "./attention.ts";
import { feedForward } from "./feed_forward.ts";
import type { ImageEncoderOutputs } from "./image_encoder.ts";
import { conv3x3, layerNorm, linear, toMap, toTokens } from "./layers.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Sizes of the mask decoder. */
export interface MaskDecoderConfig {
  /** N, the number of queries. */
  numQueries: number;
  /** Channels of queries and pixel tokens. */
  width: number;
  /** Heads of every attention. */
  heads: number;
  /** Transformer blocks of the pixel decoder. */
  pixelDepth: number;
  /** Layers of the transformer decoder; they look at strides 16 and 8 in turn. */
  depth: number;
  /** Channels of the per-pixel mask embedding at stride 4. */
  maskWidth: number;
  /** Side of the learned position table, in tokens of 8×8 pixels. */
  grid: number;
  /** D, the size of the joint space. */
  jointSize: number;
}

/** What the decoder predicts after one of its layers. */
export interface MaskPrediction {
  /** B×N×(H/4)×(W/4). */
  maskLogits: Value;
  /** B×N×D, in the joint space, not normalised. */
  queryEmbeddings: Value;
}

/**
 * Builds the decoder.
 *
 * @param inputs What the image tower gives.
 * @returns A prediction from the untouched queries and one after each layer; the last one counts,
 * the others are for deep supervision.
 */
export function maskDecoder(
  scope: ParameterScope,
  { features, pyramid4, pyramid8 }: ImageEncoderOutputs,
  config: MaskDecoderConfig,
): MaskPrediction[] {
  const { numQueries, width, heads, grid } = config;
  const table = scope.parameter("position", [1, width, grid, grid], { normal: 0.02 });
  const position = ops.resizeBilinear(table, ops.dimOf(pyramid8, 2), ops.dimOf(pyramid8, 3));

  // Pixel decoder: context at stride 8, then detail from the stem at stride 4.
  let pixels = linear(
    scope.scope("pixels.embed"),
    toTokens(ops.concat([pyramid8, features], 1)),
    width,
    0.05,
  );
  pixels = ops.add(pixels, toTokens(position));
  for (let i = 0; i < config.pixelDepth; i++) {
    pixels = transformerBlock(scope.scope("pixels.blocks").scope(i), pixels, { heads });
  }
  const map8 = toMap(pixels, pyramid8);
  const upsampled = ops.depthToSpace(
    toMap(linear(scope.scope("pixels.upsample"), pixels, 4 * config.maskWidth, 0.05), pyramid8),
    2,
  );
  const lateral = linear(scope.scope("pixels.lateral"), toTokens(pyramid4), config.maskWidth, 0.1);
  const detail = ops.relu(ops.add(upsampled, toMap(lateral, pyramid4)));
  const maskFeatures = conv3x3(scope.scope("pixels.mask"), detail, config.maskWidth);
  const maskRows = ops.reshape(maskFeatures, [
    ops.dimOf(maskFeatures, 0),
    config.maskWidth,
    -1,
  ]);

  // Two scales to look at, each with its own projection.
  const map16 = ops.spaceToDepth(map8, 2);
  const scales = [map16, map8].map((map, i) => {
    const tokens = linear(scope.scope("scales").scope(i), toTokens(map), width, 0.05);
    const at = ops.resizeBilinear(table, ops.dimOf(map, 2), ops.dimOf(map, 3));
    return { map, tokens, position: toTokens(at) };
  });

  const predict = (queries: Value): MaskPrediction => {
    const normal = layerNorm(scope.scope("norm"), queries);
    const hidden = ops.relu(linear(scope.scope("maskHead.hidden"), normal, width, 0.1));
    const embedding = linear(scope.scope("maskHead.output"), hidden, config.maskWidth, 0.1);
    const logits = ops.matMul(embedding, maskRows);
    const joint = ops.relu(linear(scope.scope("jointHead.hidden"), normal, width, 0.1));
    return {
      maskLogits: ops.reshape(logits, [
        ops.dimOf(queries, 0),
        numQueries,
        ops.dimOf(maskFeatures, 2),
        ops.dimOf(maskFeatures, 3),
      ]),
      queryEmbeddings: linear(scope.scope("jointHead.output"), joint, config.jointSize, 0.1),
    };
  };

  const content = scope.parameter("queries", [1, numQueries, width], { normal: 0.5 });
  const place = scope.parameter("queryPosition", [1, numQueries, width], { normal: 0.5 });
  const batch = ops.dimOf(pyramid8, 0);
  let queries = ops.expand(content, [batch, numQueries, width]);
  const predictions = [predict(queries)];
  for (let i = 0; i < config.depth; i++) {
    const layer = scope.scope("layers").scope(i);
    const { map, tokens, position } = scales[i % 2]!;
    const bias = attentionBias(predictions[i]!.maskLogits, map);
    const cross = attention(
      layer.scope("crossAttention"),
      ops.add(layerNorm(layer.scope("crossNorm"), queries), place),
      tokens,
      { heads, bias, keyPosition: position },
    );
    queries = ops.add(queries, cross);
    const normal = ops.add(layerNorm(layer.scope("selfNorm"), queries), place);
    queries = ops.add(queries, attention(layer.scope("selfAttention"), normal, normal, { heads }));
    const again = layerNorm(layer.scope("feedForwardNorm"), queries);
    queries = ops.add(queries, feedForward(layer.scope("feedForward"), again));
    predictions.push(predict(queries));
  }
  return predictions;
}

/**
 * Masked attention: each query sees only where it predicted its mask so far, or everything where
 * that is nowhere. B×1×N×(h·w), 0 or −1e9; gradients don't pass.
 */
function attentionBias(maskLogits: Value, map: Value): Value {
  const small = ops.resizeBilinear(
    ops.stopGradient(maskLogits),
    ops.dimOf(map, 2),
    ops.dimOf(map, 3),
  );
  const rows = ops.reshape(small, [ops.dimOf(small, 0), small.shape[1] as number, -1]);
  const inside = ops.cast(ops.greater(rows, 0), "float32");
  const nowhere = ops.sub(1, ops.reduceMax(inside, [-1], true));
  return ops.unsqueeze(ops.mul(ops.sub(ops.add(inside, nowhere), 1), 1e9), [1]);
}
