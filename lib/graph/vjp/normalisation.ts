/**
 * Vector-Jacobian rules of softmax and layer normalisation.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import { attribute, mul, uniformElement, type VjpRule } from "./lean.ts";

const softmax: VjpRule = ({ node, grad }) => {
  const y = node.outputs[0]!;
  const sum = ops.reduceSum(mul(grad, y), [attribute(node, "axis")], true);
  return [ops.mul(y, ops.sub(grad, sum))];
};

const logSoftmax: VjpRule = ({ node, grad }) => {
  const sum = ops.reduceSum(grad, [attribute(node, "axis")], true);
  return [ops.sub(grad, ops.mul(ops.exp(node.outputs[0]!), sum))];
};

/** With the mean and the inverse deviation that the operator saved. */
const layerNorm: VjpRule = ({ node, grad, wants }) => {
  const [x, scale, bias] = node.inputs as [Value, Value, Value | null | undefined];
  const [y, mean, inverseDeviation] = node.outputs as [Value, Value, Value];
  const bare = uniformElement(scale) === 1 && !bias;
  const needed = wants(0) || wants(1);
  const normal = !needed ? null : bare ? y : ops.mul(ops.sub(x, mean), inverseDeviation);
  const leading = x.shape.slice(0, -1).map((_, i) => i);
  const over = (value: Value) => leading.length === 0 ? value : ops.reduceSum(value, leading);
  const byInput = () => {
    const g = mul(grad, scale);
    const mean1 = ops.reduceMean(g, [-1], true);
    const mean2 = ops.reduceMean(ops.mul(g, normal!), [-1], true);
    return ops.mul(ops.sub(ops.sub(g, mean1), ops.mul(normal!, mean2)), inverseDeviation);
  };
  return [
    wants(0) ? byInput() : null,
    wants(1) ? over(ops.mul(grad, normal!)) : null,
    wants(2) ? over(grad) : null,
  ];
};

/** The rules by ONNX's names. */
export const normalisationRules: Readonly<Record<string, VjpRule>> = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNorm,
};
