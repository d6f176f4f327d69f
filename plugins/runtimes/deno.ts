/**
 * Deno: built-in WebGPU (wgpu), onnxruntime-node.
 *
 * @module
 */
import type { Host } from "./host.ts";
import { ortNodeEngine } from "./ort_node.ts";

/** Deno. */
export const deno: Host = {
  name: "Deno",
  adapterHint: "on Debian or Ubuntu, `apt-get install mesa-vulkan-drivers` gives a software one",
  networksOnGpu: true,
  openGpu() {
    const { gpu } = navigator;
    return Promise.resolve(
      gpu
        ? {
          requestAdapter: () => gpu.requestAdapter({ powerPreference: "high-performance" }),
          close() {},
        }
        : null,
    );
  },
  cpuEngine: (options) => ortNodeEngine(options),
};
