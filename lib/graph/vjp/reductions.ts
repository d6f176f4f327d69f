/**
 * Vector-Jacobian rules of reductions.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import {
  attribute,
  constantInts,
  full,
  isScalar,
  knownSize,
  mul,
  none,
  type VjpRule,
  zerosLike,
} from "./lean.ts";

/** A rule for reductions, given the result and its gradient with the reduced axes kept. */
function reduced(
  rule: (g: Value, x: Value, y: () => Value, axes: readonly number[], count: () => number) => Value,
): VjpRule {
  return ({ node, lean }) => {
    const x = node.inputs[0]!;
    const result = node.outputs[0]!;
    const axes = constantInts(node.inputs[1]);
    if (axes.length === 0) return [lean];
    const kept = (value: Value) =>
      attribute(node, "keepdims") === 1 ? value : ops.unsqueeze(value, axes);
    const grad = isScalar(lean) && lean.rank <= x.rank
      ? lean
      : kept(lean.rank === result.rank ? lean : full(lean, result));
    const count = () => axes.reduce((n, axis) => n * knownSize(node, x, axis), 1);
    return [rule(grad, x, () => kept(result), axes, count)];
  };
}

// Ties share the gradient, as in PyTorch's amax.
const extreme = reduced((g, x, y, axes) => {
  const ties = ops.cast(ops.equal(x, y()), x.dtype);
  return ops.mul(ties, ops.div(g, ops.reduceSum(ties, axes, true)));
});

/** The rules by ONNX's names. */
export const reductionRules: Readonly<Record<string, VjpRule>> = {
  ReduceSum: reduced((g) => g),
  ReduceMean: reduced((g, _x, _y, _axes, count) => mul(g, 1 / count())),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceLogSumExp: reduced((g, x, y) => mul(g, ops.exp(ops.sub(x, y())))),
  // x/‖x‖, and 0 where x is a zero vector.
  ReduceL2: reduced((g, x, y) => {
    const norm = ops.max(y(), x.dtype === "float64" ? 1e-300 : 1e-37);
    return ops.mul(x, ops.div(g, norm));
  }),
  CumSum: ({ node, grad }) => {
    const [axis] = constantInts(node.inputs[1]);
    return [ops.cumSum(grad, axis!, attribute(node, "reverse") === 0), null];
  },
  TopK: ({ node, grad }) => {
    const x = node.inputs[0]!;
    const indices = node.outputs[1]!;
    return [ops.scatterElements(zerosLike(x), indices, grad, attribute(node, "axis")), null];
  },
  ArgMax: none,
};
