/**
 * The feed-forward part of transformer blocks, and the activations that networks choose from.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { linear } from "./layers.ts";

/** Names of activations: `quickGelu` is `x·sigmoid(1.702x)`, which OpenAI's CLIP has. */
export type Activation = "relu" | "gelu" | "geluTanh" | "quickGelu" | "silu";

/** Options of {@linkcode feedForward}. */
export interface FeedForwardOptions {
  /** Width of the hidden layer; four times that of the input where left out. */
  hiddenWidth?: number;
  /** What is between the layers; ReLU where left out. */
  activation?: Activation;
}

/** Two linear layers with an activation between them, over the last axis. */
export function feedForward(
  scope: ParameterScope,
  x: Value,
  options: FeedForwardOptions = {},
): Value {
  const width = x.shape.at(-1) as number;
  const { hiddenWidth = 4 * width, activation = "relu" } = options;
  const hidden = ops[activation](linear(scope.scope("expand"), x, hiddenWidth));
  return linear(scope.scope("contract"), hidden, width);
}

/**
 * Linear layers with a ReLU between each two, as prediction heads have them: `layers.0`, `layers.1`, …
 *
 * @param widths What each layer gives.
 */
export function multiLayerPerceptron(
  scope: ParameterScope,
  x: Value,
  widths: readonly number[],
): Value {
  return widths.reduce((y, width, i) => {
    const layer = linear(scope.scope("layers").scope(i), y, width);
    return i + 1 < widths.length ? ops.relu(layer) : layer;
  }, x);
}
