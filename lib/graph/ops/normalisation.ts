/**
 * Softmax and normalisations.
 *
 * @module
 */
import type { ResultSpec, Value } from "../graph.ts";
import { dimOf, fail, normalizeAxis, staticSize, unary } from "./core.ts";
import { add, div, max, mul, sqrt } from "./elementwise.ts";
import { reduceSum } from "./reductions.ts";
import { expand, reshape } from "./shape.ts";

/** Softmax along one axis. */
export function softmax(x: Value, axis = -1): Value {
  return unary("Softmax", x, { axis: { int: normalizeAxis("softmax", x, axis) } });
}

/** The logarithm of the softmax along one axis. */
export function logSoftmax(x: Value, axis = -1): Value {
  return unary("LogSoftmax", x, { axis: { int: normalizeAxis("logSoftmax", x, axis) } });
}

/**
 * Layer normalisation over the last axis (Ba et al., 2016).
 *
 * @param scale One factor per element of the last axis.
 * @param bias One summand per element of the last axis, or null.
 */
export function layerNorm(x: Value, scale: Value, bias: Value | null, epsilon = 1e-5): Value {
  const width = x.shape[x.rank - 1];
  for (const p of [scale, bias]) {
    if (p === null) continue;
    if (p.rank !== 1 || p.shape[0] !== width) {
      fail("layerNorm", `scale and bias must have ${width}`, x, p);
    }
  }
  const statistics: ResultSpec = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
  return x.graph.add(
    "LayerNormalization",
    [x, scale, bias],
    [{ dtype: x.dtype, shape: x.shape }, statistics, statistics],
    { axis: { int: -1 }, epsilon: { float: epsilon } },
  )[0]!;
}

/**
 * Group normalisation (Wu and He, 2018): each image's groups of channels get mean 0 and variance 1.
 *
 * @param x B×C×…
 * @param groups Number of groups, which divides C.
 * @param scale C, one factor per channel.
 * @param bias C, one summand per channel.
 */
export function groupNorm(
  x: Value,
  groups: number,
  scale: Value,
  bias: Value,
  epsilon = 1e-5,
): Value {
  if (x.rank < 2) fail("groupNorm", "needs at least two axes", x);
  const channels = staticSize("groupNorm", x, 1);
  if (!(groups >= 1) || channels % groups !== 0) {
    fail("groupNorm", `${channels} channels don't make ${groups} groups`, x);
  }
  for (const p of [scale, bias]) {
    if (p.rank !== 1 || p.shape[0] !== channels) {
      fail("groupNorm", `scale and bias must have ${channels}`, x, p);
    }
  }
  const rows = reshape(x, [dimOf(x, 0), groups, -1]);
  const ones = expand(x.graph.constant(1, [], x.dtype), [dimOf(rows, 2)]);
  const normal = reshape(layerNorm(rows, ones, null, epsilon), x.shape.map((_, i) => dimOf(x, i)));
  const spread = (p: Value) =>
    x.rank === 2 ? p : reshape(p, [channels, ...x.shape.slice(2).fill(1) as number[]]);
  return add(mul(normal, spread(scale)), spread(bias));
}

/** `x / max(‖x‖₂, epsilon)` along one axis; a zero vector stays zero. */
export function l2Normalize(x: Value, axis = -1, epsilon = 1e-12): Value {
  const squares = reduceSum(mul(x, x), [axis], true);
  return div(x, sqrt(max(squares, epsilon * epsilon)));
}
