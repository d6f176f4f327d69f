/**
 * Constant folding: operators whose operands are all known, worked out while the graph is built.
 *
 * @module
 */
import { type DType, HostTensor, sizeOf } from "../tensor.ts";
import type { Attribute, ResultSpec, Value } from "./graph.ts";

/** Results larger than their operands are worth it up to this number of elements. */
const most = 64;

const unary: Readonly<Record<string, (x: number) => number>> = {
  Neg: (x) => -x,
  Abs: Math.abs,
  Sign: Math.sign,
  Sqrt: Math.sqrt,
  Exp: Math.exp,
  Log: Math.log,
  Sin: Math.sin,
  Cos: Math.cos,
  Floor: Math.floor,
  Ceil: Math.ceil,
  Not: (x) => Number(x === 0),
  Identity: (x) => x,
};

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Min: Math.min,
  Max: Math.max,
  Greater: (a, b) => Number(a > b),
  GreaterOrEqual: (a, b) => Number(a >= b),
  Less: (a, b) => Number(a < b),
  LessOrEqual: (a, b) => Number(a <= b),
  Equal: (a, b) => Number(a === b),
};

const reshaping = new Set(["Reshape", "Squeeze", "Unsqueeze"]);

/**
 * The result of an operator on constants.
 *
 * @returns null where an operand isn't a constant, or the operator isn't one that is folded.
 */
export function fold(
  op: string,
  inputs: readonly (Value | null)[],
  results: readonly ResultSpec[],
  attributes: Readonly<Record<string, Attribute>>,
): HostTensor | null {
  const [x] = inputs;
  if (results.length !== 1 || !x || !inputs.every((v) => v !== null && isConstant(v))) return null;
  const { dtype, shape } = results[0]!;
  if (dtype === "float16" || x.dtype === "float16") return null;
  if (!shape.every((dim) => typeof dim === "number")) return null;
  const size = sizeOf(shape as number[]);
  if (size > Math.max(most, sizeOf(x.shape as number[]))) return null;
  const source = x.data!;
  if (reshaping.has(op)) return filled(dtype, shape as number[], (i) => Number(source.data[i]!));

  const at = (value: Value, shapeOfResult: readonly number[]) => {
    const strides = broadcastStrides(value.shape as number[], shapeOfResult);
    return (i: number) => Number(value.data!.data[position(i, shapeOfResult, strides)]!);
  };
  const dims = shape as number[];
  if (op in unary || op === "Cast") {
    const f = op === "Cast" ? casting(dtype) : unary[op]!;
    return filled(dtype, dims, (i) => f(Number(source.data[i]!)));
  }
  if (op in binary) {
    // Whole numbers divide differently, and nobody needs that here.
    if (op === "Div" && !x.dtype.startsWith("float")) return null;
    const [a, b] = [at(x, dims), at(inputs[1]!, dims)];
    return filled(dtype, dims, (i) => binary[op]!(a(i), b(i)));
  }
  if (op === "Expand") return filled(dtype, dims, at(x, dims));
  if (op === "Transpose") {
    const { ints } = attributes["perm"] as { ints: readonly number[] };
    const own = stridesOf(x.shape as number[]);
    const strides = ints.map((axis) => own[axis]!);
    return filled(dtype, dims, (i) => Number(source.data[position(i, dims, strides)]!));
  }
  if (op === "Concat" && dims.length === 1) {
    const all = inputs.flatMap((v) => Array.from(v!.data!.data as ArrayLike<number>, Number));
    return filled(dtype, dims, (i) => all[i]!);
  }
  return null;
}

/** Whether a value's elements are known and stay as they are. */
export function isConstant(value: Value): boolean {
  return value.data !== null && !value.graph.parameters.has(value.name);
}

function casting(dtype: DType): (x: number) => number {
  if (dtype.startsWith("float")) return (x) => x;
  return dtype === "bool" ? (x) => Number(x !== 0) : Math.trunc;
}

function filled(dtype: DType, shape: readonly number[], f: (i: number) => number) {
  const tensor = new HostTensor(dtype, shape);
  const target = tensor.data as unknown as { [i: number]: number | bigint };
  for (let i = 0; i < sizeOf(shape); i++) {
    const value = f(i);
    if (dtype === "int64") {
      if (!Number.isSafeInteger(value)) return null;
      target[i] = BigInt(value);
    } else target[i] = value;
  }
  return tensor;
}

function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/** Strides of a broadcast operand along the result's axes: 0 where it repeats. */
function broadcastStrides(shape: readonly number[], result: readonly number[]): number[] {
  const own = stridesOf(shape);
  const lead = result.length - shape.length;
  return result.map((_, i) => i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]!);
}

function position(i: number, shape: readonly number[], strides: readonly number[]): number {
  let at = 0;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at += (i % shape[axis]!) * strides[axis]!;
    i = Math.floor(i / shape[axis]!);
  }
  return at;
}
