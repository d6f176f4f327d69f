/**
 * Rows of a table, with a gradient that is the same whenever it is computed.
 *
 * @module
 */
import { customGradient, ops, type Value } from "../../lib/graph/mod.ts";
import { sizeOf } from "../../lib/tensor.ts";

/**
 * `table[indices]`. Its gradient adds rows by `ScatterElements`, which ONNX Runtime's CPU engine works
 * through in order; `ScatterND`, the operator of `ops.gather`'s own gradient, has several threads add
 * to one row at once there, and now and then one of the sums is lost.
 *
 * @param table V×D.
 * @param indices Whole numbers in [0, V), int64, of known sizes where gradients are taken.
 * @returns The indices' shape, then D.
 */
export function gatherRows(table: Value, indices: Value): Value {
  const { graph } = table;
  return customGradient([table], [ops.gather(table, indices)], ([cotangent]) => {
    const [rows, columns] = table.staticShape() as [number, number];
    const count = sizeOf(indices.staticShape());
    const zeros = ops.expand(graph.constant(0), [rows, columns]);
    const places = ops.expand(ops.reshape(indices, [count, 1]), [count, columns]);
    const updates = ops.reshape(cotangent!, [count, columns]);
    return [ops.scatterElements(zeros, places, updates, 0, "add")];
  })[0]!;
}
