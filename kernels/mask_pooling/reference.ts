/**
 * Mask pooling in float64: slow, and short enough to be seen right. It judges the kernels.
 *
 * @module
 */
import { fromFloat16 } from "../../lib/float16.ts";
import { type DType, HostTensor, type Tensor } from "../../lib/tensor.ts";
import {
  checkMaskPooling,
  checkMaskPoolingCotangent,
  checkMaskPoolingOptions,
  emptyArea,
  type MaskPoolingCotangent,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type MaskPoolingSizes,
} from "./contract.ts";

/** Result of the reference. */
export interface MaskPoolingReference {
  /** F_C, [B×]N×D. */
  readonly pooled: HostTensor<"float64">;
  /** Sums of weights, [B×]N. */
  readonly area: HostTensor<"float64">;
  /** Logits after the resize, [B×]N×h×w. */
  readonly resized: HostTensor<"float64">;
}

/** Gradients of a scalar loss. */
export interface MaskPoolingReferenceGradients {
  /** By the features, [B×]D×h×w. */
  readonly features: HostTensor<"float64">;
  /** By the mask logits, [B×]N×h'×w'; zero when the mode is hard. */
  readonly maskLogits: HostTensor<"float64">;
}

const dtypes: readonly DType[] = ["float16", "float32", "float64"];

/**
 * Mask pooling as its definition reads: `F_C[n] = Σ_p a_np X_p / (Σ_p a_np + ε)`, ε = 1e-8.
 *
 * @param input Features [B×]D×h×w and mask logits [B×]N×h'×w', on the host.
 * @param options Hard or soft.
 * @throws {ShapeError} If the shapes don't fit.
 * @throws {OptionError} If the mode is unknown.
 */
export async function maskPoolingReference(
  input: MaskPoolingInput,
  options: MaskPoolingOptions,
): Promise<MaskPoolingReference> {
  const { sizes, images } = await forward(input, options);
  const { masks, channels, height, width } = sizes;
  return {
    pooled: joined(sizes, [masks, channels], images.map(({ pooled }) => pooled)),
    area: joined(sizes, [masks], images.map(({ area }) => area)),
    resized: joined(sizes, [masks, height, width], images.map(({ resized }) => resized)),
  };
}

/**
 * The exact vector-Jacobian product of {@linkcode maskPoolingReference}:
 *
 *     ∂L/∂X_dp = Σ_n g_nd a_np / (A_n + ε)
 *     ∂L/∂a_np = Σ_d g_nd (X_dp − F_nd) / (A_n + ε),   ∂a/∂m = a(1 − a) when soft
 *
 * followed by the adjoint of the bilinear resize.
 *
 * @param input Features [B×]D×h×w and mask logits [B×]N×h'×w'.
 * @param cotangent ∂L/∂F_C, [B×]N×D.
 * @param options Hard or soft.
 */
export async function maskPoolingGradients(
  input: MaskPoolingInput,
  cotangent: MaskPoolingCotangent,
  options: MaskPoolingOptions,
): Promise<MaskPoolingReferenceGradients> {
  const { sizes, images } = await forward(input, options);
  checkMaskPoolingCotangent(cotangent, sizes, dtypes);
  const { masks, channels, height, width, maskHeight, maskWidth } = sizes;
  const byPooled = await imagesOf(cotangent.pooled, masks * channels);
  const grads = images.map((image, b) => backward(sizes, image, byPooled[b]!, options));
  return {
    features: joined(sizes, [channels, height, width], grads.map(({ features }) => features)),
    maskLogits: joined(
      sizes,
      [masks, maskHeight, maskWidth],
      grads.map(({ maskLogits }) => maskLogits),
    ),
  };
}

/** One image's run. */
interface Image {
  x: Float64Array;
  resized: Float64Array;
  weights: Float64Array;
  area: Float64Array;
  pooled: Float64Array;
}

function backward(
  sizes: MaskPoolingSizes,
  run: Image,
  g: Float64Array,
  options: MaskPoolingOptions,
): { features: Float64Array; maskLogits: Float64Array } {
  const { masks, channels, height, width, maskHeight, maskWidth } = sizes;
  const pixels = height * width;
  const features = new Float64Array(channels * pixels);
  const maskLogits = new Float64Array(masks * maskHeight * maskWidth);
  for (let n = 0; n < masks; n++) {
    const total = run.area[n]! + emptyArea;
    for (let p = 0; p < pixels; p++) {
      const a = run.weights[n * pixels + p]!;
      let byWeight = 0;
      for (let d = 0; d < channels; d++) {
        const at = n * channels + d;
        features[d * pixels + p]! += g[at]! * a / total;
        byWeight += g[at]! * (run.x[d * pixels + p]! - run.pooled[at]!) / total;
      }
      if (options.mode === "hard") continue;
      const byLogit = byWeight * a * (1 - a);
      for (const { index, share } of taps(sizes, p)) {
        maskLogits[n * maskHeight * maskWidth + index]! += share * byLogit;
      }
    }
  }
  return { features, maskLogits };
}

async function forward(input: MaskPoolingInput, options: MaskPoolingOptions) {
  checkMaskPoolingOptions(options);
  const sizes = checkMaskPooling(input, dtypes);
  const { masks, channels, height, width, maskHeight, maskWidth } = sizes;
  const features = await imagesOf(input.features, channels * height * width);
  const maskLogits = await imagesOf(input.maskLogits, masks * maskHeight * maskWidth);
  return { sizes, images: features.map((x, b) => pool(sizes, x, maskLogits[b]!, options)) };
}

function pool(
  sizes: MaskPoolingSizes,
  x: Float64Array,
  m: Float64Array,
  options: MaskPoolingOptions,
): Image {
  const { masks, channels, height, width, maskHeight, maskWidth } = sizes;
  const pixels = height * width;
  const resized = new Float64Array(masks * pixels);
  for (let p = 0; p < pixels; p++) {
    for (const { index, share } of taps(sizes, p)) {
      for (let n = 0; n < masks; n++) {
        resized[n * pixels + p]! += share * m[n * maskHeight * maskWidth + index]!;
      }
    }
  }
  const weights = resized.map((logit) =>
    options.mode === "hard" ? Number(logit > 0) : 1 / (1 + Math.exp(-logit))
  );
  const area = new Float64Array(masks);
  const pooled = new Float64Array(masks * channels);
  for (let n = 0; n < masks; n++) {
    for (let p = 0; p < pixels; p++) area[n]! += weights[n * pixels + p]!;
    for (let d = 0; d < channels; d++) {
      let sum = 0;
      for (let p = 0; p < pixels; p++) sum += weights[n * pixels + p]! * x[d * pixels + p]!;
      pooled[n * channels + d] = sum / (area[n]! + emptyArea);
    }
  }
  return { x, resized, weights, area, pooled };
}

/** The logits that a pixel of the feature map interpolates, with their shares. */
function taps(sizes: MaskPoolingSizes, pixel: number): { index: number; share: number }[] {
  const { height, width, maskHeight, maskWidth } = sizes;
  const out: { index: number; share: number }[] = [];
  for (const y of axisTaps(Math.floor(pixel / width), maskHeight, height)) {
    for (const x of axisTaps(pixel % width, maskWidth, width)) {
      out.push({ index: y.index * maskWidth + x.index, share: y.share * x.share });
    }
  }
  return out;
}

/** The two cells of an axis between whose centres that of output cell `i` lies. */
function axisTaps(i: number, sizeIn: number, sizeOut: number): { index: number; share: number }[] {
  const position = Math.max(0, (i + 0.5) * sizeIn / sizeOut - 0.5);
  const low = Math.min(Math.floor(position), sizeIn - 1);
  const high = Math.min(low + 1, sizeIn - 1);
  const fraction = position - low;
  return [{ index: low, share: 1 - fraction }, { index: high, share: fraction }];
}

/** The elements of every image. */
async function imagesOf(tensor: Tensor, size: number): Promise<Float64Array[]> {
  const data = await tensor.read() as Uint16Array | Float32Array | Float64Array;
  const values = tensor.dtype === "float16"
    ? Float64Array.from(data, fromFloat16)
    : Float64Array.from(data);
  return Array.from(
    { length: values.length / size },
    (_, b) => values.slice(b * size, (b + 1) * size),
  );
}

/** Every image's elements in one tensor, with a batch axis where the input has one. */
function joined(
  { batch }: MaskPoolingSizes,
  shape: readonly number[],
  images: readonly Float64Array[],
): HostTensor<"float64"> {
  const out = new HostTensor("float64", batch === null ? shape : [batch, ...shape]);
  images.forEach((image, b) => out.data.set(image, b * image.length));
  return out;
}
