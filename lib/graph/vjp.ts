/**
 * The vector-Jacobian rules: for each operator, the gradients of its inputs from the gradient of
 * its result, as new nodes of the same graph. Each rule is tested against central differences.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import type { Dim, GraphNode, Value } from "./graph.ts";
import * as ops from "./ops.ts";

/** What a rule is given. */
export interface VjpContext {
  /** The operator. */
  readonly node: GraphNode;
  /** The gradient of its first result. */
  readonly grad: Value;
  /** Whether the gradient of input `i` is wanted. */
  wants(i: number): boolean;
}

/** Gives the gradient of each input, null where there is none or it isn't wanted. */
export type VjpRule = (context: VjpContext) => (Value | null)[];

/** Sums a broadcast gradient back to the shape of the operand. */
export function sumToShape(grad: Value, shape: readonly Dim[]): Value {
  const lead = grad.rank - shape.length;
  const axes: number[] = [];
  for (let i = 0; i < grad.rank; i++) {
    const dim = i < lead ? 1 : shape[i - lead]!;
    if (i < lead || (dim === 1 && grad.shape[i] !== 1)) axes.push(i);
  }
  if (axes.length === 0) return grad;
  const summed = ops.reduceSum(grad, axes, true);
  return lead === 0 ? summed : ops.squeeze(summed, [...Array(lead).keys()]);
}

function attribute(node: GraphNode, name: string): number {
  const value = node.attributes[name];
  return value !== undefined && "int" in value ? value.int : 0;
}

function attributeInts(node: GraphNode, name: string): readonly number[] {
  const value = node.attributes[name];
  return value !== undefined && "ints" in value ? value.ints : [];
}

function constantInts(value: Value | null | undefined): number[] {
  return Array.from((value?.data?.data ?? []) as ArrayLike<number | bigint>, Number);
}

/** A rule for `f(a, b)` with broadcasting: the two unreduced gradients. */
function broadcasting(
  left: (g: Value, a: Value, b: Value, y: Value) => Value,
  right: (g: Value, a: Value, b: Value, y: Value) => Value,
): VjpRule {
  return ({ node, grad, wants }) => {
    const [a, b] = node.inputs as [Value, Value];
    const y = node.outputs[0]!;
    return [
      wants(0) ? sumToShape(left(grad, a, b, y), a.shape) : null,
      wants(1) ? sumToShape(right(grad, a, b, y), b.shape) : null,
    ];
  };
}

/** A rule for `f(x)` element by element. */
function pointwise(rule: (g: Value, x: Value, y: Value) => Value): VjpRule {
  return ({ node, grad }) => [rule(grad, node.inputs[0]!, node.outputs[0]!)];
}

const sizesOf = (x: Value) => x.shape.map((_, i) => ops.dimOf(x, i));

/** Swaps the last two axes. */
function swap(x: Value): Value {
  const axes = [...Array(x.rank).keys()];
  return ops.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

const matMul: VjpRule = ({ node, grad, wants }) => {
  const [a, b] = node.inputs as [Value, Value];
  if (b.rank === 2) {
    // A shared right-hand matrix (a weight): flat products, which ONNX Runtime runs fastest.
    const rows = ops.reshape(grad, [-1, ops.dimOf(b, 1)]);
    return [
      wants(0) ? ops.reshape(ops.gemm(rows, b, { transposeB: true }), sizesOf(a)) : null,
      wants(1) ? ops.gemm(ops.reshape(a, [-1, ops.dimOf(b, 0)]), rows, { transposeA: true }) : null,
    ];
  }
  return [
    wants(0) ? sumToShape(ops.matMul(grad, swap(b)), a.shape) : null,
    wants(1) ? sumToShape(ops.matMul(swap(a), grad), b.shape) : null,
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

const softmax: VjpRule = ({ node, grad }) => {
  const y = node.outputs[0]!;
  const weighted = ops.mul(grad, y);
  const sum = ops.reduceSum(weighted, [attribute(node, "axis")], true);
  return [ops.sub(weighted, ops.mul(y, sum))];
};

const logSoftmax: VjpRule = ({ node, grad }) => {
  const sum = ops.reduceSum(grad, [attribute(node, "axis")], true);
  return [ops.sub(grad, ops.mul(ops.exp(node.outputs[0]!), sum))];
};

const layerNorm: VjpRule = ({ node, grad, wants }) => {
  const [x, scale] = node.inputs as [Value, Value];
  const [, mean, inverseDeviation] = node.outputs as [Value, Value, Value];
  const normal = ops.mul(ops.sub(x, mean), inverseDeviation);
  const leading = x.shape.slice(0, -1).map((_, i) => i);
  const over = (value: Value) => leading.length === 0 ? value : ops.reduceSum(value, leading);
  let dx: Value | null = null;
  if (wants(0)) {
    const g = ops.mul(grad, scale);
    const mean1 = ops.reduceMean(g, [-1], true);
    const mean2 = ops.reduceMean(ops.mul(g, normal), [-1], true);
    dx = ops.mul(ops.sub(ops.sub(g, mean1), ops.mul(normal, mean2)), inverseDeviation);
  }
  return [dx, wants(1) ? over(ops.mul(grad, normal)) : null, wants(2) ? over(grad) : null];
};

/** A size that a rule has to know; NaN in its place would poison the gradient without a word. */
function knownSize(node: GraphNode, x: Value, axis: number): number {
  const dim = x.shape[axis];
  if (typeof dim === "number") return dim;
  throw new ShapeError(
    `${node.op}: ${formatShape(x.shape)}: its gradient needs the size of axis ${axis} as a number`,
  );
}

function reduced(rule: (g: Value, x: Value, y: Value, count: () => number) => Value): VjpRule {
  return ({ node, grad }) => {
    const x = node.inputs[0]!;
    const axes = constantInts(node.inputs[1]);
    if (axes.length === 0) return [grad];
    const keep = attribute(node, "keepdims") === 1;
    const kept = (value: Value) => keep ? value : ops.unsqueeze(value, axes);
    const count = () => axes.reduce((n, axis) => n * knownSize(node, x, axis), 1);
    return [rule(kept(grad), x, kept(node.outputs[0]!), count)];
  };
}

/** The gradient of a convolution's weight: a convolution of the input with the result's gradient. */
function convWeightGradient(
  x: Value,
  grad: Value,
  weight: Value,
  g: Required<ops.ConvOptions>,
): Value {
  if (g.groups > 1) {
    const groups = (value: Value) => {
      const size = Number(value.shape[1]) / g.groups;
      return ops.split(value, Array<number>(g.groups).fill(size), 1);
    };
    const grads = groups(grad);
    const parts = groups(x).map((part, i) =>
      convWeightGradient(part, grads[i]!, weight, { ...g, groups: 1 })
    );
    return ops.concat(parts, 0);
  }
  const full = ops.conv(ops.transpose(x, [1, 0, 2, 3]), ops.transpose(grad, [1, 0, 2, 3]), null, {
    strides: g.dilations as [number, number],
    dilations: g.strides as [number, number],
    pads: g.pads as [number, number, number, number],
  });
  // Input rows that no window reached make it larger than the kernel.
  const [, , kh, kw] = weight.staticShape() as [number, number, number, number];
  return ops.transpose(ops.slice(ops.slice(full, 2, 0, kh), 3, 0, kw), [1, 0, 2, 3]);
}

function geometryOf(node: GraphNode): Required<ops.ConvOptions> {
  return {
    strides: attributeInts(node, "strides") as [number, number],
    pads: attributeInts(node, "pads") as [number, number, number, number],
    dilations: attributeInts(node, "dilations") as [number, number],
    groups: attribute(node, "group"),
  };
}

const conv: VjpRule = ({ node, grad, wants }) => {
  const [x, weight] = node.inputs as [Value, Value];
  const g = geometryOf(node);
  let dx: Value | null = null;
  if (wants(0)) {
    // Rows and columns at the end that no window reached.
    const extra = [0, 1].map((i) => {
      const span = g.dilations[i]! * (weight.staticShape()[i + 2]! - 1) + 1;
      const reached = g.strides[i]! * (knownSize(node, grad, i + 2) - 1) + span;
      return knownSize(node, x, i + 2) + g.pads[i]! + g.pads[i + 2]! - reached;
    });
    dx = ops.convTranspose(grad, weight, null, { ...g, outputPadding: extra as [number, number] });
  }
  return [
    dx,
    wants(1) ? convWeightGradient(x, grad, weight, g) : null,
    node.inputs[2] && wants(2) ? ops.reduceSum(grad, [0, 2, 3]) : null,
  ];
};

const convTranspose: VjpRule = ({ node, grad, wants }) => {
  const [x, weight] = node.inputs as [Value, Value];
  const g = geometryOf(node);
  return [
    wants(0) ? ops.conv(grad, weight, null, g) : null,
    wants(1) ? convWeightGradient(grad, x, weight, g) : null,
    node.inputs[2] && wants(2) ? ops.reduceSum(grad, [0, 2, 3]) : null,
  ];
};

/** The rows of the matrix that interpolates `from` samples to `to`: half-pixel centres, clamped. */
export function bilinearMatrix(from: number, to: number): Float64Array {
  const matrix = new Float64Array(to * from);
  for (let i = 0; i < to; i++) {
    const position = Math.min(Math.max((i + 0.5) * from / to - 0.5, 0), from - 1);
    const low = Math.floor(position);
    const high = Math.min(low + 1, from - 1);
    matrix[i * from + low]! += 1 - (position - low);
    matrix[i * from + high]! += position - low;
  }
  return matrix;
}

const resize: VjpRule = ({ node, grad }) => {
  const x = node.inputs[0]!;
  const [fromHeight, fromWidth] = [knownSize(node, x, 2), knownSize(node, x, 3)];
  const [toHeight, toWidth] = [knownSize(node, grad, 2), knownSize(node, grad, 3)];
  const matrix = (from: number, to: number) =>
    x.graph.constant(Array.from(bilinearMatrix(from, to)), [to, from], x.dtype);
  const rows = ops.matMul(grad, matrix(fromWidth, toWidth));
  return [ops.matMul(ops.transpose(matrix(fromHeight, toHeight), [1, 0]), rows)];
};

const gelu = pointwise((g, x) => {
  const cdf = ops.mul(ops.add(ops.erf(ops.mul(x, Math.SQRT1_2)), 1), 0.5);
  const density = ops.mul(ops.exp(ops.mul(ops.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return ops.mul(g, ops.add(cdf, ops.mul(x, density)));
});

const none: VjpRule = ({ node }) => node.inputs.map(() => null);
const zero = 0;

/** The rule of every differentiable operator, by its ONNX name. */
export const vjpRules: Readonly<Record<string, VjpRule>> = {
  Add: broadcasting((g) => g, (g) => g),
  Sub: broadcasting((g) => g, (g) => ops.neg(g)),
  Mul: broadcasting((g, _, b) => ops.mul(g, b), (g, a) => ops.mul(g, a)),
  Div: broadcasting(
    (g, _, b) => ops.div(g, b),
    (g, _a, b, y) => ops.neg(ops.div(ops.mul(g, y), b)),
  ),
  Pow: broadcasting(
    (g, a, b) => ops.mul(g, ops.mul(b, ops.pow(a, ops.sub(b, 1)))),
    () => {
      throw new ShapeError("pow: the exponent has no gradient; make it a constant");
    },
  ),
  // At a tie the whole gradient goes to the first operand.
  Min: broadcasting(
    (g, a, b) => ops.where(ops.greater(a, b), zero, g),
    (g, a, b) => ops.where(ops.greater(a, b), g, zero),
  ),
  Max: broadcasting(
    (g, a, b) => ops.where(ops.less(a, b), zero, g),
    (g, a, b) => ops.where(ops.less(a, b), g, zero),
  ),
  Neg: pointwise((g) => ops.neg(g)),
  Abs: pointwise((g, x) => ops.where(ops.less(x, 0), ops.neg(g), g)),
  Sqrt: pointwise((g, _, y) => ops.div(ops.mul(g, 0.5), y)),
  Exp: pointwise((g, _, y) => ops.mul(g, y)),
  Log: pointwise((g, x) => ops.div(g, x)),
  Erf: pointwise((g, x) =>
    ops.mul(ops.mul(g, 2 / Math.sqrt(Math.PI)), ops.exp(ops.neg(ops.mul(x, x))))
  ),
  Sigmoid: pointwise((g, _, y) => ops.mul(g, ops.mul(y, ops.sub(1, y)))),
  Softplus: pointwise((g, x) => ops.mul(g, ops.sigmoid(x))),
  Tanh: pointwise((g, _, y) => ops.mul(g, ops.sub(1, ops.mul(y, y)))),
  // A product with the sign runs several times as fast as Where with a scalar branch.
  Relu: pointwise((g, _, y) => ops.mul(g, ops.sign(y))),
  Gelu: gelu,
  Where: ({ node, grad, wants }) => {
    const [condition, a, b] = node.inputs as [Value, Value, Value];
    return [
      null,
      wants(1) ? sumToShape(ops.where(condition, grad, zero), a.shape) : null,
      wants(2) ? sumToShape(ops.where(condition, zero, grad), b.shape) : null,
    ];
  },
  MatMul: matMul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNorm,
  ReduceSum: reduced((g, x) => ops.expand(g, sizesOf(x))),
  ReduceMean: reduced((g, x, _, count) => ops.expand(ops.mul(g, 1 / count()), sizesOf(x))),
  // Ties share the gradient, as in PyTorch's amax.
  ReduceMax: ({ node, grad, wants }) =>
    reduced((g, x, y) => {
      const ties = ops.cast(ops.equal(x, y), x.dtype);
      const count = ops.reduceSum(ties, constantInts(node.inputs[1]), true);
      return ops.mul(ties, ops.div(g, count));
    })({ node, grad, wants }),
  Reshape: ({ node, grad }) => [ops.reshape(grad, sizesOf(node.inputs[0]!)), null],
  Unsqueeze: ({ node, grad }) => [ops.squeeze(grad, constantInts(node.inputs[1])), null],
  Squeeze: ({ node, grad }) => [ops.unsqueeze(grad, constantInts(node.inputs[1])), null],
  Transpose: ({ node, grad }) => {
    const permutation = attributeInts(node, "perm");
    const inverse = permutation.map((_, i) => permutation.indexOf(i));
    return [ops.transpose(grad, inverse)];
  },
  Expand: ({ node, grad }) => [sumToShape(grad, node.inputs[0]!.shape), null],
  Split: ({ grad }) => [grad, null],
  Concat: ({ node, grad }) => {
    const axis = attribute(node, "axis");
    return ops.split(grad, node.inputs.map((input) => knownSize(node, input!, axis)), axis);
  },
  Slice: ({ node, grad }) => {
    const x = node.inputs[0]!;
    const [[from], [to], [axis]] = node.inputs.slice(1).map(constantInts) as [
      [number],
      [number],
      [number],
    ];
    const before = x.shape.map((_, i) => i === axis ? from : 0);
    const after = x.shape.map((dim, i) => i === axis ? Number(dim) - to : 0);
    return [ops.pad(grad, before, after), null, null, null];
  },
  Pad: ({ node, grad }) => {
    const x = node.inputs[0]!;
    const widths = constantInts(node.inputs[1]);
    let inner = grad;
    for (const [axis, dim] of x.shape.entries()) {
      if (inner.shape[axis] === dim) continue;
      inner = ops.slice(inner, axis, widths[axis]!, widths[axis]! + Number(dim));
    }
    return [inner, null, null];
  },
  Gather: ({ node, grad }) => {
    const [table, indices] = node.inputs as [Value, Value];
    const zeros = ops.expand(table.graph.constant(0, [], table.dtype), sizesOf(table));
    return [ops.scatterAdd(zeros, indices, grad), null];
  },
  ScatterND: ({ node, grad, wants }) => {
    const [, rows] = node.inputs as [Value, Value];
    const indices = ops.squeeze(rows, [-1]);
    return [wants(0) ? grad : null, null, wants(2) ? ops.gather(grad, indices) : null];
  },
  SpaceToDepth: ({ node, grad }) => [ops.depthToSpace(grad, attribute(node, "blocksize"))],
  DepthToSpace: ({ node, grad }) => [ops.spaceToDepth(grad, attribute(node, "blocksize"))],
  Resize: resize,
  Cast: ({ node, grad }) => {
    const { dtype } = node.inputs[0]!;
    return [dtype.startsWith("float") ? ops.cast(grad, dtype) : null];
  },
  Identity: none,
  Greater: none,
  Less: none,
  Equal: none,
  Sign: none,
  Shape: none,
};
