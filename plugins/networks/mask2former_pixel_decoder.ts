/**
 * Mask2Former's pixel decoder (Cheng et al., 2022, section 3.2; the "MSDeformAttn" one).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { deformableAttention, pixelCentres, splitLevels } from "./deformable_attention.ts";
import { feedForward } from "./feed_forward.ts";
import { convolution, groupNorm, layerNorm, toMap, toTokens } from "./layers.ts";
import { sinePositions } from "./position_embedding.ts";

/** Sizes of the pixel decoder; see `mask2FormerSizes` for the published ones. */
export interface PixelDecoderConfig {
  /** C, channels of every map. */
  width: number;
  /** Channels of the per-pixel mask embedding. */
  maskWidth: number;
  /** Heads of the deformable attention. */
  heads: number;
  /** Places that each head looks at in each map; 4 where left out. */
  points?: number;
  /** Number of deformable layers. */
  depth: number;
  /** Width of the layers' hidden layer. */
  hiddenWidth: number;
  /** Groups of the convolutions' normalisation; 32 where left out. */
  groups?: number;
  /** How many of the coarsest maps exchange what they see; 3 where left out. */
  levels?: number;
}

/** What the pixel decoder gives. */
export interface PixelDecoderOutputs {
  /** B×maskWidth×H×W, at the finest map's stride. */
  maskFeatures: Value;
  /** B×C×h×w, the coarsest map first. */
  levels: Value[];
}

/**
 * Builds the pixel decoder: the coarsest maps look at each other through deformable attention, then
 * each finer one gets what lies below it, upsampled.
 *
 * @param pyramid The encoder's maps, the finest first; strides 4, 8, 16 and 32, usually.
 */
export function mask2FormerPixelDecoder(
  scope: ParameterScope,
  pyramid: readonly Value[],
  config: PixelDecoderConfig,
): PixelDecoderOutputs {
  const { graph } = scope;
  const { width, heads, hiddenWidth, depth, maskWidth, points, groups = 32, levels = 3 } = config;
  const coarse = pyramid.slice(-levels).reverse();
  const fine = pyramid.slice(0, -levels);

  const maps = coarse.map((map, i) => {
    const part = scope.scope("inputs").scope(i);
    const projected = convolution(part.scope("convolution"), map, width, { kernel: 1 });
    return groupNorm(part.scope("norm"), projected, groups);
  });
  const rows = maps.map(toTokens);
  const sizes = maps.map((map, i) => ({
    height: ops.dimOf(map, 2),
    width: ops.dimOf(map, 3),
    count: ops.dimOf(rows[i]!, 1),
  }));
  const levelTable = scope.parameter("levelEmbedding", [levels, width], { normal: 1 });
  const positions = ops.concat(
    sizes.map((size, i) =>
      ops.add(
        sinePositions(graph, size.height, size.width, width),
        ops.slice(levelTable, 0, i, i + 1),
      )
    ),
    0,
  );
  const places = pixelCentres(graph, sizes);

  let tokens = ops.concat(rows, 1);
  for (let i = 0; i < depth; i++) {
    const layer = scope.scope("layers").scope(i);
    const attended = deformableAttention(
      layer.scope("attention"),
      ops.add(tokens, positions),
      places,
      { tokens, sizes },
      points === undefined ? { heads } : { heads, points },
    );
    tokens = layerNorm(layer.scope("attentionNorm"), ops.add(tokens, attended));
    const mixed = feedForward(layer.scope("feedForward"), tokens, { hiddenWidth });
    tokens = layerNorm(layer.scope("feedForwardNorm"), ops.add(tokens, mixed));
  }
  const outputs = splitLevels(tokens, sizes).map((part, i) => toMap(part, maps[i]!));

  let below = outputs.at(-1)!;
  for (const [i, map] of [...fine.entries()].reverse()) {
    const lateral = scope.scope("lateral").scope(i);
    const own = groupNorm(
      lateral.scope("norm"),
      convolution(lateral.scope("convolution"), map, width, { kernel: 1, bias: false }),
      groups,
    );
    const sum = ops.add(own, ops.resizeBilinear(below, ops.dimOf(own, 2), ops.dimOf(own, 3)));
    const merge = scope.scope("merge").scope(i);
    const merged = convolution(merge.scope("convolution"), sum, width, { kernel: 3, bias: false });
    below = ops.relu(groupNorm(merge.scope("norm"), merged, groups));
  }
  return {
    maskFeatures: convolution(scope.scope("maskFeatures"), below, maskWidth, { kernel: 1 }),
    levels: outputs,
  };
}
