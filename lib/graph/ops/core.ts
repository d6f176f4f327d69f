/**
 * What the operators share: messages, constants from numbers, broadcasting.
 *
 * @module
 */
import { ShapeError } from "../../errors.ts";
import { type DType, formatShape } from "../../tensor.ts";
import { Origin } from "../origin.ts";
import type { Attribute, Dim, Graph, ResultSpec, Value } from "../graph.ts";

/** An operand: a value, or a number that becomes a scalar constant. */
export type Operand = Value | number;

/** The size of another value's axis, known when the graph runs; see {@linkcode dimOf}. */
export interface DimOf {
  /** The value. */
  readonly value: Value;
  /** Its axis. */
  readonly axis: number;
}

/** Throws what says which operator, on which shapes, called where. */
export function fail(op: string, reason: string, ...operands: Value[]): never {
  // ONNX says "ReduceSum" where the caller wrote `reduceSum`.
  const name = op[0]!.toLowerCase() + op.slice(1);
  const shapes = operands.map((v) => formatShape(v.shape)).join(" · ");
  throw new ShapeError(`${name}: ${shapes}: ${reason}${operands[0]!.graph.here()}`);
}

/** Adds an operator with one result. */
export function one(
  op: string,
  inputs: readonly (Value | null)[],
  result: ResultSpec,
  attributes?: Readonly<Record<string, Attribute>>,
): Value {
  const graph = inputs.find((v) => v !== null)!.graph;
  return graph.add(op, inputs, [result], attributes)[0]!;
}

/** Adds an operator whose result looks like its operand. */
export function unary(op: string, x: Value, attributes?: Record<string, Attribute>): Value {
  return one(op, [x], { dtype: x.dtype, shape: x.shape }, attributes);
}

/** Makes a constant of a number beside a value. */
export function lift(a: Operand, b: Operand): [Value, Value] {
  if (typeof a === "number") {
    if (typeof b === "number") {
      throw new ShapeError(`two plain numbers belong to no graph${new Origin().note()}`);
    }
    return [b.graph.constant(a, [], b.dtype), b];
  }
  return [a, typeof b === "number" ? a.graph.constant(b, [], a.dtype) : b];
}

/** Makes a negative axis positive. */
export function normalizeAxis(op: string, x: Value, axis: number): number {
  const positive = axis < 0 ? axis + x.rank : axis;
  if (!Number.isInteger(axis) || positive < 0 || positive >= Math.max(1, x.rank)) {
    fail(op, `no axis ${axis}`, x);
  }
  return positive;
}

/** The size of an axis, which must be known. */
export function staticSize(op: string, x: Value, axis: number): number {
  const dim = x.shape[axis]!;
  return typeof dim === "number" ? dim : fail(op, `axis ${axis} must have a known size`, x);
}

/** The shape that two shapes broadcast to, or null where they don't. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): Dim[] | null {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return null;
    out.push(x === 1 ? y : x);
  }
  return out;
}

/** A vector of whole numbers, as ONNX takes axes and sizes. */
export function int64(graph: Graph, values: readonly number[]): Value {
  return graph.constant(values as number[], [values.length], "int64");
}

/** Refuses operands of different element types. */
export function sameType(op: string, ...values: Value[]): void {
  const [first] = values;
  const other = values.find((v) => v.dtype !== first!.dtype);
  if (other) fail(op, `element types ${first!.dtype} and ${other.dtype} differ`, ...values);
}

/** Refuses indices that are no integers. */
export function checkIndices(op: string, indices: Value, ...operands: Value[]): void {
  const whole: readonly DType[] = ["int64", "int32"];
  if (!whole.includes(indices.dtype)) {
    fail(op, `indices are ${indices.dtype}, not integers`, ...operands);
  }
}

/** The size of `value`'s axis: a number where it is known, else read when the graph runs. */
export function dimOf(value: Value, axis: number): number | DimOf {
  const at = normalizeAxis("dimOf", value, axis);
  const dim = value.shape[at]!;
  return typeof dim === "number" ? dim : { value, axis: at };
}

/** The names and numbers of sizes. */
export function shapeOf(dims: readonly (number | DimOf)[]): Dim[] {
  return dims.map((dim) => typeof dim === "number" ? dim : dim.value.shape[dim.axis]!);
}
