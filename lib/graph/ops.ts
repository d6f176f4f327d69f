/**
 * The operators: each checks its operands' shapes, works out its result's, and adds one ONNX node.
 * Plain numbers stand for scalar constants. Vector-Jacobian rules are in `vjp.ts`.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { type DType, formatShape } from "../tensor.ts";
import type { Attribute, Dim, Graph, ResultSpec, Value } from "./graph.ts";
import { productOf, quotientOf, sumOf } from "./dims.ts";
import { onnxDataType } from "./onnx.ts";

/** An operand: a value, or a number that becomes a scalar constant. */
export type Operand = Value | number;

/** The size of another value's axis, known when the graph runs; see {@linkcode dimOf}. */
export interface DimOf {
  /** The value. */
  readonly value: Value;
  /** Its axis. */
  readonly axis: number;
}

// ---------------------------------------------------------------- helpers

function fail(op: string, reason: string, ...operands: Value[]): never {
  // ONNX says "ReduceSum" where the caller wrote `reduceSum`.
  const name = op[0]!.toLowerCase() + op.slice(1);
  throw new ShapeError(
    `${name}: ${operands.map((v) => formatShape(v.shape)).join(" · ")}: ${reason}`,
  );
}

function one(
  op: string,
  inputs: readonly (Value | null)[],
  result: ResultSpec,
  attributes?: Readonly<Record<string, Attribute>>,
): Value {
  const graph = inputs.find((v) => v !== null)!.graph;
  return graph.add(op, inputs, [result], attributes)[0]!;
}

function lift(a: Operand, b: Operand): [Value, Value] {
  if (typeof a === "number") {
    if (typeof b === "number") throw new ShapeError("two plain numbers belong to no graph");
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

function staticSize(op: string, x: Value, axis: number): number {
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

function int64(graph: Graph, values: readonly number[]): Value {
  return graph.constant(values as number[], [values.length], "int64");
}

// ---------------------------------------------------------------- element by element

function binary(op: string, a: Operand, b: Operand, dtype?: DType): Value {
  const [x, y] = lift(a, b);
  const shape = broadcastShapes(x.shape, y.shape);
  if (shape === null) fail(op, "the shapes don't broadcast", x, y);
  if (x.dtype !== y.dtype) fail(op, `element types ${x.dtype} and ${y.dtype} differ`, x, y);
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

/** `a / b`, with broadcasting. */
export function div(a: Operand, b: Operand): Value {
  return binary("Div", a, b);
}

/** `a` to the power of `b`, with broadcasting; differentiable in `a`, and `b` a constant. */
export function pow(a: Operand, b: Operand): Value {
  return binary("Pow", a, b);
}

/** The smaller of `a` and `b`, with broadcasting. */
export function min(a: Operand, b: Operand): Value {
  return binary("Min", a, b);
}

/** The larger of `a` and `b`, with broadcasting. */
export function max(a: Operand, b: Operand): Value {
  return binary("Max", a, b);
}

/** `a > b`, with broadcasting. */
export function greater(a: Operand, b: Operand): Value {
  return binary("Greater", a, b, "bool");
}

/** `a < b`, with broadcasting. */
export function less(a: Operand, b: Operand): Value {
  return binary("Less", a, b, "bool");
}

/** `a = b`, with broadcasting. */
export function equal(a: Operand, b: Operand): Value {
  return binary("Equal", a, b, "bool");
}

function unary(op: string, x: Value, attributes?: Record<string, Attribute>): Value {
  return one(op, [x], { dtype: x.dtype, shape: x.shape }, attributes);
}

/** `−x`. */
export function neg(x: Value): Value {
  return unary("Neg", x);
}

/** `|x|`. */
export function abs(x: Value): Value {
  return unary("Abs", x);
}

/** −1, 0 or 1. */
export function sign(x: Value): Value {
  return unary("Sign", x);
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

/** `max(x, 0)`. */
export function relu(x: Value): Value {
  return unary("Relu", x);
}

/** `x Φ(x)` with the exact normal distribution function (Hendrycks and Gimpel, 2016). */
export function gelu(x: Value): Value {
  return unary("Gelu", x, { approximate: { string: "none" } });
}

/** `x σ(1.702 x)`, the activation of CLIP's own networks. */
export function quickGelu(x: Value): Value {
  return mul(x, sigmoid(mul(x, 1.702)));
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
  if (x.dtype !== y.dtype) fail("where", `element types ${x.dtype} and ${y.dtype} differ`, x, y);
  return one("Where", [condition, x, y], { dtype: x.dtype, shape });
}

// ---------------------------------------------------------------- products

/** The matrix product over the last two axes; the axes before broadcast. */
export function matMul(a: Value, b: Value): Value {
  if (a.rank < 2 || b.rank < 2) fail("matMul", "both operands need at least two axes", a, b);
  const inner = a.shape[a.rank - 1]!;
  if (inner !== b.shape[b.rank - 2]) {
    fail("matMul", `inner sizes ${inner} and ${b.shape[b.rank - 2]} differ`, a, b);
  }
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (batch === null) fail("matMul", "the leading axes don't broadcast", a, b);
  return one("MatMul", [a, b], {
    dtype: a.dtype,
    shape: [...batch, a.shape[a.rank - 2]!, b.shape[b.rank - 1]!],
  });
}

/** `op(a) · op(b)` of two matrices, either transposed on the way. */
export function gemm(
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean } = {},
): Value {
  if (a.rank !== 2 || b.rank !== 2) fail("gemm", "both operands must be matrices", a, b);
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [l, n] = transposeB ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (k !== l) fail("gemm", `inner sizes ${k} and ${l} differ`, a, b);
  return one("Gemm", [a, b], { dtype: a.dtype, shape: [m, n] }, {
    transA: { int: Number(transposeA) },
    transB: { int: Number(transposeB) },
  });
}

/** Geometry of a convolution. */
export interface ConvOptions {
  /** Step of the window along each spatial axis. */
  strides?: readonly [number, number];
  /** Zeros around the input: top, left, bottom, right. */
  pads?: readonly [number, number, number, number];
  /** Step between the window's own taps. */
  dilations?: readonly [number, number];
  /** Number of independent groups of channels. */
  groups?: number;
}

/** {@linkcode ConvOptions} with every default filled in. */
export function convGeometry(options: ConvOptions): Required<ConvOptions> {
  return { strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1], groups: 1, ...options };
}

function convAttributes(
  kernel: readonly Dim[],
  g: Required<ConvOptions>,
): Record<string, Attribute> {
  return {
    kernel_shape: { ints: kernel as number[] },
    strides: { ints: g.strides },
    pads: { ints: g.pads },
    dilations: { ints: g.dilations },
    group: { int: g.groups },
  };
}

function convSize(dim: Dim, kernel: number, stride: number, pad: number, dilation: number): Dim {
  const span = dilation * (kernel - 1) + 1;
  if (typeof dim === "number") return Math.floor((dim + pad - span) / stride) + 1;
  if (pad === span - 1 && stride === 1) return dim;
  if (pad === 0 && stride === kernel && dilation === 1) return quotientOf(dim, stride)!;
  return `conv(${dim},${kernel},${stride},${pad},${dilation})`;
}

/**
 * 2-D convolution (cross-correlation, as everywhere in this field).
 *
 * @param x B×C×H×W.
 * @param weight O×(C/groups)×kh×kw.
 * @param bias O, or null.
 * @returns B×O×H'×W'.
 */
export function conv(
  x: Value,
  weight: Value,
  bias: Value | null,
  options: ConvOptions = {},
): Value {
  const g = convGeometry(options);
  if (x.rank !== 4 || weight.rank !== 4) fail("conv", "input and weight need four axes", x, weight);
  // The channels may be symbolic: in a weight's gradient they are the batch.
  const perGroup = weight.shape[1]!;
  const [out, kh, kw] = [0, 2, 3].map((axis) => staticSize("conv", weight, axis)) as [
    number,
    number,
    number,
  ];
  const channels = g.groups === 1 ? perGroup : Number(perGroup) * g.groups;
  if (x.shape[1] !== channels || out % g.groups !== 0) {
    fail(
      "conv",
      `${x.shape[1]} channels in, weight takes ${perGroup} × ${g.groups} groups`,
      x,
      weight,
    );
  }
  if (bias !== null && (bias.rank !== 1 || bias.shape[0] !== out)) {
    fail("conv", `the bias must have ${out} elements`, x, weight, bias);
  }
  const height = convSize(x.shape[2]!, kh, g.strides[0], g.pads[0] + g.pads[2], g.dilations[0]);
  const width = convSize(x.shape[3]!, kw, g.strides[1], g.pads[1] + g.pads[3], g.dilations[1]);
  if (Number(height) < 1 || Number(width) < 1) {
    fail("conv", "the window is larger than the input", x, weight);
  }
  const shape = [x.shape[0]!, out, height, width];
  return one("Conv", [x, weight, bias], { dtype: x.dtype, shape }, convAttributes([kh, kw], g));
}

/**
 * Transposed 2-D convolution, the adjoint of {@linkcode conv} with the same geometry.
 *
 * @param x B×C×H×W.
 * @param weight C×(O/groups)×kh×kw.
 * @param bias O, or null.
 * @param options Geometry, and rows and columns added at the end of the result.
 * @returns B×O×H'×W'.
 */
export function convTranspose(
  x: Value,
  weight: Value,
  bias: Value | null,
  options: ConvOptions & { outputPadding?: readonly [number, number] } = {},
): Value {
  const { outputPadding = [0, 0], ...geometry } = options;
  const g = convGeometry(geometry);
  if (x.rank !== 4 || weight.rank !== 4) {
    fail("convTranspose", "input and weight need four axes", x, weight);
  }
  const [channels, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  if (x.shape[1] !== channels || channels % g.groups !== 0) {
    fail("convTranspose", `the weight takes ${channels} channels, ${g.groups} groups`, x, weight);
  }
  if (bias !== null && (bias.rank !== 1 || bias.shape[0] !== perGroup * g.groups)) {
    fail("convTranspose", `the bias must have ${perGroup * g.groups} elements`, x, weight, bias);
  }
  const size = (dim: Dim, kernel: number, axis: 0 | 1): Dim => {
    const stride = g.strides[axis];
    const extra = g.dilations[axis] * (kernel - 1) + 1 - stride + outputPadding[axis] -
      g.pads[axis] - g.pads[axis + 2]!;
    if (typeof dim === "number") return dim * stride + extra;
    return extra === 0 ? productOf([dim, stride]) : `convTranspose(${dim},${stride},${extra})`;
  };
  const shape = [
    x.shape[0]!,
    perGroup * g.groups,
    size(x.shape[2]!, kh, 0),
    size(x.shape[3]!, kw, 1),
  ];
  if (Number(shape[2]) < 1 || Number(shape[3]) < 1) {
    fail("convTranspose", "the padding leaves nothing of the result", x, weight);
  }
  return one("ConvTranspose", [x, weight, bias], { dtype: x.dtype, shape }, {
    ...convAttributes([kh, kw], g),
    output_padding: { ints: outputPadding },
  });
}

// ---------------------------------------------------------------- normalisation

/** Softmax along one axis. */
export function softmax(x: Value, axis = -1): Value {
  return unary("Softmax", x, { axis: { int: normalizeAxis("softmax", x, axis) } });
}

/** The logarithm of the softmax along one axis. */
export function logSoftmax(x: Value, axis = -1): Value {
  return unary("LogSoftmax", x, { axis: { int: normalizeAxis("logSoftmax", x, axis) } });
}

/**
 * Layer normalisation over the last axis.
 *
 * @param scale One factor per element of the last axis.
 * @param bias One summand per element of the last axis.
 */
export function layerNorm(x: Value, scale: Value, bias: Value, epsilon = 1e-5): Value {
  const width = x.shape[x.rank - 1];
  for (const p of [scale, bias]) {
    if (p.rank !== 1 || p.shape[0] !== width) {
      fail("layerNorm", `scale and bias must have ${width}`, x, p);
    }
  }
  const statistics: ResultSpec = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
  return x.graph.add(
    "LayerNormalization",
    [x, scale, bias],
    [{ dtype: x.dtype, shape: x.shape }, statistics, statistics],
    { axis: { int: -1 }, epsilon: { float: epsilon } },
  )[0]!;
}

/** `x / max(‖x‖₂, epsilon)` along one axis; a zero vector stays zero. */
export function l2Normalize(x: Value, axis = -1, epsilon = 1e-12): Value {
  const squares = reduceSum(mul(x, x), [axis], true);
  return div(x, sqrt(max(squares, epsilon * epsilon)));
}

// ---------------------------------------------------------------- reductions

function reduce(op: string, x: Value, axes: readonly number[] | null, keepDims: boolean): Value {
  const all = axes?.map((axis) => normalizeAxis(op, x, axis)) ?? x.shape.map((_, i) => i);
  const sorted = [...new Set(all)].sort((a, b) => a - b);
  if (sorted.length !== all.length) fail(op, `axes [${axes}] repeat`, x);
  const shape = keepDims
    ? x.shape.map((dim, i) => sorted.includes(i) ? 1 : dim)
    : x.shape.filter((_, i) => !sorted.includes(i));
  return one(op, [x, int64(x.graph, sorted)], { dtype: x.dtype, shape }, {
    keepdims: { int: Number(keepDims) },
    noop_with_empty_axes: { int: 1 },
  });
}

/** The sum over some axes, or over all. */
export function reduceSum(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceSum", x, axes, keepDims);
}

/** The mean over some axes, or over all. */
export function reduceMean(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceMean", x, axes, keepDims);
}

/** The largest element over some axes, or over all. */
export function reduceMax(
  x: Value,
  axes: readonly number[] | null = null,
  keepDims = false,
): Value {
  return reduce("ReduceMax", x, axes, keepDims);
}

// ---------------------------------------------------------------- shape

/** The size of `value`'s axis: a number where it is known, else read when the graph runs. */
export function dimOf(value: Value, axis: number): number | DimOf {
  const dim = value.shape[normalizeAxis("dimOf", value, axis)]!;
  return typeof dim === "number" ? dim : { value, axis: axis < 0 ? axis + value.rank : axis };
}

function sizesAtRunTime(graph: Graph, dims: readonly (number | DimOf)[]): Value {
  const parts = dims.map((dim) => {
    if (typeof dim === "number") return int64(graph, [dim]);
    return one("Shape", [dim.value], { dtype: "int64", shape: [1] }, {
      start: { int: dim.axis },
      end: { int: dim.axis + 1 },
    });
  });
  return concat(parts, 0);
}

/**
 * The same elements under another shape.
 *
 * @param dims Sizes; at most one −1 for "what is left"; {@linkcode dimOf} for sizes that are known
 * only when the graph runs.
 */
export function reshape(x: Value, dims: readonly (number | DimOf)[]): Value {
  const wildcard = dims.indexOf(-1);
  if (wildcard !== dims.lastIndexOf(-1)) fail("reshape", "only one size can be −1", x);
  const shape: Dim[] = dims.map((dim) =>
    typeof dim === "number" ? dim : dim.value.shape[dim.axis]!
  );
  if (wildcard >= 0) {
    const others = productOf(shape.filter((_, i) => i !== wildcard));
    const rest = quotientOf(productOf(x.shape), others);
    if (rest === null) fail("reshape", `can't become ${formatShape(shape)}`, x);
    shape[wildcard] = rest;
  } else if (
    x.shape.every((d) => typeof d === "number") && shape.every((d) => typeof d === "number") &&
    productOf(x.shape) !== productOf(shape)
  ) {
    fail("reshape", `can't become ${formatShape(shape)}`, x);
  }
  const target = dims.every((dim) => typeof dim === "number")
    ? int64(x.graph, dims as number[])
    : sizesAtRunTime(x.graph, dims);
  return one("Reshape", [x, target], { dtype: x.dtype, shape }, { allowzero: { int: 0 } });
}

/** Reorders the axes: axis `i` of the result is axis `permutation[i]` of `x`. */
export function transpose(x: Value, permutation: readonly number[]): Value {
  const sorted = [...permutation].sort((a, b) => a - b);
  if (sorted.length !== x.rank || sorted.some((axis, i) => axis !== i)) {
    fail("transpose", `[${permutation}] is no permutation of its axes`, x);
  }
  const shape = permutation.map((axis) => x.shape[axis]!);
  return one("Transpose", [x], { dtype: x.dtype, shape }, { perm: { ints: permutation } });
}

/** Inserts axes of size 1 at these positions of the result. */
export function unsqueeze(x: Value, axes: readonly number[]): Value {
  if (axes.length === 0) return x;
  const rank = x.rank + axes.length;
  const at = axes.map((axis) => axis < 0 ? axis + rank : axis);
  if (new Set(at).size !== at.length || at.some((axis) => !(axis >= 0 && axis < rank))) {
    fail("unsqueeze", `axes [${axes}] don't fit`, x);
  }
  const shape: Dim[] = [];
  for (let i = 0, j = 0; i < rank; i++) shape.push(at.includes(i) ? 1 : x.shape[j++]!);
  const sorted = [...at].sort((a, b) => a - b);
  return one("Unsqueeze", [x, int64(x.graph, sorted)], { dtype: x.dtype, shape });
}

/** Removes axes of size 1. */
export function squeeze(x: Value, axes: readonly number[]): Value {
  // ONNX Runtime takes an empty list of axes for "every axis of size 1".
  if (axes.length === 0) return x;
  const at = axes.map((axis) => normalizeAxis("squeeze", x, axis)).sort((a, b) => a - b);
  if (at.some((axis) => x.shape[axis] !== 1)) fail("squeeze", `axes [${axes}] are not all 1`, x);
  if (new Set(at).size !== at.length) fail("squeeze", `axes [${axes}] repeat`, x);
  const shape = x.shape.filter((_, i) => !at.includes(i));
  return one("Squeeze", [x, int64(x.graph, at)], { dtype: x.dtype, shape });
}

/** Broadcasts to a shape. */
export function expand(x: Value, dims: readonly (number | DimOf)[]): Value {
  const shape: Dim[] = dims.map((dim) =>
    typeof dim === "number" ? dim : dim.value.shape[dim.axis]!
  );
  const result = broadcastShapes(x.shape, shape);
  if (result === null || result.some((dim, i) => dim !== shape[i])) {
    fail("expand", `can't become ${formatShape(shape)}`, x);
  }
  const target = dims.every((dim) => typeof dim === "number")
    ? int64(x.graph, dims as number[])
    : sizesAtRunTime(x.graph, dims);
  return one("Expand", [x, target], { dtype: x.dtype, shape });
}

/** Joins values along one axis. */
export function concat(values: readonly Value[], axis: number): Value {
  const first = values[0];
  if (first === undefined) throw new ShapeError("concat: needs at least one value");
  if (values.length === 1) return first;
  const at = normalizeAxis("concat", first, axis);
  for (const value of values) {
    const same = value.rank === first.rank && value.dtype === first.dtype &&
      value.shape.every((dim, i) => i === at || dim === first.shape[i]);
    if (!same) fail("concat", `differ in more than axis ${axis}`, ...values);
  }
  const total = sumOf(values.map((value) => value.shape[at]!));
  const shape = first.shape.map((dim, i) => i === at ? total : dim);
  return one("Concat", values, { dtype: first.dtype, shape }, { axis: { int: at } });
}

/** Cuts one axis into pieces of the given sizes. */
export function split(x: Value, sizes: readonly number[], axis: number): Value[] {
  const at = normalizeAxis("split", x, axis);
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== x.shape[at]) fail("split", `pieces of ${total} in all on axis ${axis}`, x);
  if (sizes.length === 1) return [x];
  const results = sizes.map((size) => ({
    dtype: x.dtype,
    shape: x.shape.map((dim, i) => i === at ? size : dim),
  }));
  return x.graph.add("Split", [x, int64(x.graph, sizes)], results, { axis: { int: at } });
}

/**
 * Elements `start` to `end` (exclusive; `Infinity` for all) of one axis. With {@linkcode dimOf} as
 * its end it starts at 0, and the size is known when the graph runs.
 */
export function slice(
  x: Value,
  axis: number,
  start: number,
  end: number | DimOf = Infinity,
): Value {
  const at = normalizeAxis("slice", x, axis);
  const dim = x.shape[at]!;
  const graph = x.graph;
  const cut = (from: number, to: Value, size: Dim) =>
    one("Slice", [x, int64(graph, [from]), to, int64(graph, [at])], {
      dtype: x.dtype,
      shape: x.shape.map((d, i) => i === at ? size : d),
    });
  if (typeof end !== "number") {
    if (start !== 0) fail("slice", "a size known at run time needs start = 0", x);
    return cut(0, sizesAtRunTime(graph, [end]), end.value.shape[end.axis]!);
  }
  if (typeof dim !== "number") fail("slice", `axis ${axis} has a symbolic size`, x);
  const from = start < 0 ? start + dim : start;
  const to = Math.min(end < 0 ? end + dim : end, dim);
  if (!(from >= 0 && from < to)) fail("slice", `[${start}, ${end}) of axis ${axis} is empty`, x);
  return cut(from, int64(graph, [to]), to - from);
}

/** Adds zeros (or `value`) before and after each axis. */
export function pad(
  x: Value,
  before: readonly number[],
  after: readonly number[],
  value = 0,
): Value {
  if (before.length !== x.rank || after.length !== x.rank) fail("pad", "one width per axis", x);
  if ([...before, ...after].some((n) => !(n >= 0))) fail("pad", "widths can't be negative", x);
  const shape = x.shape.map((dim, i) => sumOf([dim, before[i]! + after[i]!]));
  const inputs = [x, int64(x.graph, [...before, ...after]), x.graph.constant(value, [], x.dtype)];
  return one("Pad", inputs, { dtype: x.dtype, shape }, { mode: { string: "constant" } });
}

/**
 * Rows of a table: an embedding lookup.
 *
 * @param table V×…
 * @param indices Integers in [0, V), any shape.
 * @returns The indices' shape followed by the table's without its first axis.
 */
export function gather(table: Value, indices: Value): Value {
  if (table.rank === 0) fail("gather", "the table has no rows", table, indices);
  if (indices.dtype !== "int64" && indices.dtype !== "int32") {
    fail("gather", `indices are ${indices.dtype}, not integers`, table, indices);
  }
  const shape = [...indices.shape, ...table.shape.slice(1)];
  return one("Gather", [table, indices], { dtype: table.dtype, shape }, { axis: { int: 0 } });
}

/**
 * Adds rows to a table: `result[indices[i]] += updates[i]`, repeated indices included.
 *
 * @param table V×…
 * @param indices Integers in [0, V), any shape.
 * @param updates The indices' shape followed by the table's without its first axis.
 */
export function scatterAdd(table: Value, indices: Value, updates: Value): Value {
  const wanted = [...indices.shape, ...table.shape.slice(1)];
  if (formatShape(wanted) !== formatShape(updates.shape)) {
    fail("scatterAdd", `updates must be ${formatShape(wanted)}`, table, indices, updates);
  }
  const rows = unsqueeze(cast(indices, "int64"), [indices.rank]);
  return one("ScatterND", [table, rows, updates], { dtype: table.dtype, shape: table.shape }, {
    reduction: { string: "add" },
  });
}

/** Moves blocks of pixels into channels: B×C×H×W to B×(C·b²)×(H/b)×(W/b). */
export function spaceToDepth(x: Value, block: number): Value {
  const [b, c, h, w] = x.shape;
  if (x.rank !== 4 || Number(h) % block > 0 || Number(w) % block > 0) {
    fail("spaceToDepth", `height and width must be multiples of ${block}`, x);
  }
  const smaller = (dim: Dim) => quotientOf(dim, block)!;
  const shape = [b!, productOf([c!, block * block]), smaller(h!), smaller(w!)];
  return one("SpaceToDepth", [x], { dtype: x.dtype, shape }, { blocksize: { int: block } });
}

/** The inverse of {@linkcode spaceToDepth}: B×C×H×W to B×(C/b²)×(H·b)×(W·b). */
export function depthToSpace(x: Value, block: number): Value {
  const [b, c, h, w] = x.shape;
  if (x.rank !== 4 || typeof c !== "number" || c % (block * block) > 0) {
    fail("depthToSpace", `the channels must be a multiple of ${block * block}`, x);
  }
  const shape = [b!, c / (block * block), productOf([h!, block]), productOf([w!, block])];
  return one("DepthToSpace", [x], { dtype: x.dtype, shape }, {
    blocksize: { int: block },
    mode: { string: "DCR" },
  });
}

/**
 * Bilinear interpolation of the last two axes, with half-pixel centres (align_corners = false) and
 * no antialiasing, as PyTorch's `interpolate` does it.
 *
 * @param x B×C×H×W.
 * @param height Rows of the result.
 * @param width Columns of the result.
 */
export function resizeBilinear(x: Value, height: number | DimOf, width: number | DimOf): Value {
  if (x.rank !== 4) fail("resizeBilinear", "needs four axes", x);
  const name = (dim: number | DimOf) => typeof dim === "number" ? dim : dim.value.shape[dim.axis]!;
  const shape = [x.shape[0]!, x.shape[1]!, name(height), name(width)];
  if (shape[2] === x.shape[2] && shape[3] === x.shape[3]) return x;
  const sizes = sizesAtRunTime(x.graph, [dimOf(x, 0), dimOf(x, 1), height, width]);
  return one("Resize", [x, null, null, sizes], { dtype: x.dtype, shape }, {
    mode: { string: "linear" },
    coordinate_transformation_mode: { string: "half_pixel" },
  });
}
