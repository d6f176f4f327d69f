/**
 * Mask pooling in float64: slow, and short enough to be seen right. It judges the kernels.
 *
 * @module
 */
import { HostTensor, type Tensor } from "../../lib/tensor.ts";
import {
  checkMaskPooling,
  checkMaskPoolingOptions,
  emptyArea,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type MaskPoolingSizes,
} from "./contract.ts";

/** Result of the reference. */
export interface MaskPoolingReference {
  /** F_C, N×D. */
  readonly pooled: HostTensor<"float64">;
  /** Sums of weights, N. */
  readonly area: HostTensor<"float64">;
  /** Logits after the resize, N×h×w. */
  readonly resized: HostTensor<"float64">;
}

/** Gradients of a scalar loss. */
export interface MaskPoolingReferenceGradients {
  /** By the features, D×h×w. */
  readonly features: HostTensor<"float64">;
  /** By the mask logits, N×h'×w'; zero when the mode is hard. */
  readonly maskLogits: HostTensor<"float64">;
}

/**
 * Mask pooling as its definition reads: `F_C[n] = Σ_p a_np X_p / (Σ_p a_np + ε)`, ε = 1e-8.
 *
 * @param input Features D×h×w and mask logits N×h'×w', on the host, in float32 or float64.
 * @param options Hard or soft.
 * @throws {ShapeError} If the shapes don't fit.
 * @throws {OptionError} If the mode is unknown.
 */
export async function maskPoolingReference(
  input: MaskPoolingInput,
  options: MaskPoolingOptions,
): Promise<MaskPoolingReference> {
  const run = await forward(input, options);
  const { masks, channels, height, width } = run.sizes;
  return {
    pooled: new HostTensor("float64", [masks, channels], run.pooled),
    area: new HostTensor("float64", [masks], run.area),
    resized: new HostTensor("float64", [masks, height, width], run.resized),
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
 * @param input Features D×h×w and mask logits N×h'×w'.
 * @param cotangent ∂L/∂F_C, N×D.
 * @param options Hard or soft.
 */
export async function maskPoolingGradients(
  input: MaskPoolingInput,
  cotangent: HostTensor<"float64">,
  options: MaskPoolingOptions,
): Promise<MaskPoolingReferenceGradients> {
  const run = await forward(input, options);
  const { masks, channels, height, width, maskHeight, maskWidth } = run.sizes;
  const pixels = height * width;
  const g = cotangent.data;
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
      for (const { index, share } of taps(run.sizes, p)) {
        maskLogits[n * maskHeight * maskWidth + index]! += share * byLogit;
      }
    }
  }
  return {
    features: new HostTensor("float64", [channels, height, width], features),
    maskLogits: new HostTensor("float64", [masks, maskHeight, maskWidth], maskLogits),
  };
}

async function forward(input: MaskPoolingInput, options: MaskPoolingOptions) {
  checkMaskPoolingOptions(options);
  const sizes = checkMaskPooling(input, ["float32", "float64"]);
  const { masks, channels, height, width, maskHeight, maskWidth } = sizes;
  const x = await numbers(input.features);
  const m = await numbers(input.maskLogits);
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
  return { sizes, x, resized, weights, area, pooled };
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

async function numbers(tensor: Tensor): Promise<Float64Array> {
  return Float64Array.from(await tensor.read() as Float32Array | Float64Array);
}
