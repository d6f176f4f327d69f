/**
 * Gradient-Free Aggregation (GFA): fusion of pooled features and query embeddings without weights.
 *
 * @module
 */
import type { Device } from "../../lib/runtime.ts";
import {
  checkGfaOptions,
  type FusedEmbeddings,
  type GfaInput,
  type GfaOptions,
} from "./contract.ts";
import { CpuGfa } from "./cpu_graph.ts";
import { GpuGfa } from "./gpu.ts";

export { FusedEmbeddings, type GfaInput, type GfaOptions } from "./contract.ts";

/**
 * GFA on a device, for repeated use: it keeps its compiled session (CPU) or its scratch memory
 * (WebGPU) until it is disposed of.
 *
 * The rows of both inputs are first scaled to unit length (a zero row, such as that of an empty
 * mask, stays zero), and it is these normalised rows that are aggregated. Then
 *
 *     Z = softmax_rows(λ F_C F_Qᵀ),  P = Norm(Z)ᵀ
 *     F_Q∞ = (1−ω) (I − ω² P Z)⁻¹ (F_Q + ω P F_C)
 *     F_C∞ = ω Z F_Q∞ + (1−ω) F_C
 *
 * the limit of the random walk of "Stepping Out of Similar Semantic Space for Open-Vocabulary
 * Segmentation" (arXiv 2506.16058), through a system of the queries' size, so that the cost is
 * linear in N_C. Output rows are convex combinations of the normalised input rows: their length is
 * at most 1 and not 1 in general.
 *
 * @example
 * ```ts ignore
 * const gfa = new Gfa(device, { omega: 0.5, lambda: 10 });
 * using fused = await gfa.run({ clip: pooled, query: queryEmbeddings });
 * const rows = await fused.clip.read(); // N_C×D
 * await gfa.dispose();
 * ```
 */
export class Gfa {
  readonly #device: Device;
  readonly #kernel: GpuGfa | CpuGfa;

  /**
   * @param device Its WebGPU device runs the WGSL kernels; without one its engine runs the graph.
   * @param options ω and λ.
   * @throws {OptionError} If ω is not in (0, 1) or λ not in (0, 1e30].
   */
  constructor(device: Device, options: GfaOptions) {
    checkGfaOptions(options);
    this.#device = device;
    this.#kernel = device.gpu
      ? new GpuGfa(device.gpu, options)
      : new CpuGfa(device.engine, options);
  }

  /**
   * Fuses pooled features and query embeddings.
   *
   * @param input `clip` N_C×D and `query` N_Q×D, float32, on the host or the device.
   * @returns `clip` N_C×D (F_C∞) and `query` N_Q×D (F_Q∞), on the device that computed them; the
   *   caller disposes of them.
   * @throws {ShapeError} If an input's type, rank or sizes don't fit.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  run(input: GfaInput): Promise<FusedEmbeddings> {
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
 * Fuses once; see {@linkcode Gfa}, which is cheaper when used repeatedly.
 *
 * @param device Where to run.
 * @param input `clip` N_C×D and `query` N_Q×D, float32, on the host or the device.
 * @param options ω in (0, 1) and λ in (0, 1e30].
 * @returns `clip` N_C×D and `query` N_Q×D; the caller disposes of them.
 * @throws {ShapeError} If an input's type, rank or sizes don't fit.
 * @throws {OptionError} If ω or λ is outside its domain.
 * @throws {DeviceError} If the device's memory doesn't hold the work.
 * @throws {DeviceLostError} If the WebGPU device has gone away.
 *
 * @example
 * ```ts ignore
 * using fused = await gfa(device, { clip, query }, { omega: 0.5, lambda: 10 });
 * console.log(fused.clip.shape);
 * ```
 */
export async function gfa(
  device: Device,
  input: GfaInput,
  options: GfaOptions,
): Promise<FusedEmbeddings> {
  const kernel = new Gfa(device, options);
  try {
    return await kernel.run(input);
  } finally {
    await kernel.dispose();
  }
}
