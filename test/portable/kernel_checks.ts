/**
 * The laws of the kernels, each as a check of its own.
 *
 * @module
 */
import { KernelContext } from "../../kernels/dispatch/context.ts";
import type { GemmKernel } from "../../kernels/dispatch/gemm.ts";
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { kernelsOn, type KernelsOnDevice } from "../../kernels/testing.ts";
import type { Device } from "../../lib/runtime.ts";
import { acquireDevice, type AcquireOptions } from "../../plugins/runtimes/mod.ts";
import { concurrency, remembering } from "../kernels/conformance.ts";
import { allLaws } from "../kernels/laws.ts";
import { type Check, ensure, Skipped } from "./check.ts";

/** Laws that every matrix product has a part in. */
const productLaws = /^(gfa|mask pooling): (gradients agree|agrees) with the float64 reference$/;

/**
 * Checks of the kernels on a device that they share; the last one disposes of it.
 *
 * @param kind Which kernels: the WGSL ones, or the graphs of the CPU's engine.
 * @param options How to acquire the device.
 * @param seed Of the generated cases.
 * @param cases Generated cases for each law.
 */
export function kernelChecks(
  kind: "webgpu" | "cpu",
  options: AcquireOptions,
  seed: number,
  cases: number,
): Check[] {
  let opened: { device: Device; kernels: KernelsOnDevice; subject: KernelsOnDevice } | null = null;
  const open = async () => {
    if (opened === null) {
      const device = kind === "webgpu"
        ? await acquireDevice("webgpu", { ...options, networks: "cpu" })
        : await acquireDevice("cpu", { ...options, threads: 1 });
      const kernels = kernelsOn(device);
      opened = { device, kernels, subject: remembering(kernels) };
    }
    return opened;
  };
  const on = kind === "webgpu" ? "kernels" : "kernels on the CPU";
  return [
    ...allLaws.map((law) => ({
      name: `${on}: ${law.name}`,
      async run() {
        const { subject } = await open();
        const lack = law.lacks(subject);
        if (lack !== null) throw new Skipped(lack);
        const result = await law.run(subject, { seed, cases, concurrency });
        ensure(result.ok, `seed ${seed}, path ${result.path}: ${result.message}`);
        const share = (100 * result.maxError / result.tolerance || 0).toFixed(0);
        return `${result.cases} cases, error ${share} % of what is allowed`;
      },
    })),
    // Which kernel multiplies depends on device and size: here each of them has to.
    ...(kind === "cpu" ? [] : ["small", "tiled", "registers"] as const).map((gemm) => ({
      name: `${on}: matrix products, ${gemm}`,
      async run() {
        const { device, kernels } = await open();
        const context = KernelContext.of(device.gpu!);
        context.gemmKernel = gemm satisfies GemmKernel;
        try {
          for (const law of allLaws.filter(({ name }) => productLaws.test(name))) {
            const result = await law.run(kernels, { seed, cases: Math.min(cases, 20) });
            ensure(result.ok, `${law.name}: seed ${seed}, path ${result.path}: ${result.message}`);
          }
        } finally {
          context.gemmKernel = null;
        }
      },
    })),
    {
      name: `${on}: nothing is left`,
      async run() {
        const { device, kernels } = await open();
        await kernels[Symbol.asyncDispose]();
        const left = device.gpu === null ? 0 : liveBuffers(device.gpu);
        await device.dispose();
        ensure(left === 0, `${left} buffers are left`);
      },
    },
  ];
}
