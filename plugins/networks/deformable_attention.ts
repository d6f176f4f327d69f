/**
 * Multi-scale deformable attention.
 *
 * @module
 */
import type { Graph, ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { headSize } from "./attention.ts";
import { linear } from "./layers.ts";
import { counting, type Size, sizeValue } from "./sizes.ts";

/** Feature maps of several sizes as one row of tokens. */
export interface TokenLevels {
  /** B×S×C, the maps' pixels row by row, one map after the other. */
  tokens: Value;
  /** The maps' sizes. */
  sizes: readonly LevelSize[];
}

/** The size of one map. */
export interface LevelSize {
  /** Rows. */
  height: Size;
  /** Columns. */
  width: Size;
  /** Pixels. */
  count: Size;
}

/** Options of {@linkcode deformableAttention}. */
export interface DeformableAttentionOptions {
  /** Number of heads. */
  heads: number;
  /** Places that each head looks at in each map; 4 where left out. */
  points?: number;
}

/**
 * Each query looks at a few places of every map, which it chooses itself as offsets from its own place,
 * in pixels of the map (Zhu et al., 2021, equation 3). Gradients need maps of known sizes.
 *
 * @param queries B×Q×C, what the offsets and weights come from.
 * @param places Q×2, where each query is: x, then y, from 0 at the left and top to 1.
 * @param source What is looked at.
 * @returns B×Q×C.
 * @throws {ShapeError} If the heads don't divide the channels.
 */
export function deformableAttention(
  scope: ParameterScope,
  queries: Value,
  places: Value,
  source: TokenLevels,
  { heads, points = 4 }: DeformableAttentionOptions,
): Value {
  const { graph } = scope;
  const { sizes } = source;
  const levels = sizes.length;
  const width = queries.shape[2] as number;
  const size = headSize(queries, heads);
  const [batch, count] = [ops.dimOf(queries, 0), ops.dimOf(queries, 1)];

  // Offsets in units of the map's own size, which the layer's parameters take on: they are few.
  const pixels = ops.concat(
    sizes.map((level) => ops.reshape(ops.div(2, extent(graph, level)), [1, 1, 1, 2])),
    1,
  );
  const units = ops.reshape(ops.expand(pixels, [heads, levels, points, 2]), [-1]);
  // Level by level, heads beside the batch, and queries last, so that long rows lie side by side.
  const offsets = ops.transpose(
    ops.reshape(
      still(scope.scope("offsets"), queries, heads * levels * points * 2, 2, units),
      [batch, count, heads, levels, points, 2],
    ),
    [3, 0, 2, 4, 1, 5],
  );
  const affinity = still(scope.scope("weights"), queries, heads * levels * points, 0);
  const weights = ops.transpose(
    ops.reshape(
      ops.softmax(ops.reshape(affinity, [batch, count, heads, levels * points]), -1),
      [batch, count, heads, levels, points],
    ),
    [3, 0, 2, 4, 1],
  );
  const values = splitLevels(linear(scope.scope("value"), source.tokens, width), sizes);

  const start = ops.sub(ops.mul(places, 2), 1);
  const looks = sizes.map((level, i) => {
    const value = ops.reshape(
      ops.transpose(values[i]!, [0, 2, 1]),
      [-1, size, level.height, level.width],
    );
    const steps = ops.reshape(ops.slice(offsets, 0, i, i + 1), [-1, points, count, 2]);
    const seen = ops.gridSample(value, ops.add(steps, start));
    const weight = ops.reshape(ops.slice(weights, 0, i, i + 1), [-1, 1, points, count]);
    return ops.reduceSum(ops.mul(seen, weight), [2]);
  });
  const sum = looks.reduce((a, b) => ops.add(a, b));
  const rows = ops.transpose(ops.reshape(sum, [batch, width, count]), [0, 2, 1]);
  return linear(scope.scope("output"), rows, width);
}

/** The centres of all pixels of all maps: S×2, x, then y, from 0 at the left and top to 1. */
export function pixelCentres(graph: Graph, sizes: readonly LevelSize[]): Value {
  const along = (size: Size) =>
    typeof size === "number"
      ? graph.constant(Array.from({ length: size }, (_, i) => (i + 0.5) / size))
      : ops.div(ops.sub(counting(graph, size), 0.5), sizeValue(graph, size));
  return ops.concat(
    sizes.map(({ height, width }) => {
      const shape = [height, width, 1];
      const x = ops.expand(ops.unsqueeze(along(width), [0, 2]), shape);
      const y = ops.expand(ops.unsqueeze(along(height), [1, 2]), shape);
      return ops.reshape(ops.concat([x, y], 2), [-1, 2]);
    }),
    0,
  );
}

/** Cuts B×S×C where one map ends and the next one begins. */
export function splitLevels(tokens: Value, sizes: readonly LevelSize[]): Value[] {
  const counts = sizes.map(({ count }) => count);
  if (counts.every((count) => typeof count === "number")) return ops.split(tokens, counts, 1);
  const { graph } = tokens;
  let before = graph.constant([-1]);
  return counts.map((count) => {
    const at = ops.cast(ops.add(counting(graph, count), before), "int64");
    before = ops.add(before, sizeValue(graph, count));
    return ops.gather(tokens, at, 1);
  });
}

/** Columns and rows, as a vector. */
function extent(graph: Graph, { height, width }: LevelSize): Value {
  if (typeof height === "number" && typeof width === "number") {
    return graph.constant([width, height]);
  }
  return ops.concat([sizeValue(graph, width), sizeValue(graph, height)], 0);
}

/** A linear layer that starts out giving the same for every query; `units` is what each output counts in. */
function still(
  scope: ParameterScope,
  x: Value,
  outputs: number,
  deviation: number,
  units?: Value,
): Value {
  const shape = [x.shape[2] as number, outputs];
  const weight = scope.parameter("weight", shape, { constant: 0 });
  const bias = scope.parameter(
    "bias",
    [outputs],
    deviation > 0 ? { normal: deviation } : { constant: 0 },
  );
  if (units === undefined) return ops.add(ops.matMul(x, weight), bias);
  return ops.add(ops.matMul(x, ops.mul(weight, units)), ops.mul(bias, units));
}
