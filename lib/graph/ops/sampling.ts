/**
 * Operators that sample images between their pixels.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import { type DimOf, dimOf, fail, one, sameType, shapeOf } from "./core.ts";
import { sizesAtRunTime } from "./shape.ts";

/** How coordinates and pixels meet. */
export interface SamplingOptions {
  /**
   * Whether the outermost coordinates are the centres of the outermost pixels (true) or their outer
   * edges (false); false where left out, as in PyTorch.
   */
  alignCorners?: boolean;
}

/**
 * Bilinear interpolation of the last two axes, without antialiasing, as PyTorch's `interpolate`
 * does it.
 *
 * @param x B×C×H×W.
 * @param height Rows of the result.
 * @param width Columns of the result.
 */
export function resizeBilinear(
  x: Value,
  height: number | DimOf,
  width: number | DimOf,
  { alignCorners = false }: SamplingOptions = {},
): Value {
  if (x.rank !== 4) fail("resizeBilinear", "needs four axes", x);
  const shape = [x.shape[0]!, x.shape[1]!, ...shapeOf([height, width])];
  if (shape[2] === x.shape[2] && shape[3] === x.shape[3]) return x;
  const sizes = sizesAtRunTime(x.graph, [dimOf(x, 0), dimOf(x, 1), height, width]);
  return one("Resize", [x, null, null, sizes], { dtype: x.dtype, shape }, {
    mode: { string: "linear" },
    coordinate_transformation_mode: { string: alignCorners ? "align_corners" : "half_pixel" },
  });
}

/**
 * Pixels at given places, bilinearly interpolated, zero outside of the image: PyTorch's
 * `grid_sample`.
 *
 * @param x B×C×H×W.
 * @param grid B×H'×W'×2: x, then y, from −1 at the left and top to 1 at the right and bottom.
 * @returns B×C×H'×W'.
 */
export function gridSample(
  x: Value,
  grid: Value,
  { alignCorners = false }: SamplingOptions = {},
): Value {
  if (x.rank !== 4 || grid.rank !== 4 || grid.shape[3] !== 2 || grid.shape[0] !== x.shape[0]) {
    fail("gridSample", "takes B×C×H×W and B×H'×W'×2", x, grid);
  }
  sameType("gridSample", x, grid);
  const shape = [x.shape[0]!, x.shape[1]!, grid.shape[1]!, grid.shape[2]!];
  return one("GridSample", [x, grid], { dtype: x.dtype, shape }, {
    mode: { string: "linear" },
    padding_mode: { string: "zeros" },
    align_corners: { int: Number(alignCorners) },
  });
}
