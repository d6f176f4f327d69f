/**
 * Vector-Jacobian rules of operators that act element by element.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import {
  attributeString,
  mul,
  neg,
  none,
  reshape,
  sumToShape,
  uniformElement,
  type VjpRule,
} from "./lean.ts";

/** A rule for `f(a, b)` with broadcasting: the two unreduced gradients. */
function broadcasting(
  left: (g: Value, a: Value, b: Value, y: Value) => Value,
  right: (g: Value, a: Value, b: Value, y: Value) => Value,
): VjpRule {
  return ({ node, lean, wants }) => {
    const [a, b] = node.inputs as [Value, Value];
    const y = node.outputs[0]!;
    return [
      wants(0) ? sumToShape(left(lean, a, b, y), y, a.shape) : null,
      wants(1) ? sumToShape(right(lean, a, b, y), y, b.shape) : null,
    ];
  };
}

/** A rule for `f(x)` element by element. */
function pointwise(rule: (g: Value, x: Value, y: Value) => Value): VjpRule {
  return ({ node, lean }) => [rule(lean, node.inputs[0]!, node.outputs[0]!)];
}

const sum = broadcasting((g) => g, (g) => g);

const add: VjpRule = (context) => {
  const { node, lean, wants } = context;
  const [a, b] = node.inputs as [Value, Value];
  const layer = a.node?.op === "MatMul" && a.node.inputs[1]!.rank === 2;
  const y = node.outputs[0]!;
  if (!layer || !wants(1) || b.rank !== 1 || y.rank < 3 || lean.rank !== y.rank) {
    return sum(context);
  }
  if (b.shape[0] !== y.shape.at(-1) || lean.shape.some((dim, i) => dim !== y.shape[i])) {
    return sum(context);
  }
  // A linear layer's bias: over the rows that its weight's gradient is a product of.
  const rows = reshape(lean, [-1, ops.dimOf(b, 0)]);
  return [wants(0) ? lean : null, ops.reduceSum(rows, [0])];
};

const product = broadcasting((g, _, b) => mul(g, b), (g, a) => mul(g, a));

const mulRule: VjpRule = (context) => {
  const [a, b] = context.node.inputs as [Value, Value];
  // A square has one gradient, not two that are the same.
  return a === b ? [mul(mul(context.lean, 2), a), null] : product(context);
};

/** `b · a^(b − 1)`, also where a = 0 and b = 0: the limit, not 0 · ∞. */
function powerSlope(a: Value, b: Value): Value | null {
  const exponent = uniformElement(b);
  if (exponent === 0) return null;
  if (exponent === 1) return a.graph.constant(1, [], a.dtype);
  if (exponent === 2) return ops.mul(a, 2);
  if (exponent !== null) return ops.mul(ops.pow(a, exponent - 1), exponent);
  const safe = ops.where(ops.equal(b, 0), 1, b);
  return ops.mul(b, ops.pow(a, ops.sub(safe, 1)));
}

const pow: VjpRule = ({ node, lean, wants }) => {
  const [a, b] = node.inputs as [Value, Value];
  const y = node.outputs[0]!;
  const slope = wants(0) ? powerSlope(a, b) : null;
  // 0 to any power stays 0 when the power moves; its logarithm would say otherwise.
  const byExponent = () => ops.mul(y, ops.log(ops.where(ops.equal(a, 0), 1, a)));
  return [
    slope === null ? null : sumToShape(mul(lean, slope), y, a.shape),
    wants(1) ? sumToShape(mul(lean, byExponent()), y, b.shape) : null,
  ];
};

const clip: VjpRule = ({ node, lean }) => {
  const [x, low, high] = node.inputs as [Value, Value | null, Value | null | undefined];
  let grad = lean;
  if (low) grad = ops.where(ops.less(x, low), 0, grad);
  if (high) grad = ops.where(ops.greater(x, high), 0, grad);
  return [grad, null, null];
};

const gelu: VjpRule = ({ node, lean }) => {
  const x = node.inputs[0]!;
  if (attributeString(node, "approximate") === "tanh") {
    // x σ(z) with z = x (a + b x²); its slope is σ + σ (1 − σ) x (a + 3b x²).
    const a = 2 * Math.sqrt(2 / Math.PI);
    const b = 0.044715 * a;
    const square = ops.mul(x, x);
    const gate = ops.sigmoid(ops.mul(x, ops.add(ops.mul(square, b), a)));
    const rise = ops.mul(x, ops.add(ops.mul(square, 3 * b), a));
    return [mul(lean, ops.mul(gate, ops.add(ops.mul(rise, ops.sub(1, gate)), 1)))];
  }
  // With u = x/√2: (1 + erf u)/2 + u e^(−u²)/√π, the last factor as a part of the exponent.
  const u = ops.mul(x, Math.SQRT1_2);
  const bell = ops.exp(ops.sub(-Math.log(Math.PI) / 2, ops.mul(u, u)));
  const distribution = ops.add(ops.mul(ops.erf(u), 0.5), 0.5);
  return [mul(lean, ops.add(distribution, ops.mul(u, bell)))];
};

/** The rules by ONNX's names. */
export const elementwiseRules: Readonly<Record<string, VjpRule>> = {
  Add: add,
  Sub: broadcasting((g) => g, (g) => neg(g)),
  Mul: mulRule,
  Div: broadcasting(
    (g, _, b) => ops.div(g, b),
    (g, _a, b, y) => neg(ops.div(mul(g, y), b)),
  ),
  Pow: pow,
  // At a tie the whole gradient goes to the first operand.
  Min: broadcasting(
    (g, a, b) => ops.where(ops.greater(a, b), 0, g),
    (g, a, b) => ops.where(ops.greater(a, b), g, 0),
  ),
  Max: broadcasting(
    (g, a, b) => ops.where(ops.less(a, b), 0, g),
    (g, a, b) => ops.where(ops.less(a, b), g, 0),
  ),
  Clip: clip,
  Neg: pointwise((g) => neg(g)),
  Abs: pointwise((g, x) => mul(g, ops.sign(x))),
  Sqrt: pointwise((g, _, y) => ops.div(mul(g, 0.5), y)),
  Exp: pointwise((g, _, y) => mul(g, y)),
  Log: pointwise((g, x) => ops.div(g, x)),
  Sin: pointwise((g, x) => mul(g, ops.cos(x))),
  Cos: pointwise((g, x) => neg(mul(g, ops.sin(x)))),
  Erf: pointwise((g, x) => mul(mul(g, 2 / Math.sqrt(Math.PI)), ops.exp(ops.neg(ops.mul(x, x))))),
  Sigmoid: pointwise((g, _, y) => mul(g, ops.mul(y, ops.sub(1, y)))),
  Softplus: pointwise((g, x) => mul(g, ops.sigmoid(x))),
  Tanh: pointwise((g, _, y) => mul(g, ops.sub(1, ops.mul(y, y)))),
  // A product with the sign runs several times as fast as Where with a scalar branch.
  Relu: pointwise((g, _, y) => mul(g, ops.sign(y))),
  Gelu: gelu,
  Where: ({ node, lean, wants }) => {
    const [condition, a, b] = node.inputs as [Value, Value, Value];
    const y = node.outputs[0]!;
    return [
      null,
      wants(1) ? sumToShape(ops.where(condition, lean, 0), y, a.shape) : null,
      wants(2) ? sumToShape(ops.where(condition, 0, lean), y, b.shape) : null,
    ];
  },
  Cast: ({ node, lean }) => {
    const { dtype } = node.inputs[0]!;
    return [dtype.startsWith("float") ? ops.cast(lean, dtype) : null];
  },
  Identity: none,
  Greater: none,
  GreaterOrEqual: none,
  Less: none,
  LessOrEqual: none,
  Equal: none,
  And: none,
  Or: none,
  Xor: none,
  Not: none,
  Sign: none,
  Floor: none,
  Ceil: none,
  Round: none,
  Mod: none,
};
