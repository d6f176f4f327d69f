/**
 * Mask pooling: the mean of the dense features under each mask.
 *
 * @module
 */
import type { Device } from "../../lib/runtime.ts";
import {
  checkMaskPoolingOptions,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type PooledMasks,
} from "./contract.ts";
import { CpuMaskPooling } from "./cpu_graph.ts";
import { GpuMaskPooling } from "./gpu.ts";

export { type MaskPoolingInput, type MaskPoolingOptions, PooledMasks } from "./contract.ts";

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
  readonly #kernel: GpuMaskPooling | CpuMaskPooling;

  /**
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
   * @param input Features D×h×w and mask logits N×h'×w', float32, on the host or the device.
   * @returns `pooled` N×D and `area` N, on the device that computed them; the caller disposes of
   *   them. A mask that covers nothing pools to the zero vector; {@linkcode PooledMasks.empty}
   *   tells which.
   * @throws {ShapeError} If an input's type, rank or sizes don't fit.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  run(input: MaskPoolingInput): Promise<PooledMasks> {
    try {
      this.#device.assertAlive();
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#kernel.run(input);
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
 * @param input Features D×h×w and mask logits N×h'×w', float32, on the host or the device.
 * @param options Hard or soft.
 * @returns `pooled` N×D and `area` N; the caller disposes of them.
 * @throws {ShapeError} If an input's type, rank or sizes don't fit.
 * @throws {OptionError} If the mode is unknown.
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
