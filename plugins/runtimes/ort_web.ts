/**
 * ONNX Runtime in WebAssembly, for the browser's CPU and for WebGPU anywhere.
 *
 * @module
 */
import type { InferenceSession } from "onnxruntime-common";
import { DeviceError } from "../../lib/errors.ts";
import type { Engine, LoadOptions, Session } from "../../lib/runtime.ts";
import { modelError, type Ort, OrtSession, reason } from "./ort_session.ts";
import { withRuntimeDir } from "./quiet_driver.ts";

let library: Promise<Ort> | null = null;

async function importLibrary(): Promise<Ort> {
  try {
    return await import("onnxruntime-web/webgpu");
  } catch (error) {
    library = null;
    throw new DeviceError(
      "this engine needs onnxruntime-web 1.30: run `deno install`, or " +
        `\`npm install onnxruntime-web@1.30.0\` (${reason(error)})`,
      { cause: error },
    );
  }
}

// One WebAssembly instance serves all sessions, and it suspends while the GPU works: a second call
// that comes in meanwhile would corrupt its stack.
let last: Promise<unknown> = Promise.resolve();
function exclusively<T>(task: () => Promise<T>): Promise<T> {
  const result = last.then(task);
  last = result.catch(() => {});
  return result;
}

/** Options of {@linkcode ortWebEngine}. */
export interface OrtWebOptions {
  /** Operators run on this device; on the CPU (WebAssembly) where it is left out. */
  gpu?: GPUDevice;
  /** Why the device is gone; null while it lives. */
  isLost?: () => string | null;
  /** WebAssembly threads; they need a page that is cross-origin isolated. */
  threads?: number;
  /** The folder, as a URL ending in "/", that holds ONNX Runtime's `.wasm` and `.mjs` files. */
  wasmPaths?: string;
}

/**
 * The engine over `onnxruntime-web`. On a device, outputs stay in its memory as `GpuTensor`s, and
 * inputs that are already there are used without a copy.
 *
 * @throws {DeviceError} If the package is missing.
 */
export async function ortWebEngine(options: OrtWebOptions = {}): Promise<Engine> {
  const ort = await (library ??= importLibrary());
  const { gpu } = options;
  if (options.wasmPaths !== undefined) ort.env.wasm.wasmPaths = options.wasmPaths;
  if (options.threads !== undefined) ort.env.wasm.numThreads = options.threads;
  return {
    name: `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common} (${
      gpu ? "WebGPU" : "WebAssembly"
    })`,
    kind: gpu ? "webgpu" : "cpu",
    async load(model: Uint8Array, _loadOptions: LoadOptions = {}): Promise<Session> {
      const sessionOptions: InferenceSession.SessionOptions = {
        // The device goes with the session: the package's global setting takes effect only once,
        // which would rule out a second device after a loss.
        executionProviders: gpu ? [{ name: "webgpu", device: gpu }] : ["wasm"],
        graphOptimizationLevel: "all",
        logSeverityLevel: 4,
        ...(gpu ? { preferredOutputLocation: "gpu-buffer" } : {}),
      };
      try {
        // The first one makes the library look at the adapters, whatever device it is given.
        const session = await exclusively(() =>
          withRuntimeDir(() => ort.InferenceSession.create(model, sessionOptions))
        );
        return new OrtSession(ort, session, gpu ?? null, options.isLost, exclusively);
      } catch (error) {
        throw modelError(error, model.length);
      }
    },
  };
}
