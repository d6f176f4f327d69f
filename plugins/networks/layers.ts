/**
 * The layers that the networks are made of, in the names of the papers.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";

/** `x W + b` over the last axis: …×I to …×O. */
export function linear(scope: ParameterScope, x: Value, outputs: number, deviation = 0.02): Value {
  const weight = scope.parameter("weight", [x.shape.at(-1) as number, outputs], {
    normal: deviation,
  });
  return ops.add(ops.matMul(x, weight), scope.parameter("bias", [outputs], { constant: 0 }));
}

/** `x W` over the last axis: …×I to …×O. */
export function projection(scope: ParameterScope, x: Value, outputs: number): Value {
  const inputs = x.shape.at(-1) as number;
  const init = { normal: 1 / Math.sqrt(inputs) };
  return ops.matMul(x, scope.parameter("weight", [inputs, outputs], init));
}

/** Layer normalisation over the last axis with a learned scale and bias. */
export function layerNorm(scope: ParameterScope, x: Value, epsilon = 1e-5): Value {
  const width = x.shape.at(-1) as number;
  const scale = scope.parameter("scale", [width], { constant: 1 });
  return ops.layerNorm(x, scale, scope.parameter("bias", [width], { constant: 0 }), epsilon);
}

/** Layer normalisation over the channels of each pixel: B×C×H×W. */
export function layerNormOfPixels(scope: ParameterScope, x: Value, epsilon = 1e-5): Value {
  const rows = ops.transpose(x, [0, 2, 3, 1]);
  return ops.transpose(layerNorm(scope, rows, epsilon), [0, 3, 1, 2]);
}

/** Group normalisation with a learned scale and bias per channel: B×C×H×W. */
export function groupNorm(scope: ParameterScope, x: Value, groups: number): Value {
  const channels = x.shape[1] as number;
  const scale = scope.parameter("scale", [channels], { constant: 1 });
  return ops.groupNorm(x, groups, scale, scope.parameter("bias", [channels], { constant: 0 }));
}

/** Options of {@linkcode convolution}. */
export interface ConvolutionOptions {
  /** Side of the window. */
  kernel: number;
  /** Step of the window; 1 where left out. */
  stride?: number;
  /** Zeros on each side; such that a step of 1 keeps the size where left out. */
  padding?: number;
  /** Number of independent groups of channels; 1 where left out. */
  groups?: number;
  /** Whether a number per channel is added; true where left out. */
  bias?: boolean;
}

/** Convolution with a square window: B×C×H×W to B×O×H'×W'. */
export function convolution(
  scope: ParameterScope,
  x: Value,
  outputs: number,
  options: ConvolutionOptions,
): Value {
  const { kernel, stride = 1, padding = (kernel - 1) / 2, groups = 1, bias = true } = options;
  const inputs = x.shape[1] as number / groups;
  const weight = scope.parameter("weight", [outputs, inputs, kernel, kernel], {
    normal: Math.sqrt(1 / (kernel * kernel * inputs)),
  });
  const summand = bias ? scope.parameter("bias", [outputs], { constant: 0 }) : null;
  return ops.conv(x, weight, summand, {
    strides: [stride, stride],
    pads: [padding, padding, padding, padding],
    groups,
  });
}

/** 3×3 convolution that keeps the size: B×C×H×W to B×O×H×W. */
export function conv3x3(scope: ParameterScope, x: Value, outputs: number): Value {
  const inputs = x.shape[1] as number;
  const weight = scope.parameter("weight", [outputs, inputs, 3, 3], {
    normal: Math.sqrt(2 / (9 * inputs)),
  });
  const bias = scope.parameter("bias", [outputs], { constant: 0 });
  return ops.conv(x, weight, bias, { pads: [1, 1, 1, 1] });
}

/** B×C×H×W to B×(H·W)×C. */
export function toTokens(x: Value): Value {
  const rows = ops.reshape(x, [ops.dimOf(x, 0), x.shape[1] as number, -1]);
  return ops.transpose(rows, [0, 2, 1]);
}

/** B×(H·W)×C to B×C×H×W, with H and W of `like`. */
export function toMap(tokens: Value, like: Value): Value {
  const channels = ops.transpose(tokens, [0, 2, 1]);
  const size = [ops.dimOf(like, 2), ops.dimOf(like, 3)];
  return ops.reshape(channels, [ops.dimOf(tokens, 0), tokens.shape[2] as number, ...size]);
}
