/**
 * Operators that read and write elements by their indices.
 *
 * @module
 */
import { type DType, formatShape, sizeOf } from "../../tensor.ts";
import type { Dim, Value } from "../graph.ts";
import { addablePieces } from "./addable_pieces.ts";
import { checkIndices, dimOf, fail, normalizeAxis, one } from "./core.ts";
import { cast, equal } from "./elementwise.ts";
import { expand, reshape, split, unsqueeze } from "./shape.ts";

/**
 * Rows of a table, along one of its axes: an embedding lookup, say.
 *
 * @param table V×…, with V on another axis where `axis` says so.
 * @param indices Integers in [−V, V), any shape; negative ones count from the end.
 * @returns The table's shape with the indices' shape in place of V.
 */
export function gather(table: Value, indices: Value, axis = 0): Value {
  if (table.rank === 0) fail("gather", "the table has no rows", table, indices);
  checkIndices("gather", indices, table, indices);
  const at = normalizeAxis("gather", table, axis);
  const shape = table.shape.toSpliced(at, 1, ...indices.shape);
  return one("Gather", [table, indices], { dtype: table.dtype, shape }, { axis: { int: at } });
}

/**
 * One element for each index: `result[…i…] = x[…indices[…i…]…]` along `axis`.
 *
 * @param x Any shape.
 * @param indices Integers in [0, V), V the size of `axis`; as many axes as `x`, none of the others
 * larger than that of `x`.
 * @returns The indices' shape.
 */
export function gatherElements(x: Value, indices: Value, axis: number): Value {
  const at = checkElements("gatherElements", x, indices, axis);
  const shape = indices.shape;
  return one("GatherElements", [x, indices], { dtype: x.dtype, shape }, { axis: { int: at } });
}

function checkElements(op: string, x: Value, indices: Value, axis: number): number {
  checkIndices(op, indices, x, indices);
  const at = normalizeAxis(op, x, axis);
  const larger = indices.shape.some((dim, i) =>
    i !== at && typeof dim === "number" && typeof x.shape[i] === "number" &&
    dim > Number(x.shape[i])
  );
  if (x.rank === 0 || indices.rank !== x.rank || larger) {
    fail(op, `the indices must have the axes of ${formatShape(x.shape)}`, x, indices);
  }
  return at;
}

/**
 * Parts of a tensor by the indices of its first axes: `result[i…] = x[indices[i…, 0], indices[i…, 1],
 * …]`.
 *
 * @param x Any shape.
 * @param indices int64, …×K: the indices of K axes, after the `batchDims` that both begin with.
 * @returns The indices' shape without its last axis, then the axes of `x` that aren't named.
 */
export function gatherND(x: Value, indices: Value, batchDims = 0): Value {
  const depth = checkND("gatherND", x, indices, batchDims);
  const shape = [...indices.shape.slice(0, -1), ...x.shape.slice(batchDims + depth)];
  return one("GatherND", [x, indices], { dtype: x.dtype, shape }, {
    batch_dims: { int: batchDims },
  });
}

function checkND(op: string, x: Value, indices: Value, batchDims = 0): number {
  const depth = indices.shape.at(-1);
  if (indices.dtype !== "int64") fail(op, `indices are ${indices.dtype}, not int64`, x, indices);
  const fits = typeof depth === "number" && depth >= 1 && batchDims + depth <= x.rank;
  const batch = indices.rank > batchDims &&
    indices.shape.slice(0, batchDims).every((dim, i) => dim === x.shape[i]);
  if (!fits || !batch) {
    const after = batchDims === 0 ? "" : ` after ${batchDims} shared ones`;
    fail(op, `indices of ${depth} axes${after} don't fit`, x, indices);
  }
  return depth as number;
}

function isStatic(shape: readonly Dim[]): shape is readonly number[] {
  return shape.every((dim) => typeof dim === "number");
}

/** Adds parts piece by piece, each of which is one thread's work. */
function addInTurn(x: Value, indices: Value, updates: Value): Value {
  const add = (sum: Value, indices: Value, updates: Value) =>
    one("ScatterND", [sum, indices, updates], { dtype: x.dtype, shape: x.shape }, {
      reduction: { string: "add" },
    });
  const depth = indices.shape.at(-1) as number;
  const [lead, rest] = [indices.shape.slice(0, -1), x.shape.slice(depth)];
  if (!isStatic(lead) || !isStatic(rest)) return add(x, indices, updates);
  const count = sizeOf(lead);
  const pieces = addablePieces(count, sizeOf(rest));
  if (pieces.length === 1) return add(x, indices, updates);
  const places = split(reshape(indices, [count, depth]), pieces, 0);
  const parts = split(reshape(updates, [count, ...rest]), pieces, 0);
  return places.reduce((sum, place, i) => add(sum, place, parts[i]!), x);
}

/**
 * Adds rows to a table: `result[indices[i]] += updates[i]`, repeated indices included.
 *
 * @param table V×…
 * @param indices Integers in [0, V), any shape.
 * @param updates The indices' shape followed by the table's without its first axis.
 */
export function scatterAdd(table: Value, indices: Value, updates: Value): Value {
  const wanted = [...indices.shape, ...table.shape.slice(1)];
  if (formatShape(wanted) !== formatShape(updates.shape)) {
    fail("scatterAdd", `updates must be ${formatShape(wanted)}`, table, indices, updates);
  }
  const whole = indices.dtype === "int64" ? indices : cast(indices, "int64");
  const width = table.shape.slice(1);
  if (!isStatic(indices.shape) && isStatic(width)) {
    // How many there are isn't known: one thread's work however many, if a slower one.
    const columns = sizeOf(width);
    const rows = reshape(updates, [-1, columns]);
    const places = expand(reshape(whole, [-1, 1]), [dimOf(rows, 0), columns]);
    const sum = scatterElements(reshape(table, [-1, columns]), places, rows, 0, "add");
    return reshape(sum, table.shape.map((dim) => typeof dim === "number" ? dim : -1));
  }
  return addInTurn(table, unsqueeze(whole, [indices.rank]), updates);
}

/** What {@linkcode scatterElements} and {@linkcode scatterND} do where they write. */
export type ScatterReduction = "none" | "add";

/**
 * `x` with elements replaced, or added to: `result[…indices[…i…]…] = updates[…i…]` along `axis`. Where
 * they replace, no index may come twice.
 *
 * @param x Any shape.
 * @param indices Integers in [0, V), V the size of `axis`; as many axes as `x`.
 * @param updates The indices' shape.
 */
export function scatterElements(
  x: Value,
  indices: Value,
  updates: Value,
  axis: number,
  reduction: ScatterReduction = "none",
): Value {
  const at = checkElements("scatterElements", x, indices, axis);
  if (formatShape(indices.shape) !== formatShape(updates.shape)) {
    fail("scatterElements", "indices and updates differ in shape", x, indices, updates);
  }
  return one("ScatterElements", [x, indices, updates], { dtype: x.dtype, shape: x.shape }, {
    axis: { int: at },
    reduction: { string: reduction },
  });
}

/**
 * `x` with parts replaced, or added to: `result[indices[i…, 0], indices[i…, 1], …] = updates[i…]`.
 * Where they replace, no part may come twice. Where they add, sizes should be known: with a symbolic
 * number of updates, ONNX Runtime on several threads may lose sums of parts that come twice.
 *
 * @param x Any shape.
 * @param indices int64, …×K: the indices of the first K axes.
 * @param updates The indices' shape without its last axis, then the axes of `x` that aren't named.
 */
export function scatterND(
  x: Value,
  indices: Value,
  updates: Value,
  reduction: ScatterReduction = "none",
): Value {
  const depth = checkND("scatterND", x, indices);
  const wanted = [...indices.shape.slice(0, -1), ...x.shape.slice(depth)];
  if (formatShape(wanted) !== formatShape(updates.shape)) {
    fail("scatterND", `updates must be ${formatShape(wanted)}`, x, indices, updates);
  }
  if (reduction === "add") return addInTurn(x, indices, updates);
  return one("ScatterND", [x, indices, updates], { dtype: x.dtype, shape: x.shape }, {
    reduction: { string: reduction },
  });
}

/**
 * 1 at each index and 0 elsewhere, along a new last axis; all zeros for indices outside of it.
 *
 * @param indices Integers, any shape.
 * @param depth The size of the new axis.
 */
export function oneHot(indices: Value, depth: number, dtype: DType = "float32"): Value {
  checkIndices("oneHot", indices, indices);
  if (!(Number.isInteger(depth) && depth >= 1)) fail("oneHot", `can't be ${depth} deep`, indices);
  const classes = Array.from({ length: depth }, (_, i) => i);
  const range = indices.graph.constant(classes, [depth], indices.dtype);
  return cast(equal(unsqueeze(indices, [-1]), range), dtype);
}
