/**
 * ConvNeXt's block.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { feedForward } from "./feed_forward.ts";
import { convolution, layerNorm } from "./layers.ts";

/**
 * A depthwise 7×7 convolution, layer norm, two pointwise layers with a GELU between them, and a
 * learned factor per channel, added to the input (Liu et al., 2022, figure 4).
 *
 * @param x B×C×H×W.
 * @returns B×C×H×W.
 */
export function convnextBlock(scope: ParameterScope, x: Value): Value {
  const width = x.shape[1] as number;
  const near = convolution(scope.scope("depthwise"), x, width, { kernel: 7, groups: width });
  const rows = layerNorm(scope.scope("norm"), ops.transpose(near, [0, 2, 3, 1]), 1e-6);
  const mixed = feedForward(scope.scope("feedForward"), rows, { activation: "gelu" });
  const scaled = ops.mul(mixed, scope.parameter("layerScale", [width], { constant: 1e-6 }));
  return ops.add(x, ops.transpose(scaled, [0, 3, 1, 2]));
}
