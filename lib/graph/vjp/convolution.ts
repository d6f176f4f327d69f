/**
 * Vector-Jacobian rules of convolutions.
 *
 * @module
 */
import type { GraphNode, Value } from "../graph.ts";
import * as ops from "../ops.ts";
import { attribute, attributeInts, knownSize, reshape, transpose, type VjpRule } from "./lean.ts";

/**
 * The gradient of a convolution's weight: a convolution of the input with the result's gradient, the
 * batch in the place of the channels.
 */
function weightGradient(
  node: GraphNode,
  x: Value,
  grad: Value,
  weight: Value,
  g: Required<ops.ConvOptions>,
): Value {
  const [out, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  const plain = [...g.strides, ...g.dilations].every((n) => n === 1) &&
    g.pads.every((n) => n === 0);
  if (g.groups === 1 && kh === 1 && kw === 1 && plain) {
    // Every pixel is a row: a matrix product.
    const rows = (value: Value, channels: number) =>
      reshape(transpose(value, [1, 0, 2, 3]), [channels, -1]);
    const product = ops.gemm(rows(grad, out), rows(x, perGroup), { transposeB: true });
    return reshape(product, [out, perGroup, 1, 1]);
  }
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
  const byInput = () => {
    // Rows and columns at the end that no window reached.
    const extra = [0, 1].map((i) => {
      if (g.strides[i] === 1) return 0;
      const span = g.dilations[i]! * (weight.staticShape()[i + 2]! - 1) + 1;
      const reached = g.strides[i]! * (knownSize(node, grad, i + 2) - 1) + span;
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
