/**
 * The laws of the kernels, each as a check of its own.
 *
 * @module
 */
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import type { Device } from "../../lib/runtime.ts";
import { acquireDevice, type AcquireOptions } from "../../plugins/runtimes/mod.ts";
import { webgpuImplementation } from "../kernels/conformance.ts";
import { float32Tolerance, laws } from "../kernels/laws.ts";
import { type Check, ensure } from "./check.ts";

/**
 * Checks of the WGSL kernels on a device that they share; the last one disposes of it.
 *
 * @param options How to acquire the device.
 * @param seed Of the generated cases.
 * @param cases Generated cases for each law.
 */
export function kernelChecks(options: AcquireOptions, seed: number, cases: number): Check[] {
  let device: Device | null = null;
  const open = async () => {
    device ??= await acquireDevice("webgpu", { ...options, networks: "cpu" });
    ensure(device.gpu !== null, "no WebGPU device");
    return device.gpu;
  };
  return [
    ...laws.map((law) => ({
      name: `kernels: ${law.name}`,
      async run() {
        const implementation = webgpuImplementation(await open());
        const result = await law.run(implementation, { seed, cases, tolerance: float32Tolerance });
        ensure(result.ok, result.message ?? `off by ${result.maxError}`);
      },
    })),
    {
      name: "kernels: no buffer is left",
      async run() {
        const left = liveBuffers(await open());
        await device?.dispose();
        ensure(left === 0, `${left} buffers are left`);
      },
    },
  ];
}
