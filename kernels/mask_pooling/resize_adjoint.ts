/**
 * The adjoint of bilinear interpolation as ONNX operators, for sizes known only at run time.
 *
 * @module
 */
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";

/**
 * The gradient before a bilinear resize, from that after it: `R_hᵀ G R_w` with the two axes'
 * interpolation matrices.
 *
 * @param gradient …×h×w.
 * @param before What was resized, …×h'×w'.
 * @returns …×h'×w'.
 */
export function resizeAdjoint(gradient: Value, before: Value): Value {
  const rows = matrix(before, gradient, gradient.rank - 2);
  const columns = matrix(before, gradient, gradient.rank - 1);
  return ops.matMul(ops.transpose(rows, [1, 0]), ops.matMul(gradient, columns));
}

/**
 * Shares of the samples along one axis: `max(0, 1 − |position − sample|)`, where the position of
 * output cell i is `(i + ½) · from / to − ½`, clamped to the samples.
 *
 * @returns to×from
 */
function matrix(before: Value, after: Value, axis: number): Value {
  const from = size(before, axis);
  const to = size(after, axis);
  const cells = ops.add(count(after, axis), 0.5);
  const position = ops.sub(ops.div(ops.mul(cells, from), to), 0.5);
  const clamped = ops.min(ops.max(position, 0), ops.sub(from, 1));
  const distance = ops.abs(ops.sub(ops.unsqueeze(clamped, [1]), count(before, axis)));
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
