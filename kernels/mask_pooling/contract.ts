/**
 * What mask pooling takes and gives, on every engine.
 *
 * @module
 */
import { OptionError, ShapeError } from "../../lib/errors.ts";
import { type DType, formatShape, type Tensor } from "../../lib/tensor.ts";
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
  /** Refuse NaN and infinity in the inputs by name; off by default. */
  readonly checkFinite?: boolean;
}

/** Inputs of mask pooling: float32, or float16; both with or both without a batch axis. */
export interface MaskPoolingInput {
  /** Dense features X, [B×]D×h×w. */
  readonly features: Tensor;
  /** Mask logits M, [B×]N×h'×w'; resized bilinearly to h×w where the sizes differ. */
  readonly maskLogits: Tensor;
}

/** Gradient of a loss by the output of mask pooling. */
export interface MaskPoolingCotangent {
  /** ∂L/∂F_C, [B×]N×D. */
  readonly pooled: Tensor;
}

/** Result of mask pooling. Whoever receives it disposes of it. */
export class PooledMasks implements Disposable {
  /** Pooled features F_C, [B×]N×D, where the kernel ran. */
  readonly pooled: Tensor<"float32">;
  /** Sum of every mask's weights at the features' resolution, [B×]N, in cells of the feature map. */
  readonly area: Tensor<"float32">;

  /** Made by the kernels. */
  constructor(pooled: Tensor<"float32">, area: Tensor<"float32">) {
    this.pooled = pooled;
    this.area = area;
  }

  /**
   * Which masks cover nothing: area ≤ 1e-8; [B×]N, row-major. Such a row of `pooled` is the zero vector when the
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

/** Gradients of a loss by the inputs of mask pooling. Whoever receives them disposes of them. */
export class MaskPoolingGradients implements Disposable {
  /** ∂L/∂X, [B×]D×h×w. */
  readonly features: Tensor<"float32">;
  /** ∂L/∂M, [B×]N×h'×w'; null where the masks are hard, which no small change of a logit alters. */
  readonly maskLogits: Tensor<"float32"> | null;

  /** Made by the kernels. */
  constructor(features: Tensor<"float32">, maskLogits: Tensor<"float32"> | null) {
    this.features = features;
    this.maskLogits = maskLogits;
  }

  /** Frees the tensors. */
  dispose(): void {
    this.features.dispose();
    this.maskLogits?.dispose();
  }

  /** As {@linkcode MaskPoolingGradients.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Sizes of one run. */
export interface MaskPoolingSizes {
  /** B; null where the inputs have no batch axis. */
  readonly batch: number | null;
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
 * @throws {ShapeError} If one has another element type or rank, an empty axis, or another B.
 */
export function checkMaskPooling(
  input: MaskPoolingInput,
  dtypes: readonly DType[] = ["float32"],
): MaskPoolingSizes {
  const { features, maskLogits } = input;
  const lead = features.shape.length === 4 ? ["B"] : [];
  checkOperand("mask pooling", "features", features, [...lead, "D", "h", "w"], dtypes);
  checkOperand("mask pooling", "maskLogits", maskLogits, [...lead, "N", "h'", "w'"], dtypes);
  const [channels, height, width] = features.shape.slice(-3) as [number, number, number];
  const [masks, maskHeight, maskWidth] = maskLogits.shape.slice(-3) as [number, number, number];
  // The kernels locate pixels in 32-bit integers.
  const limit = 2 ** 31;
  if ((2 * height) * maskHeight >= limit || (2 * width) * maskWidth >= limit) {
    throw new ShapeError(
      `mask pooling: resizing masks of ${maskHeight}×${maskWidth} to ${height}×${width} needs ` +
        `2·h·h' and 2·w·w' below 2³¹`,
    );
  }
  const sizes = { channels, height, width, masks, maskHeight, maskWidth };
  if (lead.length === 0) return { batch: null, ...sizes };
  const [ofFeatures, ofMasks] = [features.shape[0]!, maskLogits.shape[0]!];
  if (ofFeatures !== ofMasks) {
    throw new ShapeError(
      `mask pooling: features have a batch of ${ofFeatures}, maskLogits of ${ofMasks}; both must ` +
        `be B`,
    );
  }
  return { batch: ofFeatures, ...sizes };
}

/**
 * Checks the gradient by the output against the sizes of a run.
 *
 * @throws {ShapeError} If it has another element type or shape than the output.
 */
export function checkMaskPoolingCotangent(
  cotangent: MaskPoolingCotangent,
  sizes: MaskPoolingSizes,
  dtypes: readonly DType[] = ["float32"],
): void {
  const { dtype, shape } = cotangent.pooled;
  if (!dtypes.includes(dtype)) {
    throw new ShapeError(
      `mask pooling: the gradient by pooled must be ${dtypes.join(" or ")}, got ${dtype}`,
    );
  }
  const lead = sizes.batch === null ? [] : [sizes.batch];
  const wanted = formatShape([...lead, sizes.masks, sizes.channels]);
  if (formatShape(shape) !== wanted) {
    throw new ShapeError(
      `mask pooling: the gradient by pooled must be ${wanted}, as the output is, got ${
        formatShape(shape)
      }`,
    );
  }
}
