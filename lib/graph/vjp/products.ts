/**
 * Vector-Jacobian rules of matrix products.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import { attribute, reshape, sizesOf, sumToShape, swap, type VjpRule } from "./lean.ts";

const matMul: VjpRule = ({ node, grad, wants }) => {
  const [a, b] = node.inputs as [Value, Value];
  if (b.rank === 2) {
    // A shared right-hand matrix (a weight): flat products, which ONNX Runtime runs fastest.
    const rows = a.rank === 2 ? grad : reshape(grad, [-1, ops.dimOf(b, 1)]);
    const flat = () => a.rank === 2 ? a : reshape(a, [-1, ops.dimOf(b, 0)]);
    return [
      wants(0) ? reshape(ops.gemm(rows, b, { transposeB: true }), sizesOf(a)) : null,
      wants(1) ? ops.gemm(flat(), rows, { transposeA: true }) : null,
    ];
  }
  const product = (x: Value, y: Value, shape: Value["shape"]) => {
    const result = ops.matMul(x, y);
    return sumToShape(result, result, shape);
  };
  return [
    wants(0) ? product(grad, swap(b), a.shape) : null,
    wants(1) ? product(swap(a), grad, b.shape) : null,
  ];
};

const gemm: VjpRule = ({ node, grad, wants }) => {
  const [a, b] = node.inputs as [Value, Value];
  const transposeA = attribute(node, "transA") === 1;
  const transposeB = attribute(node, "transB") === 1;
  const dA = () =>
    transposeA
      ? ops.gemm(b, grad, { transposeA: transposeB, transposeB: true })
      : ops.gemm(grad, b, { transposeB: !transposeB });
  const dB = () =>
    transposeB
      ? ops.gemm(grad, a, { transposeA: true, transposeB: transposeA })
      : ops.gemm(a, grad, { transposeA: !transposeA });
  return [wants(0) ? dA() : null, wants(1) ? dB() : null];
};

/** The rules by ONNX's names. */
export const productRules: Readonly<Record<string, VjpRule>> = { MatMul: matMul, Gemm: gemm };
