/**
 * Operators that act element by element.
 *
 * @module
 */
import { onnxDataType } from "../onnx.ts";
import type { DType } from "../../tensor.ts";
import type { Value } from "../graph.ts";
import { broadcastShapes, fail, lift, one, type Operand, sameType, unary } from "./core.ts";

function binary(op: string, a: Operand, b: Operand, dtype?: DType): Value {
  const [x, y] = lift(a, b);
  const shape = broadcastShapes(x.shape, y.shape);
  if (shape === null) fail(op, "the shapes don't broadcast", x, y);
  sameType(op, x, y);
  return one(op, [x, y], { dtype: dtype ?? x.dtype, shape });
}

/** `a + b`, with broadcasting. */
export function add(a: Operand, b: Operand): Value {
  return binary("Add", a, b);
}

/** `a − b`, with broadcasting. */
export function sub(a: Operand, b: Operand): Value {
  return binary("Sub", a, b);
}

/** `a · b` element by element, with broadcasting. */
export function mul(a: Operand, b: Operand): Value {
  return binary("Mul", a, b);
}

/** `a / b`, with broadcasting; integers are cut off towards zero. */
export function div(a: Operand, b: Operand): Value {
  return binary("Div", a, b);
}

/** The rest of a division of integers, with the sign of `b`, with broadcasting. */
export function mod(a: Operand, b: Operand): Value {
  const [x, y] = lift(a, b);
  if (x.dtype.startsWith("float")) fail("mod", `${x.dtype} is not made of integers`, x, y);
  return binary("Mod", x, y);
}

/** `a` to the power of `b`, with broadcasting. */
export function pow(a: Operand, b: Operand): Value {
  return binary("Pow", a, b);
}

/** The smaller of `a` and `b`, with broadcasting. At a tie the whole gradient goes to `a`. */
export function min(a: Operand, b: Operand): Value {
  return binary("Min", a, b);
}

/** The larger of `a` and `b`, with broadcasting. At a tie the whole gradient goes to `a`. */
export function max(a: Operand, b: Operand): Value {
  return binary("Max", a, b);
}

/** `a > b`, with broadcasting. */
export function greater(a: Operand, b: Operand): Value {
  return binary("Greater", a, b, "bool");
}

/** `a ≥ b`, with broadcasting. */
export function greaterOrEqual(a: Operand, b: Operand): Value {
  return binary("GreaterOrEqual", a, b, "bool");
}

/** `a < b`, with broadcasting. */
export function less(a: Operand, b: Operand): Value {
  return binary("Less", a, b, "bool");
}

/** `a ≤ b`, with broadcasting. */
export function lessOrEqual(a: Operand, b: Operand): Value {
  return binary("LessOrEqual", a, b, "bool");
}

/** `a = b`, with broadcasting. */
export function equal(a: Operand, b: Operand): Value {
  return binary("Equal", a, b, "bool");
}

function logical(op: string, a: Value, b: Value): Value {
  for (const v of [a, b]) if (v.dtype !== "bool") fail(op, `${v.dtype} is not bool`, a, b);
  return binary(op, a, b);
}

/** Whether both hold, with broadcasting. */
export function and(a: Value, b: Value): Value {
  return logical("And", a, b);
}

/** Whether at least one holds, with broadcasting. */
export function or(a: Value, b: Value): Value {
  return logical("Or", a, b);
}

/** Whether exactly one holds, with broadcasting. */
export function xor(a: Value, b: Value): Value {
  return logical("Xor", a, b);
}

/** Whether `x` doesn't hold. */
export function not(x: Value): Value {
  if (x.dtype !== "bool") fail("not", `${x.dtype} is not bool`, x);
  return unary("Not", x);
}

/** `−x`. */
export function neg(x: Value): Value {
  return unary("Neg", x);
}

/** `|x|`; its gradient at 0 is 0. */
export function abs(x: Value): Value {
  return unary("Abs", x);
}

/** −1, 0 or 1. */
export function sign(x: Value): Value {
  return unary("Sign", x);
}

/** The largest integer that is not above `x`. */
export function floor(x: Value): Value {
  return unary("Floor", x);
}

/** The smallest integer that is not below `x`. */
export function ceil(x: Value): Value {
  return unary("Ceil", x);
}

/** The nearest integer; halves go to the even one. */
export function round(x: Value): Value {
  return unary("Round", x);
}

/** `√x`. */
export function sqrt(x: Value): Value {
  return unary("Sqrt", x);
}

/** `eˣ`. */
export function exp(x: Value): Value {
  return unary("Exp", x);
}

/** The natural logarithm. */
export function log(x: Value): Value {
  return unary("Log", x);
}

/** The sine of an angle in radians. */
export function sin(x: Value): Value {
  return unary("Sin", x);
}

/** The cosine of an angle in radians. */
export function cos(x: Value): Value {
  return unary("Cos", x);
}

/** The error function. */
export function erf(x: Value): Value {
  return unary("Erf", x);
}

/** `1 / (1 + e⁻ˣ)`. */
export function sigmoid(x: Value): Value {
  return unary("Sigmoid", x);
}

/** `log(1 + eˣ)`, without overflow. */
export function softplus(x: Value): Value {
  return unary("Softplus", x);
}

/** The hyperbolic tangent. */
export function tanh(x: Value): Value {
  return unary("Tanh", x);
}

/** `max(x, 0)`; its gradient at 0 is 0. */
export function relu(x: Value): Value {
  return unary("Relu", x);
}

/** `x Φ(x)` with the exact normal distribution function (Hendrycks and Gimpel, 2016). */
export function gelu(x: Value): Value {
  return unary("Gelu", x, { approximate: { string: "none" } });
}

/** {@linkcode gelu} by `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`. */
export function geluTanh(x: Value): Value {
  return unary("Gelu", x, { approximate: { string: "tanh" } });
}

/** `x σ(1.702 x)`, the activation of CLIP's own networks. */
export function quickGelu(x: Value): Value {
  return mul(x, sigmoid(mul(x, 1.702)));
}

/** `x σ(x)`. */
export function silu(x: Value): Value {
  return mul(x, sigmoid(x));
}

/** `x` kept within `low` and `high`, `-Infinity` and `Infinity` for no bound. */
export function clip(x: Value, low: number, high: number): Value {
  if (!(low <= high)) fail("clip", `there is nothing from ${low} to ${high}`, x);
  const bound = (value: number) =>
    Number.isFinite(value) ? x.graph.constant(value, [], x.dtype) : null;
  return one("Clip", [x, bound(low), bound(high)], { dtype: x.dtype, shape: x.shape });
}

/** The same elements; gradients don't pass. */
export function stopGradient(x: Value): Value {
  return unary("Identity", x);
}

/** The elements in another type. */
export function cast(x: Value, dtype: DType): Value {
  return one("Cast", [x], { dtype, shape: x.shape }, { to: { int: onnxDataType(dtype) } });
}

/** `a` where `condition` holds, else `b`, with broadcasting. */
export function where(condition: Value, a: Operand, b: Operand): Value {
  const [x, y] = typeof a === "number" && typeof b === "number"
    ? [condition.graph.constant(a), condition.graph.constant(b)]
    : lift(a, b);
  const inner = broadcastShapes(x.shape, y.shape);
  const shape = inner && broadcastShapes(condition.shape, inner);
  if (!shape) fail("where", "the shapes don't broadcast", condition, x, y);
  if (condition.dtype !== "bool") {
    fail("where", `the condition is ${condition.dtype}, not bool`, condition);
  }
  sameType("where", x, y);
  return one("Where", [condition, x, y], { dtype: x.dtype, shape });
}
