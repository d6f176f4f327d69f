/**
 * The laws of the kernels, run on a WebGPU device. It uses nothing of the runtime, so that the same
 * cases judge every WebGPU implementation.
 *
 * @module
 */
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { GpuGfa } from "../../kernels/gfa/gpu.ts";
import { GpuMaskPooling } from "../../kernels/mask_pooling/gpu.ts";
import { float32Tolerance, type Implementation, type LawResult, laws } from "./laws.ts";

/** The WGSL kernels on a device. */
export function webgpuImplementation(gpu: GPUDevice): Implementation {
  return {
    async maskPooling(input, options) {
      using kernel = new GpuMaskPooling(gpu, options);
      using out = await kernel.run(input);
      return {
        pooled: await out.pooled.read(),
        area: await out.area.read(),
        empty: await out.empty(),
      };
    },
    async gfa(input, options) {
      using kernel = new GpuGfa(gpu, options);
      using out = await kernel.run(input);
      return { clip: await out.clip.read(), query: await out.query.read() };
    },
  };
}

/**
 * Runs every law, and counts the buffers that are left.
 *
 * @param gpu The device.
 * @param seed Of the generated cases.
 * @param cases Generated cases per law.
 */
export async function kernelConformance(
  gpu: GPUDevice,
  seed: number,
  cases: number,
): Promise<LawResult[]> {
  const before = liveBuffers(gpu);
  const results: LawResult[] = [];
  for (const law of laws) {
    results.push(
      await law.run(webgpuImplementation(gpu), { seed, cases, tolerance: float32Tolerance }),
    );
  }
  const left = liveBuffers(gpu) - before;
  results.push({
    name: "no buffer is left",
    cases: 1,
    maxError: left,
    tolerance: 0,
    ok: left === 0,
    ...(left === 0 ? {} : { message: `${left} buffers are still alive` }),
  });
  return results;
}
