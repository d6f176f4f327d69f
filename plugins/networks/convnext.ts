/**
 * ConvNeXt (Liu et al., 2022): a pyramid of feature maps.
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { convnextBlock } from "./convnext_block.ts";
import { convolution, layerNormOfPixels } from "./layers.ts";

/** Sizes of a ConvNeXt; see `convnextSizes` for the published ones. */
export interface ConvnextConfig {
  /** Channels of each stage; their strides are 4, 8, 16 and 32. */
  widths: readonly number[];
  /** Blocks of each stage. */
  depths: readonly number[];
}

/** Layer norms' addend to the variance, in this family of networks. */
export const convnextEpsilon = 1e-6;

/**
 * Builds the network without its head.
 *
 * @param image B×3×H×W.
 * @returns What each stage gives: B×widths[i]×⌊H/2^(i+2)⌋×⌊W/2^(i+2)⌋.
 */
export function convnext(
  scope: ParameterScope,
  image: Value,
  { widths, depths }: ConvnextConfig,
): Value[] {
  const stem = scope.scope("stem");
  const patches = convolution(stem.scope("convolution"), image, widths[0]!, {
    kernel: 4,
    stride: 4,
    padding: 0,
  });
  let x = layerNormOfPixels(stem.scope("norm"), patches, convnextEpsilon);
  return widths.map((width, i) => {
    const stage = scope.scope("stages").scope(i);
    if (i > 0) {
      const downsample = stage.scope("downsample");
      x = layerNormOfPixels(downsample.scope("norm"), x, convnextEpsilon);
      x = convolution(downsample.scope("convolution"), x, width, {
        kernel: 2,
        stride: 2,
        padding: 0,
      });
    }
    for (let j = 0; j < depths[i]!; j++) {
      x = convnextBlock(stage.scope("blocks").scope(j), x);
    }
    return x;
  });
}
