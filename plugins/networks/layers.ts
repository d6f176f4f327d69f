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

/** Layer normalisation over the last axis with a learned scale and bias. */
export function layerNorm(scope: ParameterScope, x: Value): Value {
  const width = x.shape.at(-1) as number;
  const scale = scope.parameter("scale", [width], { constant: 1 });
  return ops.layerNorm(x, scale, scope.parameter("bias", [width], { constant: 0 }));
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

/** Options of {@linkcode attention}. */
export interface AttentionOptions {
  /** Number of heads. */
  heads: number;
  /** Added to the affinities before the softmax: B×(1 or heads)×T×S. */
  bias?: Value;
  /** Added to the keys' source, not to the values': position embeddings. */
  keyPosition?: Value;
}

/**
 * Multi-head scaled dot-product attention (Vaswani et al., 2017).
 *
 * @param target B×T×C, what asks.
 * @param source B×S×C', what is asked; `target` for self-attention.
 * @returns B×T×C.
 */
export function attention(
  scope: ParameterScope,
  target: Value,
  source: Value,
  { heads, bias, keyPosition }: AttentionOptions,
): Value {
  const width = target.shape[2] as number;
  const size = width / heads;
  const split = (x: Value, permutation: number[]) =>
    ops.transpose(ops.reshape(x, [ops.dimOf(x, 0), -1, heads, size]), permutation);
  const keys = keyPosition === undefined ? source : ops.add(source, keyPosition);
  const query = split(
    ops.mul(linear(scope.scope("query"), target, width), 1 / Math.sqrt(size)),
    [0, 2, 1, 3],
  );
  const key = split(linear(scope.scope("key"), keys, width), [0, 2, 3, 1]);
  const value = split(linear(scope.scope("value"), source, width), [0, 2, 1, 3]);
  const affinity = ops.matMul(query, key);
  const weights = ops.softmax(bias === undefined ? affinity : ops.add(affinity, bias), -1);
  const mixed = ops.transpose(ops.matMul(weights, value), [0, 2, 1, 3]);
  return linear(
    scope.scope("output"),
    ops.reshape(mixed, [ops.dimOf(target, 0), -1, width]),
    width,
  );
}

/** Two linear layers with a ReLU between them; the hidden one is `expansion` times as wide. */
export function feedForward(scope: ParameterScope, x: Value, expansion = 4): Value {
  const width = x.shape.at(-1) as number;
  const hidden = ops.relu(linear(scope.scope("expand"), x, expansion * width));
  return linear(scope.scope("contract"), hidden, width);
}

/** A pre-norm transformer block: self-attention, then feed-forward, each added to its input. */
export function transformerBlock(
  scope: ParameterScope,
  x: Value,
  options: AttentionOptions,
): Value {
  const normal = layerNorm(scope.scope("attentionNorm"), x);
  const attended = ops.add(x, attention(scope.scope("attention"), normal, normal, options));
  const again = layerNorm(scope.scope("feedForwardNorm"), attended);
  return ops.add(attended, feedForward(scope.scope("feedForward"), again));
}
