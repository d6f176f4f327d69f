/**
 * Node: WebGPU by the npm package `webgpu` (Dawn), onnxruntime-node.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import type { Host } from "./host.ts";
import { ortNodeEngine } from "./ort_node.ts";
import { reason } from "./ort_session.ts";

/** Node. */
export const node: Host = {
  name: "Node",
  adapterHint: "Dawn needs a driver of Vulkan 1.1 or later; Debian 12's mesa-vulkan-drivers is " +
    "too old for it, the driver inside Debian's chromium package works: " +
    "VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json",
  // onnxruntime-web looks for `navigator.gpu` and other things of a browser.
  networksOnGpu: false,
  async openGpu() {
    let dawn: typeof import("webgpu");
    try {
      dawn = await import("webgpu");
    } catch (error) {
      throw new DeviceError(
        `WebGPU in Node needs the package webgpu: run \`npm install webgpu@0.6.2\` (${
          reason(error)
        })`,
        { cause: error },
      );
    }
    // GPUBufferUsage and the other constants, which browsers and Deno have as globals.
    for (const [name, value] of Object.entries(dawn.globals)) {
      if (!(name in globalThis)) {
        Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
      }
    }
    // Dawn answers requests only while this object is reachable, and Node can't end before it goes.
    let gpu: GPU | null = dawn.create([]);
    return {
      async requestAdapter() {
        return await gpu?.requestAdapter({ powerPreference: "high-performance" }) ?? null;
      },
      close() {
        gpu = null;
      },
    };
  },
  cpuEngine: (options) => ortNodeEngine(options),
};
