/**
 * Mask pooling: the mean of the dense features under each mask.
 *
 * @module
 */
import type { Device } from "../../lib/runtime.ts";
import {
  checkMaskPoolingOptions,
  type MaskPoolingCotangent,
  type MaskPoolingGradients,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type PooledMasks,
} from "./contract.ts";
import { CpuMaskPooling } from "./cpu_graph.ts";
import { GpuMaskPooling } from "./gpu.ts";

export {
  type MaskPoolingCotangent,
  MaskPoolingGradients,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  PooledMasks,
} from "./contract.ts";

/** What an engine's kernel offers. */
interface MaskPoolingKernel {
  run(input: MaskPoolingInput): Promise<PooledMasks>;
  gradients(
    input: MaskPoolingInput,
    cotangent: MaskPoolingCotangent,
  ): Promise<MaskPoolingGradients>;
  dispose(): void | Promise<void>;
}

/**
 * Mask pooling on a device, for repeated use: it keeps its compiled session (CPU) or its scratch
 * memory (WebGPU) until it is disposed of.
 *
 * `F_C[n] = Σ_p a_np X_p / (Σ_p a_np + ε)` with ε = 1e-8, where `a` is `[M > 0]` (hard) or
 * `sigmoid(M)` (soft), and M is first resized to the features' h×w where the sizes differ:
 * bilinearly, with half-pixel centres and no antialiasing (PyTorch's `align_corners=false`).
 * The sum `|X|·area` must stay within float32's range.
 *
 * @example
 * ```ts ignore
 * const pooling = new MaskPooling(device, { mode: "hard" });
 * using result = await pooling.run({ features, maskLogits });
 * const rows = await result.pooled.read(); // N×D
 * await pooling.dispose();
 * ```
 */
export class MaskPooling {
  readonly #device: Device;
  readonly #kernel: MaskPoolingKernel;

  /**
   * Makes a kernel for repeated use on one device.
   *
   * @param device Its WebGPU device runs the WGSL kernels; without one its engine runs the graph.
   * @param options Hard or soft.
   * @throws {OptionError} If the mode is unknown.
   */
  constructor(device: Device, options: MaskPoolingOptions) {
    checkMaskPoolingOptions(options);
    this.#device = device;
    this.#kernel = device.gpu
      ? new GpuMaskPooling(device.gpu, options)
      : new CpuMaskPooling(device.engine, options);
  }

  /**
   * Pools the features under each mask.
   *
   * @param input Features [B×]D×h×w and mask logits [B×]N×h'×w', float32 or float16, on the host or
   *   the device.
   * @returns `pooled` [B×]N×D and `area` [B×]N, float32, on the device that computed them; the
   *   caller disposes of them. A mask that covers nothing pools to the zero vector;
   *   {@linkcode PooledMasks.empty} tells which.
   * @throws {ShapeError} If an input's type, rank or sizes don't fit.
   * @throws {InputError} If an input isn't finite and `checkFinite` is on.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  async run(input: MaskPoolingInput): Promise<PooledMasks> {
    this.#device.assertAlive();
    return await this.#kernel.run(input);
  }

  /**
   * The gradients of a loss by the features and, when soft, by the mask logits.
   *
   * @param input As in {@linkcode MaskPooling.run}.
   * @param cotangent The loss's gradient by `pooled`, of its shape.
   * @returns Gradients by `features` [B×]D×h×w and `maskLogits` [B×]N×h'×w' (null when hard),
   *   float32, on the device that computed them; the caller disposes of them.
   * @throws {ShapeError} If a type, rank or size doesn't fit.
   * @throws {InputError} If an input isn't finite and `checkFinite` is on.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  async gradients(
    input: MaskPoolingInput,
    cotangent: MaskPoolingCotangent,
  ): Promise<MaskPoolingGradients> {
    this.#device.assertAlive();
    return await this.#kernel.gradients(input, cotangent);
  }

  /** Frees the session or the scratch memory; results stay valid. */
  async dispose(): Promise<void> {
    await this.#kernel.dispose();
  }
}

/**
 * Pools once; see {@linkcode MaskPooling}, which is cheaper when used repeatedly.
 *
 * @param device Where to run.
 * @param input Features [B×]D×h×w and mask logits [B×]N×h'×w', on the host or the device.
 * @param options Hard or soft.
 * @returns `pooled` [B×]N×D and `area` [B×]N; the caller disposes of them.
 * @throws {ShapeError} If an input's type, rank or sizes don't fit.
 * @throws {OptionError} If the mode is unknown.
 * @throws {InputError} If an input isn't finite and `checkFinite` is on.
 * @throws {DeviceError} If the device's memory doesn't hold the work.
 * @throws {DeviceLostError} If the WebGPU device has gone away.
 *
 * @example
 * ```ts ignore
 * using result = await maskPooling(device, { features, maskLogits }, { mode: "hard" });
 * console.log(result.pooled.shape, await result.empty());
 * ```
 */
export async function maskPooling(
  device: Device,
  input: MaskPoolingInput,
  options: MaskPoolingOptions,
): Promise<PooledMasks> {
  const kernel = new MaskPooling(device, options);
  try {
    return await kernel.run(input);
  } finally {
    await kernel.dispose();
  }
}
