/**
 * The browser: `navigator.gpu`, onnxruntime-web.
 *
 * @module
 */
import type { Host } from "./host.ts";
import { openNavigatorGpu } from "./navigator_gpu.ts";
import { ortWebEngine } from "./ort_web.ts";

/** A browser's window or worker. */
export const browser: Host = {
  name: "browser",
  adapterHint: "use a browser with WebGPU switched on, over https or from localhost",
  networksOnGpu: true,
  openGpu: openNavigatorGpu,
  cpuEngine: (options) => ortWebEngine(options),
};
