/**
 * The adjoint of bilinear interpolation as ONNX operators, for sizes known only at run time.
 *
 * @module
 */
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";

/**
 * The gradient before a bilinear resize, from that after it.
 *
 * @param gradient …×h×w.
 * @param before What was resized, …×h'×w'.
 * @param isWide Whether h' ≥ 2h. Each row of samples then has a part in one row of cells at most,
 *   the nearest one, so that a copy and a factor do for the product with their matrix.
 * @returns …×h'×w'.
 */
export function resizeAdjoint(gradient: Value, before: Value, isWide: boolean): Value {
  const axis = gradient.rank - 2;
  const rows = shares(before, gradient, axis, 0);
  const wide = ops.matMul(gradient, shares(before, gradient, axis + 1, 1));
  if (!isWide) return ops.matMul(rows, wide);
  const { graph, dtype } = gradient;
  const [nearest] = graph.add(
    "ArgMax",
    [rows],
    [{ dtype: "int64", shape: [before.shape[axis]!] }],
    { axis: { int: 1 }, keepdims: { int: 0 } },
  );
  const shape = wide.shape.map((dim, i) => i === axis ? before.shape[axis]! : dim);
  const [copied] = graph.add("Gather", [wide, nearest!], [{ dtype, shape }], {
    axis: { int: axis },
  });
  return ops.mul(copied!, ops.reduceMax(rows, [1], true));
}

/**
 * Shares of the samples along one axis: `max(0, 1 − |position − sample|)`, where the position of
 * output cell i is `(i + ½) · from / to − ½`, clamped to the samples.
 *
 * @param across Which axis of the result has the output cells: 0 for from×to, 1 for to×from.
 */
function shares(before: Value, after: Value, axis: number, across: 0 | 1): Value {
  const from = size(before, axis);
  const to = size(after, axis);
  const cells = ops.add(count(after, axis), 0.5);
  const position = ops.sub(ops.div(ops.mul(cells, from), to), 0.5);
  const clamped = ops.min(ops.max(position, 0), ops.sub(from, 1));
  const samples = count(before, axis);
  const distance = ops.abs(
    ops.sub(ops.unsqueeze(clamped, [across]), ops.unsqueeze(samples, [1 - across])),
  );
  return ops.max(ops.sub(1, distance), 0);
}

/** The size of an axis as a float32 scalar. */
function size(x: Value, axis: number): Value {
  const dim = x.shape[axis]!;
  if (typeof dim === "number") return x.graph.constant(dim);
  const [shape] = x.graph.add("Shape", [x], [{ dtype: "int64", shape: [1] }], {
    start: { int: axis },
    end: { int: axis + 1 },
  });
  return ops.squeeze(ops.cast(shape!, "float32"), [0]);
}

/** 0, 1, 2 … along an axis, float32. */
function count(x: Value, axis: number): Value {
  const { graph } = x;
  const range = [graph.constant(0), size(x, axis), graph.constant(1)];
  return graph.add("Range", range, [{ dtype: "float32", shape: [x.shape[axis]!] }])[0]!;
}
