/**
 * What mask pooling takes and gives, on every engine.
 *
 * @module
 */
import { OptionError, ShapeError } from "../../lib/errors.ts";
import type { DType, Tensor } from "../../lib/tensor.ts";
import { checkOperand } from "../dispatch/operand.ts";

/** The ε of the denominator; an area up to it counts as empty. */
export const emptyArea = 1e-8;

/** Options of mask pooling. */
export interface MaskPoolingOptions {
  /**
   * How a resized logit m weighs a pixel: `hard` is 1 where m > 0 and 0 elsewhere, `soft` is
   * sigmoid(m).
   */
  readonly mode: "hard" | "soft";
}

/** Inputs of mask pooling. A rank-4 form with a leading batch axis is left free for later. */
export interface MaskPoolingInput {
  /** Dense features X, float32 D×h×w. */
  readonly features: Tensor;
  /** Mask logits M, float32 N×h'×w'; resized bilinearly to h×w where the sizes differ. */
  readonly maskLogits: Tensor;
}

/** Result of mask pooling. Whoever receives it disposes of it. */
export class PooledMasks implements Disposable {
  /** Pooled features F_C, N×D, where the kernel ran. */
  readonly pooled: Tensor<"float32">;
  /** Sum of every mask's weights at the features' resolution, N, in cells of the feature map. */
  readonly area: Tensor<"float32">;

  /** Made by the kernels. */
  constructor(pooled: Tensor<"float32">, area: Tensor<"float32">) {
    this.pooled = pooled;
    this.area = area;
  }

  /**
   * Which masks cover nothing: area ≤ 1e-8. Such a row of `pooled` is the zero vector when the
   * mask is hard; a soft mask only gets there by underflow, and its row is next to zero.
   */
  async empty(): Promise<boolean[]> {
    return Array.from(await this.area.read(), (area) => area <= emptyArea);
  }

  /** Frees both tensors. */
  dispose(): void {
    this.pooled.dispose();
    this.area.dispose();
  }

  /** As {@linkcode PooledMasks.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Sizes of one run. */
export interface MaskPoolingSizes {
  /** D */
  readonly channels: number;
  /** h */
  readonly height: number;
  /** w */
  readonly width: number;
  /** N */
  readonly masks: number;
  /** h' */
  readonly maskHeight: number;
  /** w' */
  readonly maskWidth: number;
}

/**
 * Checks the options.
 *
 * @throws {OptionError} If the mode is neither `hard` nor `soft`.
 */
export function checkMaskPoolingOptions(options: MaskPoolingOptions): void {
  const { mode } = options;
  if (mode !== "hard" && mode !== "soft") {
    throw new OptionError(`mask pooling: mode must be "hard" or "soft", got ${String(mode)}`);
  }
}

/**
 * Checks the inputs and reads their sizes.
 *
 * @throws {ShapeError} If one has another element type or rank, or an empty axis.
 */
export function checkMaskPooling(
  input: MaskPoolingInput,
  dtypes: readonly DType[] = ["float32"],
): MaskPoolingSizes {
  const { features, maskLogits } = input;
  checkOperand("mask pooling", "features", features, ["D", "h", "w"], dtypes);
  checkOperand("mask pooling", "maskLogits", maskLogits, ["N", "h'", "w'"], dtypes);
  const [channels, height, width] = features.shape as [number, number, number];
  const [masks, maskHeight, maskWidth] = maskLogits.shape as [number, number, number];
  // The kernels locate pixels in 32-bit integers.
  const limit = 2 ** 31;
  if ((2 * height) * maskHeight >= limit || (2 * width) * maskWidth >= limit) {
    throw new ShapeError(
      `mask pooling: resizing masks of ${maskHeight}×${maskWidth} to ${height}×${width} needs ` +
        `2·h·h' and 2·w·w' below 2³¹`,
    );
  }
  return { channels, height, width, masks, maskHeight, maskWidth };
}
