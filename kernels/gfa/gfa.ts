/**
 * Gradient-Free Aggregation (GFA): fusion of pooled features and query embeddings without weights.
 *
 * @module
 */
import { OptionError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import type { GpuTensor } from "../dispatch/gpu_tensor.ts";
import {
  checkGfaOptions,
  type FusedEmbeddings,
  type GfaCotangent,
  type GfaGradients,
  type GfaInput,
  type GfaOptions,
} from "./contract.ts";
import { CpuGfa } from "./cpu_graph.ts";
import { GpuGfa } from "./gpu.ts";

export {
  FusedEmbeddings,
  type GfaAffinity,
  type GfaCotangent,
  GfaGradients,
  type GfaInput,
  type GfaMethod,
  type GfaOptions,
} from "./contract.ts";

/** What an engine's kernel offers. */
interface GfaKernel {
  run(input: GfaInput, areas?: GpuTensor<"float32"> | null): Promise<FusedEmbeddings>;
  gradients(input: GfaInput, cotangent: GfaCotangent): Promise<GfaGradients>;
  dispose(): void | Promise<void>;
}

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
  readonly #kernel: GfaKernel;

  /**
   * Makes a kernel for repeated use on one device.
   *
   * @param device Its WebGPU device runs the WGSL kernels; without one its engine runs the graph.
   * @param options ω and λ, and how to compute; see {@linkcode GfaOptions}.
   * @throws {OptionError} If an option is unknown or outside its domain.
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
   * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D, float32 or float16, on the host or the
   *   device.
   * @param areas On WebGPU, without a batch axis: N_C areas of masks in the device's memory. Rows of
   *   `clip` whose area counts as empty (at most 1e-8) take no part, as if `clip` did not have them;
   *   their rows of F_C∞ are (1−ω)F_C. Nothing has to be read back to leave them out. Where no row
   *   takes part, F_Q∞ has the directions of F_Q.
   * @returns `clip` [B×]N_C×D (F_C∞) and `query` [B×]N_Q×D (F_Q∞), float32, on the device that
   *   computed them, the method and its error bound; the caller disposes of them.
   * @throws {ShapeError} If an input's type, rank or sizes don't fit.
   * @throws {OptionError} If the affinity is raw and the walk may diverge.
   * @throws {InputError} If an input isn't finite and `checkFinite` is on.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  async run(
    input: GfaInput,
    areas: GpuTensor<"float32"> | null = null,
  ): Promise<FusedEmbeddings> {
    this.#device.assertAlive();
    if (areas !== null && this.#kernel instanceof CpuGfa) {
      throw new OptionError("gfa: areas are for WebGPU; on the CPU leave the rows out of clip");
    }
    return await this.#kernel.run(input, areas);
  }

  /**
   * The gradients of a loss by the inputs, from those by the outputs. They are exact for the limit,
   * by one more solve and no unrolling; with `method: "steps"` they are those of the finite walk.
   * The gradient of a zero row is zero, and all are with `gradient: "stop"`.
   *
   * @param input As in {@linkcode Gfa.run}.
   * @param cotangent The loss's gradients by `clip` and `query` of the result, of their shapes.
   * @returns Gradients by `clip` [B×]N_C×D and `query` [B×]N_Q×D, float32, on the device that
   *   computed them; the caller disposes of them.
   * @throws {ShapeError} If a type, rank or size doesn't fit.
   * @throws {OptionError} If the affinity is raw and the walk may diverge.
   * @throws {InputError} If an input isn't finite and `checkFinite` is on.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
  async gradients(input: GfaInput, cotangent: GfaCotangent): Promise<GfaGradients> {
    this.#device.assertAlive();
    return await this.#kernel.gradients(input, cotangent);
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
 * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D, on the host or the device.
 * @param options ω in (0, 1) and λ in (0, 1e30], and how to compute.
 * @returns `clip` [B×]N_C×D and `query` [B×]N_Q×D; the caller disposes of them.
 * @throws {ShapeError} If an input's type, rank or sizes don't fit.
 * @throws {OptionError} If an option is unknown or outside its domain, or the walk may diverge.
 * @throws {InputError} If an input isn't finite and `checkFinite` is on.
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
