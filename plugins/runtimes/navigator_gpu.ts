/**
 * WebGPU as browsers and Deno offer it.
 *
 * @module
 */
import type { Host } from "./host.ts";

/** Opens `navigator.gpu`; null where there is none. */
export const openNavigatorGpu: Host["openGpu"] = () => {
  const { gpu } = navigator;
  return Promise.resolve(
    gpu
      ? {
        requestAdapter: () => gpu.requestAdapter({ powerPreference: "high-performance" }),
        close() {},
      }
      : null,
  );
};
