/**
 * Operators for backward passes, which leave out what changes nothing: products with 1, sums with
 * 0, transpositions that undo one another. A gradient may be smaller than what it belongs to; it
 * broadcasts to it.
 *
 * @module
 */
import { ShapeError } from "../../errors.ts";
import { formatShape, sizeOf } from "../../tensor.ts";
import { productOf, quotientOf } from "../dims.ts";
import { isConstant } from "../fold.ts";
import type { Attribute, Dim, GraphNode, Value } from "../graph.ts";
import * as ops from "../ops.ts";

/** The gradient of one cut along an axis: zeros before and after it. */
export class Padded {
  /** What lies between the zeros. */
  readonly value: Value;
  /** The axis. */
  readonly axis: number;
  /** How many zeros come first. */
  readonly before: number;
  /** How many zeros come last. */
  readonly after: number;

  /** Says where on an axis a gradient belongs. */
  constructor(value: Value, axis: number, before: number, after: number) {
    this.value = value;
    this.axis = axis;
    this.before = before;
    this.after = after;
  }
}

/** What a rule is given. */
export interface VjpContext {
  /** The operator. */
  readonly node: GraphNode;
  /** The gradient of its first result, in its shape. */
  readonly grad: Value;
  /** The same, or something that broadcasts to it. */
  readonly lean: Value;
  /** Whether the gradient of input `i` is wanted. */
  wants(i: number): boolean;
}

/** A gradient that broadcasts to its value's shape; null where there is none or it isn't wanted. */
export type Gradient = Value | Padded | null;

/** Gives the gradient of each input. */
export type VjpRule = (context: VjpContext) => Gradient[];

/** A rule that lets nothing pass. */
export const none: VjpRule = ({ node }) => node.inputs.map(() => null);

// ---------------------------------------------------------------- what is known of a value

/** The number that every element equals, where that is known. */
export function uniformElement(x: Value): number | null {
  if (x.node?.op === "Expand") return uniformElement(x.node.inputs[0]!);
  if (!isConstant(x)) return null;
  const data = x.data!.data;
  if (x.dtype === "float16" || data.length === 0 || data.length > 64) return null;
  const first = Number(data[0]);
  return Array.prototype.every.call(data, (v) => Number(v) === first) ? first : null;
}

/** Whether a value has one element, which stands for all of those it broadcasts to. */
export function isScalar(x: Value): boolean {
  return x.shape.every((dim) => dim === 1);
}

const same = (a: readonly Dim[], b: readonly Dim[]) =>
  a.length === b.length && a.every((dim, i) => dim === b[i]);

/** The sizes of a value, for operators that take sizes. */
export function sizesOf(x: Value): (number | ops.DimOf)[] {
  return x.shape.map((_, i) => ops.dimOf(x, i));
}

/** A size that a rule has to know; NaN in its place would poison the gradient without a word. */
export function knownSize(node: GraphNode, x: Value, axis: number): number {
  const dim = x.shape[axis];
  if (typeof dim === "number") return dim;
  throw new ShapeError(
    `${node.op}: ${formatShape(x.shape)}: its gradient needs the size of axis ${axis} as a number` +
      x.graph.here(),
  );
}

/** An operator's attribute that is a number. */
export function attribute(node: GraphNode, name: string): number {
  const value: Attribute | undefined = node.attributes[name];
  return value !== undefined && "int" in value ? value.int : 0;
}

/** An operator's attribute that is a list of numbers. */
export function attributeInts(node: GraphNode, name: string): readonly number[] {
  const value = node.attributes[name];
  return value !== undefined && "ints" in value ? value.ints : [];
}

/** An operator's attribute that is a word. */
export function attributeString(node: GraphNode, name: string): string {
  const value = node.attributes[name];
  return value !== undefined && "string" in value ? value.string : "";
}

/** The elements of an operand that is a constant list of integers. */
export function constantInts(value: Value | null | undefined): number[] {
  return Array.from((value?.data?.data ?? []) as ArrayLike<number | bigint>, Number);
}

// ---------------------------------------------------------------- operators

/** `a + b`. */
export function add(a: Value, b: Value): Value {
  if (uniformElement(a) === 0 && broadcastsTo(a, b.shape)) return b;
  if (uniformElement(b) === 0 && broadcastsTo(b, a.shape)) return a;
  const [x, y] = [sourceOf(a), sourceOf(b)];
  // One view of a sum for a sum of two.
  if (x !== a && y !== b && same(x.shape, y.shape) && same(a.shape, b.shape)) {
    return viewAgain(a, ops.add(x, y));
  }
  return ops.add(a, b);
}

/** `a · b`. */
export function mul(a: Value, b: ops.Operand): Value {
  const right = typeof b === "number" ? a.graph.constant(b, [], a.dtype) : b;
  if (uniformElement(a) === 1 && broadcastsTo(a, right.shape)) return right;
  if (uniformElement(right) === 1 && broadcastsTo(right, a.shape)) return a;
  const source = sourceOf(a);
  // A view of the product, so that the next view has no other below it.
  if (source !== a && right.rank === 0) return viewAgain(a, ops.mul(source, right));
  return ops.mul(a, right);
}

function broadcastsTo(x: Value, shape: readonly Dim[]): boolean {
  const wide = ops.broadcastShapes(x.shape, shape);
  return wide !== null && same(wide, shape);
}

/** `−x`. */
export function neg(x: Value): Value {
  return x.node?.op === "Neg" ? x.node.inputs[0]! : ops.neg(x);
}

/** The same elements under another shape. */
export function reshape(x: Value, dims: readonly (number | ops.DimOf)[]): Value {
  const source = sourceOf(x);
  const shape = dims.map((dim) => typeof dim === "number" ? dim : dim.value.shape[dim.axis]!);
  const wildcard = shape.indexOf(-1);
  if (wildcard >= 0) {
    const rest = quotientOf(productOf(x.shape), productOf(shape.toSpliced(wildcard, 1)));
    if (rest !== null) shape[wildcard] = rest;
  }
  if (same(shape, x.shape)) return x;
  return same(shape, source.shape) ? source : ops.reshape(source, dims);
}

/** What a value was before it got another shape, if that is the shape of `like`. */
export function viewed(x: Value, like: Value): Value | null {
  const source = sourceOf(x);
  return same(source.shape, like.shape) ? source : null;
}

/** What a value was before it got another shape; itself, where it got none. */
function sourceOf(x: Value): Value {
  const { node } = x;
  const isView = node?.op === "Reshape" || node?.op === "Unsqueeze" || node?.op === "Squeeze";
  return isView ? node.inputs[0]! : x;
}

/** Gives another value the shape that a view gave. */
function viewAgain(view: Value, source: Value): Value {
  const { op, inputs, attributes } = view.node!;
  return view.graph.add(op, [source, ...inputs.slice(1)], [view], attributes)[0]!;
}

/** Reordered axes. */
export function transpose(x: Value, permutation: readonly number[]): Value {
  if (permutation.every((axis, i) => axis === i)) return x;
  if (x.node?.op !== "Transpose") return ops.transpose(x, permutation);
  const inner = attributeInts(x.node, "perm");
  return transpose(x.node.inputs[0]!, permutation.map((axis) => inner[axis]!));
}

/** Swaps the last two axes: a transposition of its own, which runtimes make part of a product. */
export function swap(x: Value): Value {
  const axes = [...Array(x.rank).keys()];
  const permutation = [...axes.slice(0, -2), x.rank - 1, x.rank - 2];
  const { node } = x;
  const undone = node?.op === "Transpose" && same(attributeInts(node, "perm"), permutation);
  return undone ? node.inputs[0]! : ops.transpose(x, permutation);
}

/** A gradient in the full shape of what it belongs to. */
export function full(grad: Value, like: Value): Value {
  return same(grad.shape, like.shape) ? grad : ops.expand(grad, sizesOf(like));
}

/**
 * Sums a gradient over the axes along which an operand was broadcast.
 *
 * @param grad Broadcasts to the shape of `result`.
 * @param result What the operator gave.
 * @param shape The operand's.
 * @returns What broadcasts to `shape`.
 */
export function sumToShape(grad: Value, result: Value, shape: readonly Dim[]): Value {
  const lead = result.rank - shape.length;
  const repeated = result.shape.flatMap((dim, i) =>
    dim !== 1 && (i < lead || shape[i - lead] === 1) ? [i] : []
  );
  const missing = result.rank - grad.rank;
  const isFlat = (i: number) => i < missing || grad.shape[i - missing] === 1;
  // Where the gradient itself repeats, its sum is a multiple of it.
  const flat = repeated.filter(isFlat).map((i) => result.shape[i]!);
  if (flat.some((dim) => typeof dim !== "number")) {
    return sumToShape(full(grad, result), result, shape);
  }
  let sum = mul(grad, sizeOf(flat as number[]));
  const axes = repeated.filter((i) => !isFlat(i)).map((i) => i - missing);
  const drop = Math.max(0, grad.rank - shape.length);
  const dropped = [...Array(drop).keys()];
  if (axes.length > 0 && axes.every((axis) => axis < drop) && axes.length === drop) {
    return ops.reduceSum(sum, axes);
  }
  if (axes.length > 0) sum = ops.reduceSum(sum, axes, true);
  if (drop === 0) return sum;
  return isScalar(sum) && shape.length === 0 ? reshape(sum, []) : ops.squeeze(sum, dropped);
}

/** Zeros in the shape of a value. */
export function zerosLike(value: Value): Value {
  return ops.expand(value.graph.constant(0, [], value.dtype), sizesOf(value));
}
