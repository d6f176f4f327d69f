/**
 * The browser: `navigator.gpu`, onnxruntime-web.
 *
 * @module
 */
import type { Host } from "./host.ts";
import { ortWebEngine } from "./ort_web.ts";

/** A browser's window or worker. */
export const browser: Host = {
  name: "browser",
  adapterHint: "use a browser with WebGPU switched on, over https or from localhost",
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
  cpuEngine: (options) => ortWebEngine(options),
};
