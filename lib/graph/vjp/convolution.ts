/**
 * Vector-Jacobian rules of convolutions.
 *
 * @module
 */
import type { GraphNode, Value } from "../graph.ts";
import * as ops from "../ops.ts";
import {
  attribute,
  attributeInts,
  knownSize,
  reshape,
  swap,
  transpose,
  type VjpRule,
} from "./lean.ts";

/** Kernels of more taps than this are cheaper as convolutions than as matrix products. */
const mostTaps = 25;

/**
 * The gradient of a convolution's weight. Dense ones are a matrix product of the result's gradient
 * with the windows of the input, which runs several times as fast as a convolution; depthwise ones
 * are as well, in a roundabout way; in other grouped ones the batch takes the place of the channels.
 */
function weightGradient(
  node: GraphNode,
  x: Value,
  grad: Value,
  weight: Value,
  g: Required<ops.ConvOptions>,
): Value {
  const [out, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  const windows = g.groups === 1 ? windowsOf(x, grad, [kh, kw], g) : null;
  if (windows !== null) {
    const rows = reshape(transpose(grad, [1, 0, 2, 3]), [out, -1]);
    const { columns, order } = windows;
    const product = ops.gemm(rows, columns, { transposeB: true });
    if (order === "channels first") return reshape(product, [out, perGroup, kh, kw]);
    return transpose(reshape(product, [out, kh, kw, perGroup]), [0, 3, 1, 2]);
  }
  const depthwise = depthwiseGradient(x, grad, weight, g);
  if (depthwise !== null) return depthwise;
  // B×(G·C)×H×W to C×(G·B)×H×W, so that each group finds its own batch.
  let source = transpose(x, [1, 0, 2, 3]);
  if (g.groups > 1) {
    const size = [knownSize(node, x, 2), knownSize(node, x, 3)];
    const grouped = reshape(x, [ops.dimOf(x, 0), g.groups, perGroup, ...size]);
    source = reshape(transpose(grouped, [2, 1, 0, 3, 4]), [perGroup, -1, ...size]);
  }
  const all = ops.conv(source, transpose(grad, [1, 0, 2, 3]), null, {
    strides: g.dilations,
    dilations: g.strides,
    pads: g.pads,
    groups: g.groups,
  });
  // Input rows that no window reached make it larger than the kernel.
  const cut = (value: Value, axis: number, size: number) =>
    value.shape[axis] === size ? value : ops.slice(value, axis, 0, size);
  return transpose(cut(cut(all, 2, kh), 3, kw), [1, 0, 2, 3]);
}

/** The windows of an input: taps and channels by windows of the whole batch. */
interface Windows {
  readonly columns: Value;
  /** Whether a row's index counts taps within channels or channels within taps. */
  readonly order: "channels first" | "taps first";
}

function windowsOf(
  x: Value,
  grad: Value,
  kernel: readonly [number, number],
  { strides, pads, dilations }: Required<ops.ConvOptions>,
): Windows | null {
  const [channels, ...size] = x.shape.slice(1) as number[];
  const counts = grad.shape.slice(2) as number[];
  if ([channels, ...size, ...counts].some((dim) => typeof dim !== "number")) return null;
  const unpadded = pads.every((n) => n === 0);
  const tiled = unpadded && [0, 1].every((i) => {
    return kernel[i] === strides[i] && dilations[i] === 1 && size[i] === counts[i]! * kernel[i]!;
  });
  if (tiled) {
    const cells = kernel[0] * kernel[1] === 1 ? transpose(x, [1, 0, 2, 3]) : transpose(
      reshape(x, [ops.dimOf(x, 0), channels!, counts[0]!, kernel[0], counts[1]!, kernel[1]]),
      [1, 3, 5, 0, 2, 4],
    );
    const columns = reshape(cells, [channels! * kernel[0] * kernel[1], -1]);
    return { columns, order: "channels first" };
  }
  if (kernel[0] * kernel[1] > mostTaps) return null;
  const [top, left, bottom, right] = pads;
  const padded = unpadded ? x : ops.pad(x, [0, 0, top, left], [0, 0, bottom, right]);
  // Channels outermost; the taps of each axis in front of them, one axis after the other.
  let taps = transpose(padded, [1, 0, 2, 3]);
  for (const i of [1, 0] as const) {
    const reach = (counts[i]! - 1) * strides[i] + 1;
    const whole = kernel[i] === 1 && strides[i] === 1 && taps.shape[i + 2] === counts[i];
    if (whole) continue;
    const cuts = Array.from({ length: kernel[i] }, (_, k) => {
      const start = k * dilations[i];
      return ops.slice(taps, i + 2, start, start + reach, strides[i]);
    });
    taps = ops.concat(cuts, 0);
  }
  return { columns: reshape(taps, [kernel[0] * kernel[1] * channels!, -1]), order: "taps first" };
}

/**
 * The gradient of a depthwise kernel from one matrix product per channel. With the input's rows r and
 * columns j, and the gradient's rows s and columns w, of every band of `tall` rows of the gradient and
 * the rows of the input that it sees,
 *
 *     P[s, w, r, j] = Σ over bands of G[s, w] X[r, j],    ∂W[a, b] = Σ over s, w of P[s, w, s + a, w + b],
 *
 * more arithmetic than a convolution has, but a product's, and only (tall + kh − 1) / tall copies of
 * the input in place of kh·kw.
 *
 * @returns null where the kernel is not depthwise, or moves by other steps than 1.
 */
function depthwiseGradient(
  x: Value,
  grad: Value,
  weight: Value,
  { strides, dilations, pads: [top, left, bottom, right], groups }: Required<ops.ConvOptions>,
): Value | null {
  const [out, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  const [batch, channels, height, width] = grad.shape;
  if (perGroup !== 1 || out !== groups || [...strides, ...dilations].some((n) => n !== 1)) {
    return null;
  }
  if (typeof height !== "number" || typeof width !== "number" || typeof batch !== "number") {
    return null;
  }
  if (x.shape.some((dim) => typeof dim !== "number") || channels !== groups) return null;
  const { graph } = x;
  const tall = height % 2 === 0 ? 2 : 1;
  const bands = height / tall;
  const [rows, columns] = [tall + kh - 1, width + kw - 1];
  const swapped = transpose(x, [1, 0, 2, 3]);
  const padded = [top, left, bottom, right].every((n) => n === 0)
    ? swapped
    : ops.pad(swapped, [0, 0, top, left], [0, 0, bottom, right]);
  const seen = Array.from({ length: bands * rows }, (_, i) => {
    return tall * Math.floor(i / rows) + i % rows;
  });
  const windows = ops.gather(padded, graph.constant(seen, [bands, rows], "int64"), 2);
  const products = ops.matMul(
    swap(reshape(transpose(grad, [1, 0, 2, 3]), [groups, batch * bands, tall * width])),
    reshape(windows, [groups, batch * bands, rows * columns]),
  );
  // With one element more per row, what lies on a diagonal lies in a column.
  const flat = reshape(products, [groups, tall, width * rows * columns]);
  const skewed = reshape(ops.pad(flat, [0, 0, 0], [0, 0, width]), [
    groups,
    tall,
    width,
    rows * columns + 1,
  ]);
  const sums = ops.slice(ops.reduceSum(skewed, [2]), 2, 0, rows * columns);
  const square = reshape(sums, [groups, tall, rows, columns]);
  const parts = Array.from({ length: tall }, (_, s) => {
    return ops.slice(ops.slice(ops.slice(square, 1, s, s + 1), 2, s, s + kh), 3, 0, kw);
  });
  return parts.reduce((a, b) => ops.add(a, b));
}

function geometryOf(node: GraphNode): Required<ops.ConvOptions> {
  return {
    strides: attributeInts(node, "strides") as [number, number],
    pads: attributeInts(node, "pads") as [number, number, number, number],
    dilations: attributeInts(node, "dilations") as [number, number],
    groups: attribute(node, "group"),
  };
}

/** A weight turned by half a turn, its inputs and outputs exchanged within each group. */
function mirrored(weight: Value, groups: number): Value {
  const [out, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  const turn = (value: Value, axis: number, size: number) =>
    size === 1 ? value : ops.slice(value, axis, Infinity, -Infinity, -1);
  const turned = turn(turn(weight, 2, kh), 3, kw);
  const outPerGroup = out / groups;
  if (groups === 1) return transpose(turned, [1, 0, 2, 3]);
  if (outPerGroup === 1 && perGroup === 1) return turned;
  const grouped = ops.reshape(turned, [groups, outPerGroup, perGroup, kh, kw]);
  return ops.reshape(ops.transpose(grouped, [0, 2, 1, 3, 4]), [
    groups * perGroup,
    outPerGroup,
    kh,
    kw,
  ]);
}

const conv: VjpRule = ({ node, grad, wants }) => {
  const [x, weight] = node.inputs as [Value, Value];
  const g = geometryOf(node);
  const byInput = () => {
    const [kh, kw] = weight.staticShape().slice(2) as [number, number];
    const span = [kh, kw].map((size, i) => g.dilations[i]! * (size - 1)) as [number, number];
    const [top, left, bottom, right] = g.pads;
    const pads = [span[0] - top, span[1] - left, span[0] - bottom, span[1] - right] as const;
    if (g.strides.every((n) => n === 1) && pads.every((n) => n >= 0)) {
      // A convolution with the mirrored weight, which runs faster than a transposed one.
      const { dilations, groups } = g;
      return ops.conv(grad, mirrored(weight, groups), null, { dilations, groups, pads });
    }
    // Rows and columns at the end that no window reached.
    const extra = [0, 1].map((i) => {
      if (g.strides[i] === 1) return 0;
      const reached = g.strides[i]! * (knownSize(node, grad, i + 2) - 1) + span[i]! + 1;
      return knownSize(node, x, i + 2) + g.pads[i]! + g.pads[i + 2]! - reached;
    });
    return ops.convTranspose(grad, weight, null, {
      ...g,
      outputPadding: extra as [number, number],
    });
  };
  return [
    wants(0) ? byInput() : null,
    wants(1) ? weightGradient(node, x, grad, weight, g) : null,
    node.inputs[2] && wants(2) ? ops.reduceSum(grad, [0, 2, 3]) : null,
  ];
};

const convTranspose: VjpRule = ({ node, grad, wants }) => {
  const [x, weight] = node.inputs as [Value, Value];
  const g = geometryOf(node);
  return [
    wants(0) ? ops.conv(grad, weight, null, g) : null,
    wants(1) ? weightGradient(node, grad, x, weight, g) : null,
    node.inputs[2] && wants(2) ? ops.reduceSum(grad, [0, 2, 3]) : null,
  ];
};

/** The rules by ONNX's names. */
export const convolutionRules: Readonly<Record<string, VjpRule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
};
