/**
 * Operators that move elements without computing: shapes, cuts and joins.
 *
 * @module
 */
import { ShapeError } from "../../errors.ts";
import { formatShape } from "../../tensor.ts";
import { productOf, quotientOf, stepSize, sumOf } from "../dims.ts";
import type { Dim, Graph, Value } from "../graph.ts";
import { Origin } from "../origin.ts";
import { broadcastShapes, type DimOf, fail, int64, normalizeAxis, one, shapeOf } from "./core.ts";

/** Sizes as a vector, read from their values where they aren't known. */
export function sizesAtRunTime(graph: Graph, dims: readonly (number | DimOf)[]): Value {
  if (dims.every((dim) => typeof dim === "number")) return int64(graph, dims as number[]);
  const parts: Value[] = [];
  for (let i = 0; i < dims.length;) {
    const numbers: number[] = [];
    while (i < dims.length && typeof dims[i] === "number") numbers.push(dims[i++] as number);
    if (numbers.length > 0) parts.push(int64(graph, numbers));
    const dim = dims[i];
    if (typeof dim !== "object") continue;
    // Neighbouring axes of one value are read at once.
    let count = 1;
    for (let next = dims[i + count]; typeof next === "object"; next = dims[i + count]) {
      if (next.value !== dim.value || next.axis !== dim.axis + count) break;
      count++;
    }
    parts.push(one("Shape", [dim.value], { dtype: "int64", shape: [count] }, {
      start: { int: dim.axis },
      end: { int: dim.axis + count },
    }));
    i += count;
  }
  return concat(parts, 0);
}

/**
 * The same elements under another shape.
 *
 * @param dims Sizes; at most one −1 for "what is left"; {@linkcode dimOf} for sizes that are known
 * only when the graph runs.
 */
export function reshape(x: Value, dims: readonly (number | DimOf)[]): Value {
  const wildcard = dims.indexOf(-1);
  if (wildcard !== dims.lastIndexOf(-1)) fail("reshape", "only one size can be −1", x);
  const shape = shapeOf(dims);
  if (wildcard >= 0) {
    const others = productOf(shape.filter((_, i) => i !== wildcard));
    const rest = quotientOf(productOf(x.shape), others);
    if (rest === null) fail("reshape", `can't become ${formatShape(shape)}`, x);
    shape[wildcard] = rest;
  } else if (
    x.shape.every((d) => typeof d === "number") && shape.every((d) => typeof d === "number") &&
    productOf(x.shape) !== productOf(shape)
  ) {
    fail("reshape", `can't become ${formatShape(shape)}`, x);
  }
  const target = sizesAtRunTime(x.graph, dims);
  return one("Reshape", [x, target], { dtype: x.dtype, shape }, { allowzero: { int: 0 } });
}

/** Reorders the axes: axis `i` of the result is axis `permutation[i]` of `x`. */
export function transpose(x: Value, permutation: readonly number[]): Value {
  const sorted = [...permutation].sort((a, b) => a - b);
  if (sorted.length !== x.rank || sorted.some((axis, i) => axis !== i)) {
    fail("transpose", `[${permutation}] is no permutation of its axes`, x);
  }
  const shape = permutation.map((axis) => x.shape[axis]!);
  return one("Transpose", [x], { dtype: x.dtype, shape }, { perm: { ints: permutation } });
}

/** Inserts axes of size 1 at these positions of the result. */
export function unsqueeze(x: Value, axes: readonly number[]): Value {
  if (axes.length === 0) return x;
  const rank = x.rank + axes.length;
  const at = axes.map((axis) => axis < 0 ? axis + rank : axis);
  if (new Set(at).size !== at.length || at.some((axis) => !(axis >= 0 && axis < rank))) {
    fail("unsqueeze", `axes [${axes}] don't fit`, x);
  }
  const shape: Dim[] = [];
  for (let i = 0, j = 0; i < rank; i++) shape.push(at.includes(i) ? 1 : x.shape[j++]!);
  const sorted = [...at].sort((a, b) => a - b);
  return one("Unsqueeze", [x, int64(x.graph, sorted)], { dtype: x.dtype, shape });
}

/** Removes axes of size 1. */
export function squeeze(x: Value, axes: readonly number[]): Value {
  // ONNX Runtime takes an empty list of axes for "every axis of size 1".
  if (axes.length === 0) return x;
  const at = axes.map((axis) => normalizeAxis("squeeze", x, axis)).sort((a, b) => a - b);
  if (at.some((axis) => x.shape[axis] !== 1)) fail("squeeze", `axes [${axes}] are not all 1`, x);
  if (new Set(at).size !== at.length) fail("squeeze", `axes [${axes}] repeat`, x);
  const shape = x.shape.filter((_, i) => !at.includes(i));
  return one("Squeeze", [x, int64(x.graph, at)], { dtype: x.dtype, shape });
}

/** Broadcasts to a shape. */
export function expand(x: Value, dims: readonly (number | DimOf)[]): Value {
  const shape = shapeOf(dims);
  const result = broadcastShapes(x.shape, shape);
  if (result === null || result.some((dim, i) => dim !== shape[i])) {
    fail("expand", `can't become ${formatShape(shape)}`, x);
  }
  return one("Expand", [x, sizesAtRunTime(x.graph, dims)], { dtype: x.dtype, shape });
}

/** Repeats the whole of `x` along each axis. */
export function tile(x: Value, repeats: readonly number[]): Value {
  if (repeats.length !== x.rank) fail("tile", `${repeats.length} counts, not one per axis`, x);
  const bad = repeats.find((n) => !(Number.isInteger(n) && n >= 1));
  if (bad !== undefined) fail("tile", `can't repeat ${bad} times`, x);
  const shape = x.shape.map((dim, i) => productOf([dim, repeats[i]!]));
  return one("Tile", [x, int64(x.graph, repeats)], { dtype: x.dtype, shape });
}

/** Joins values along one axis. */
export function concat(values: readonly Value[], axis: number): Value {
  const first = values[0];
  if (first === undefined) {
    throw new ShapeError(`concat: needs at least one value${new Origin().note()}`);
  }
  if (values.length === 1) return first;
  const at = normalizeAxis("concat", first, axis);
  for (const value of values) {
    const same = value.rank === first.rank && value.dtype === first.dtype &&
      value.shape.every((dim, i) => i === at || dim === first.shape[i]);
    if (!same) fail("concat", `differ in more than axis ${axis}`, ...values);
  }
  const total = sumOf(values.map((value) => value.shape[at]!));
  const shape = first.shape.map((dim, i) => i === at ? total : dim);
  return one("Concat", values, { dtype: first.dtype, shape }, { axis: { int: at } });
}

/** Cuts one axis into pieces of the given sizes. */
export function split(x: Value, sizes: readonly number[], axis: number): Value[] {
  const at = normalizeAxis("split", x, axis);
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== x.shape[at]) fail("split", `pieces of ${total} in all on axis ${axis}`, x);
  if (sizes.length === 1) return [x];
  const results = sizes.map((size) => ({
    dtype: x.dtype,
    shape: x.shape.map((dim, i) => i === at ? size : dim),
  }));
  return x.graph.add("Split", [x, int64(x.graph, sizes)], results, { axis: { int: at } });
}

/** ONNX's word for "to the end" on either side. */
const endless = 2 ** 31 - 1;

/**
 * Every `step`-th element of one axis from `start` to `end`, the latter excluded, as in Python:
 * negative numbers count from the end, `Infinity` is the end itself. A negative `step` walks
 * backwards, there from `Infinity`, the last element, to `-Infinity`, past the first one.
 *
 * An axis of symbolic size must have as many elements as the numbers say. With {@linkcode dimOf} as
 * its end the cut starts at 0, and its size is known when the graph runs.
 */
export function slice(
  x: Value,
  axis: number,
  start: number,
  end: number | DimOf = Infinity,
  step = 1,
): Value {
  const at = normalizeAxis("slice", x, axis);
  if (x.rank === 0) fail("slice", "needs at least one axis", x);
  const dim = x.shape[at]!;
  const graph = x.graph;
  if (!Number.isInteger(step) || step === 0) fail("slice", `can't step by ${step}`, x);
  const cut = (from: number, to: Value, size: Dim) => {
    const inputs = [x, int64(graph, [from]), to, int64(graph, [at])];
    if (step !== 1) inputs.push(int64(graph, [step]));
    const shape = x.shape.map((d, i) => i === at ? size : d);
    return one("Slice", inputs, { dtype: x.dtype, shape });
  };
  if (typeof end !== "number") {
    if (start !== 0 || step < 0) {
      fail("slice", "a size known at run time needs start = 0 and goes forwards", x);
    }
    const size = end.value.shape[end.axis]!;
    return cut(0, sizesAtRunTime(graph, [end]), stepSize(size, step));
  }
  const empty = () => fail("slice", `[${start}, ${end}) of axis ${axis} is empty`, x);
  if (typeof dim !== "number") {
    if (step < 0) {
      if (start !== Infinity || end !== -Infinity) {
        fail("slice", `a part of symbolic axis ${axis} can't be walked backwards`, x);
      }
      return cut(endless, int64(graph, [-endless]), stepSize(dim, -step));
    }
    // Both ends as a distance from the axis's begin or from its end.
    const place = (n: number): Dim => n === Infinity ? dim : n < 0 ? sumOf([dim, n]) : n;
    const count = start < 0 && (end === Infinity || end < 0)
      ? (end === Infinity ? 0 : end) - start
      : start >= 0 && end >= 0 && end !== Infinity
      ? end - start
      : start >= 0
      ? sumOf([place(end), -start])
      : fail("slice", `[${start}, ${end}) of symbolic axis ${axis} has no known size`, x);
    if (typeof count === "number" && count <= 0) empty();
    return cut(start, int64(graph, [end === Infinity ? endless : end]), stepSize(count, step));
  }
  if (step > 0) {
    const from = start < 0 ? start + dim : start;
    const to = Math.min(end < 0 ? end + dim : end, dim);
    if (!(from >= 0 && from < to)) empty();
    return cut(from, int64(graph, [to]), stepSize(to - from, step));
  }
  const from = Math.min(start < 0 ? start + dim : start, dim - 1);
  const to = end === -Infinity ? -1 : end < 0 ? end + dim : end;
  if (!(from >= 0 && to >= -1 && from > to)) empty();
  return cut(from, int64(graph, [to === -1 ? -endless : to]), stepSize(from - to, -step));
}

/** Shifts the elements of each named axis to higher indices; what falls off comes in at 0. */
export function roll(x: Value, shifts: readonly number[], axes: readonly number[]): Value {
  if (shifts.length !== axes.length) {
    fail("roll", `${shifts.length} shifts for ${axes.length} axes`, x);
  }
  return axes.reduce((y, axis, i) => {
    const at = normalizeAxis("roll", x, axis);
    const dim = y.shape[at]!;
    if (!Number.isInteger(shifts[i])) fail("roll", `can't shift by ${shifts[i]}`, x);
    const shift = typeof dim === "number" ? ((shifts[i]! % dim) + dim) % dim : shifts[i]!;
    if (shift === 0) return y;
    return concat([slice(y, at, -shift), slice(y, at, 0, -shift)], at);
  }, x);
}

/** Adds zeros (or `value`) before and after each axis. */
export function pad(
  x: Value,
  before: readonly number[],
  after: readonly number[],
  value = 0,
): Value {
  if (before.length !== x.rank || after.length !== x.rank) fail("pad", "one width per axis", x);
  if ([...before, ...after].some((n) => !(n >= 0))) fail("pad", "widths can't be negative", x);
  const shape = x.shape.map((dim, i) => sumOf([dim, before[i]! + after[i]!]));
  const inputs = [x, int64(x.graph, [...before, ...after]), x.graph.constant(value, [], x.dtype)];
  return one("Pad", inputs, { dtype: x.dtype, shape }, { mode: { string: "constant" } });
}

/** Moves blocks of pixels into channels: B×C×H×W to B×(C·b²)×(H/b)×(W/b). */
export function spaceToDepth(x: Value, block: number): Value {
  const [b, c, h, w] = x.shape;
  if (x.rank !== 4 || Number(h) % block > 0 || Number(w) % block > 0) {
    fail("spaceToDepth", `height and width must be multiples of ${block}`, x);
  }
  const smaller = (dim: Dim) => quotientOf(dim, block)!;
  const shape = [b!, productOf([c!, block * block]), smaller(h!), smaller(w!)];
  return one("SpaceToDepth", [x], { dtype: x.dtype, shape }, { blocksize: { int: block } });
}

/** The inverse of {@linkcode spaceToDepth}: B×C×H×W to B×(C/b²)×(H·b)×(W·b). */
export function depthToSpace(x: Value, block: number): Value {
  const [b, c, h, w] = x.shape;
  if (x.rank !== 4 || typeof c !== "number" || c % (block * block) > 0) {
    fail("depthToSpace", `the channels must be a multiple of ${block * block}`, x);
  }
  const shape = [b!, c / (block * block), productOf([h!, block]), productOf([w!, block])];
  return one("DepthToSpace", [x], { dtype: x.dtype, shape }, {
    blocksize: { int: block },
    mode: { string: "DCR" },
  });
}
