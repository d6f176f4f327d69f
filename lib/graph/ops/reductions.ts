/**
 * Operators that reduce axes, and sums along them.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import { abs } from "./elementwise.ts";
import { fail, int64, normalizeAxis, one } from "./core.ts";

function reduce(op: string, x: Value, axes: readonly number[] | null, keepDims: boolean): Value {
  const all = axes?.map((axis) => normalizeAxis(op, x, axis)) ?? x.shape.map((_, i) => i);
  const sorted = [...new Set(all)].sort((a, b) => a - b);
  if (sorted.length !== all.length) fail(op, `axes [${axes}] repeat`, x);
  const shape = keepDims
    ? x.shape.map((dim, i) => sorted.includes(i) ? 1 : dim)
    : x.shape.filter((_, i) => !sorted.includes(i));
  return one(op, [x, int64(x.graph, sorted)], { dtype: x.dtype, shape }, {
    keepdims: { int: Number(keepDims) },
    noop_with_empty_axes: { int: 1 },
  });
}

/** The sum over some axes, or over all. */
export function reduceSum(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceSum", x, axes, keepDims);
}

/** The mean over some axes, or over all. */
export function reduceMean(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceMean", x, axes, keepDims);
}

/** The largest element over some axes, or over all. Elements that tie share the gradient. */
export function reduceMax(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceMax", x, axes, keepDims);
}

/** The smallest element over some axes, or over all. Elements that tie share the gradient. */
export function reduceMin(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceMin", x, axes, keepDims);
}

/** `log Σ eˣ` over some axes, or over all, without overflow. */
export function reduceLogSumExp(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceLogSumExp", x, axes, keepDims);
}

/** The Euclidean norm over some axes, or over all; its gradient at a zero vector is zero. */
export function reduceL2(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  // ONNX leaves x as it is where no axis is named.
  if ((axes?.length ?? x.rank) === 0) return abs(x);
  return reduce("ReduceL2", x, axes, keepDims);
}

/** Sums of the elements up to each one of an axis, itself included. */
export function cumSum(x: Value, axis: number, reverse = false): Value {
  const at = x.graph.constant(normalizeAxis("cumSum", x, axis), [], "int64");
  if (x.rank === 0) fail("cumSum", "needs at least one axis", x);
  return one("CumSum", [x, at], { dtype: x.dtype, shape: x.shape }, {
    exclusive: { int: 0 },
    reverse: { int: Number(reverse) },
  });
}

/** The index of the largest element of an axis, the first one at a tie; int64, the axis dropped. */
export function argMax(x: Value, axis = -1): Value {
  const at = normalizeAxis("argMax", x, axis);
  if (x.rank === 0) fail("argMax", "needs at least one axis", x);
  const shape = x.shape.filter((_, i) => i !== at);
  return one("ArgMax", [x], { dtype: "int64", shape }, {
    axis: { int: at },
    keepdims: { int: 0 },
    select_last_index: { int: 0 },
  });
}

/**
 * The `k` largest elements of an axis in descending order, at a tie the first one first.
 *
 * @returns The elements, which gradients pass through, and their indices (int64).
 */
export function topK(x: Value, k: number, axis = -1): { values: Value; indices: Value } {
  const at = normalizeAxis("topK", x, axis);
  const dim = x.shape[at];
  if (!(Number.isInteger(k) && k >= 1 && !(typeof dim === "number" && k > dim)) || x.rank === 0) {
    fail("topK", `axis ${axis} has no ${k} largest elements`, x);
  }
  const shape = x.shape.map((d, i) => i === at ? k : d);
  const [values, indices] = x.graph.add(
    "TopK",
    [x, int64(x.graph, [k])],
    [{ dtype: x.dtype, shape }, { dtype: "int64", shape }],
    { axis: { int: at }, largest: { int: 1 }, sorted: { int: 1 } },
  );
  return { values: values!, indices: indices! };
}
