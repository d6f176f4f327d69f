/**
 * The frame of tests that need a WebGPU device.
 *
 * @module
 */
import assert from "node:assert/strict";
import { KernelContext } from "../../kernels/dispatch/context.ts";
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { DeviceError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";

/** What a test on WebGPU is given. */
export interface OnGpu {
  readonly device: Device;
  readonly gpu: GPUDevice;
  readonly context: KernelContext;
}

/** A device with WebGPU for the kernels alone; null where there is no adapter. */
export async function acquireGpu(): Promise<Device | null> {
  try {
    return await acquireDevice("webgpu", { networks: "cpu" });
  } catch (error) {
    if (error instanceof DeviceError) return null;
    throw error;
  }
}

const probe = await acquireGpu();
/** Whether tests on WebGPU are skipped: there is no adapter, and none is required. */
export const ignore = probe === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1";
await probe?.dispose();

/**
 * Registers a test that gets a device of its own and must leave no buffer: skipped without an
 * adapter, failed where one is required.
 */
export function onGpu(name: string, body: (on: OnGpu) => Promise<void> | void): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      const device = await acquireGpu();
      assert(device?.gpu, "OVS_REQUIRE_GPU is set, but there is no WebGPU adapter");
      const { gpu } = device;
      try {
        await body({ device, gpu, context: KernelContext.of(gpu) });
        assert.equal(liveBuffers(gpu), 0, "buffers are left");
      } finally {
        await device.dispose();
      }
    },
  });
}
