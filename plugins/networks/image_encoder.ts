/**
 * The image tower of the small CLIP: a residual convolutional network whose cells lie in the joint
 * image-text space, so that any pooling of them is an embedding.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { conv3x3, convolution, layerNormOfPixels } from "./layers.ts";

/** Sizes of the image tower. */
export interface ImageEncoderConfig {
  /** Channels after the first convolution, at half the image's size. */
  stemWidth: number;
  /** Channels at a quarter and at an eighth of the image's size. */
  widths: readonly [number, number];
  /** Residual blocks at a quarter and at an eighth of the image's size. */
  depths: readonly [number, number];
  /** D, the size of the joint space. */
  jointSize: number;
}

/** What the image tower gives. */
export interface ImageEncoderOutputs {
  /** Dense features in the joint space, B×D×(H/8)×(W/8), not normalised. */
  features: Value;
  /** Shallow features, B×C×(H/4)×(W/4). */
  pyramid4: Value;
  /** Cells halfway up and at the top, B×2C×(H/8)×(W/8). */
  pyramid8: Value;
}

/**
 * Builds the image tower. Only layer norms over the channels of one pixel, none over the image:
 * what a cell says doesn't depend on the size of what lies around it.
 *
 * @param image B×3×H×W, RGB in 0…1; H and W are multiples of 8.
 */
export function imageEncoder(
  scope: ParameterScope,
  image: Value,
  config: ImageEncoderConfig,
): ImageEncoderOutputs {
  const { stemWidth, widths: [narrow, wide], depths: [shallow, deep], jointSize } = config;
  let x = ops.sub(ops.mul(image, 4), 2);
  x = ops.geluTanh(halving(scope.scope("stem.0"), x, stemWidth));
  x = layerNormOfPixels(scope.scope("stem.norm"), halving(scope.scope("stem.1"), x, narrow));
  for (let i = 0; i < shallow; i++) x = block(scope.scope("quarter").scope(i), x);
  const pyramid4 = layerNormOfPixels(scope.scope("quarterNorm"), x);

  x = convolution(scope.scope("merge"), ops.spaceToDepth(pyramid4, 2), wide, { kernel: 1 });
  let halfway = x;
  for (let i = 0; i < deep; i++) {
    x = block(scope.scope("eighth").scope(i), x);
    if (i + 1 === deep >> 1) halfway = x;
  }
  const top = layerNormOfPixels(scope.scope("norm"), x);
  const middle = layerNormOfPixels(scope.scope("halfwayNorm"), halfway);
  return {
    features: convolution(scope.scope("joint"), top, jointSize, { kernel: 1 }),
    pyramid4,
    pyramid8: ops.concat([middle, top], 1),
  };
}

/** A 3×3 convolution that halves the size. */
function halving(scope: ParameterScope, x: Value, outputs: number): Value {
  return convolution(scope, x, outputs, { kernel: 3, stride: 2, padding: 1 });
}

/** Layer norm, 3×3, GELU, 1×1, added to the input. */
function block(scope: ParameterScope, x: Value): Value {
  const width = x.shape[1] as number;
  const near = conv3x3(scope.scope("near"), layerNormOfPixels(scope.scope("norm"), x), width);
  const mix = scope.scope("mix");
  // Small at first: a block begins close to doing nothing.
  const weight = mix.parameter("weight", [width, width, 1, 1], { normal: 0.2 / Math.sqrt(width) });
  const bias = mix.parameter("bias", [width], { constant: 0 });
  return ops.add(x, ops.conv(ops.geluTanh(near), weight, bias, {}));
}
