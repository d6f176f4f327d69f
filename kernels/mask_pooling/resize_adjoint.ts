/**
 * The adjoint of bilinear interpolation as ONNX operators, for sizes known only at run time.
 *
 * @module
 */
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";

/**
 * The size before a bilinear resize (h'×w'), in terms of that after it (h×w):
 *
 * - `double`: h' = 2h and w' = 2w;
 * - `wide`: h' ≥ 2h, otherwise;
 * - `other`: any.
 */
export type SizeRelation = "double" | "wide" | "other";

/**
 * The gradient before a bilinear resize, from that after it.
 *
 * @param gradient B×C×h×w; with `double` a quarter of it, which is each sample's share in its cell.
 * @param before What was resized, …×h'×w'.
 * @param relation Of the sizes. Where h' ≥ 2h each row of samples has a part in one row of cells at
 *   most, the nearest one, so that a copy and a factor do for the product with their matrix.
 * @returns B×C×h'×w'.
 */
export function resizeAdjoint(gradient: Value, before: Value, relation: SizeRelation): Value {
  const { graph, dtype } = gradient;
  const sizes = before.shape.slice(-2);
  if (relation === "double") {
    const scales = graph.constant([1, 1, 2, 2], [4]);
    const shape = [...gradient.shape.slice(0, 2), ...sizes];
    return graph.add("Resize", [gradient, null, scales], [{ dtype, shape }], {
      mode: { string: "nearest" },
      coordinate_transformation_mode: { string: "asymmetric" },
      nearest_mode: { string: "floor" },
    })[0]!;
  }
  const rows = shares(before, gradient, 2, 0);
  const wide = ops.matMul(gradient, shares(before, gradient, 1, 1));
  if (relation === "other") return ops.matMul(rows, wide);
  const [nearest] = graph.add("ArgMax", [rows], [{ dtype: "int64", shape: [sizes[0]!] }], {
    axis: { int: 1 },
    keepdims: { int: 0 },
  });
  const shape = [...wide.shape.slice(0, 2), sizes[0]!, wide.shape[3]!];
  const [copied] = graph.add("Gather", [wide, nearest!], [{ dtype, shape }], { axis: { int: 2 } });
  return ops.mul(copied!, ops.reduceMax(rows, [1], true));
}

/**
 * Shares of the samples along one axis: `max(0, 1 − |position − sample|)`, where the position of
 * output cell i is `(i + ½) · from / to − ½`, clamped to the samples.
 *
 * @param back The axis, counted from behind: 1 for columns, 2 for rows.
 * @param across Which axis of the result has the output cells: 0 for from×to, 1 for to×from.
 */
function shares(before: Value, after: Value, back: number, across: 0 | 1): Value {
  const from = size(before, before.rank - back);
  const to = size(after, after.rank - back);
  const cells = ops.add(count(after, after.rank - back), 0.5);
  const position = ops.sub(ops.div(ops.mul(cells, from), to), 0.5);
  const clamped = ops.min(ops.max(position, 0), ops.sub(from, 1));
  const samples = count(before, before.rank - back);
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
