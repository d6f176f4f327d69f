/**
 * Deno: built-in WebGPU (wgpu), onnxruntime-node.
 *
 * @module
 */
import type { Host } from "./host.ts";
import { openNavigatorGpu } from "./navigator_gpu.ts";
import { ortNodeEngine } from "./ort_node.ts";

/** Deno. */
export const deno: Host = {
  name: "Deno",
  adapterHint: "on Debian or Ubuntu, `apt-get install mesa-vulkan-drivers` gives a software one",
  networksOnGpu: true,
  openGpu: openNavigatorGpu,
  cpuEngine: (options) => ortNodeEngine(options),
};
