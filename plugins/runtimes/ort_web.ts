/**
 * ONNX Runtime in WebAssembly, for the browser's CPU and for WebGPU anywhere.
 *
 * @module
 */
import type { InferenceSession } from "onnxruntime-common";
import { DeviceError, OptionError } from "../../lib/errors.ts";
import type { Engine, LoadOptions, Session } from "../../lib/runtime.ts";
import { checkThreads, modelError, type Ort, OrtSession, reason } from "./ort_session.ts";
import { withRuntimeDir } from "./quiet_driver.ts";
import { writeOutSpaceToDepth } from "./write_out_space_to_depth.ts";

/** One build of the package, loaded when it is first asked for. */
class Build {
  readonly #load: () => Promise<Ort>;
  #library: Promise<Ort> | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** Threads of the pool that all its sessions share; null before the first session. */
  pool: number | null = null;

  constructor(load: () => Promise<Ort>) {
    this.#load = load;
  }

  /** @throws {DeviceError} If the package is missing. */
  library(): Promise<Ort> {
    return this.#library ??= this.#load().catch((error) => {
      this.#library = null;
      throw new DeviceError(
        "this engine needs onnxruntime-web 1.30: run `deno install`, or " +
          `\`npm install onnxruntime-web@1.30.0\` (${reason(error)})`,
        { cause: error },
      );
    });
  }

  /**
   * Runs a task after those before it: one instance serves all sessions, and with WebGPU it suspends
   * while the GPU works; a second call that came in meanwhile would corrupt its stack.
   */
  readonly exclusively = <T>(task: () => Promise<T>): Promise<T> => {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  };
}

// Each build is a WebAssembly instance of its own. That without WebGPU is half the other's size, and
// faster: its code need not be able to suspend.
const builds = {
  cpu: new Build(() => import("onnxruntime-web/wasm")),
  webgpu: new Build(() => import("onnxruntime-web/webgpu")),
};

// Seen with onnxruntime-web 1.30: after a run that a lost device ended, no model can be loaded on any
// other device.
let brokenByLoss = false;

/** Options of {@linkcode ortWebEngine}. */
export interface OrtWebOptions {
  /** Operators run on this device; on the CPU (WebAssembly) where it is left out. */
  gpu?: GPUDevice;
  /** Why the device is gone; null while it lives. */
  isLost?: () => string | null;
  /**
   * Upper bound on WebAssembly threads; only a page that is cross-origin isolated has more than one.
   * The pool is made with the first session of the page, or process, and serves all others on the
   * CPU; those on a device have one of their own.
   */
  threads?: number;
  /** The folder, as a URL ending in "/", that holds ONNX Runtime's `.wasm` and `.mjs` files. */
  wasmPaths?: string;
}

/**
 * The engine over `onnxruntime-web`. On a device, outputs stay in its memory as `GpuTensor`s, and
 * inputs that are already there are used without a copy; outputs that are given as `GpuTensor`s are
 * written where they are. The package has no way to write to host memory that it is given: such
 * outputs are copied there.
 *
 * @throws {DeviceError} If the package is missing.
 * @throws {OptionError} If the number of threads is no positive integer, or the pool has more.
 */
export async function ortWebEngine(options: OrtWebOptions = {}): Promise<Engine> {
  const { gpu, threads } = options;
  checkThreads(threads);
  const build = gpu ? builds.webgpu : builds.cpu;
  const ort = await build.library();
  if (options.wasmPaths !== undefined) ort.env.wasm.wasmPaths = options.wasmPaths;
  if (threads !== undefined) {
    // Without isolation there are no threads, and asking for them fails.
    if (build.pool === null) ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
    else if (build.pool > threads) {
      throw new OptionError(
        `threads is ${threads}, but ONNX Runtime's WebAssembly has ${build.pool} since its first session; ` +
          "give the bound with the first device",
      );
    }
  }
  return {
    name: `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common} (${
      gpu ? "WebGPU" : "WebAssembly"
    })`,
    kind: gpu ? "webgpu" : "cpu",
    async load(model: Uint8Array, loadOptions: LoadOptions = {}): Promise<Session> {
      checkThreads(loadOptions.threads);
      const bytes = gpu ? writeOutSpaceToDepth(model) : model;
      const create = (outputs: InferenceSession.SessionOptions["preferredOutputLocation"]) =>
        ort.InferenceSession.create(bytes, {
          // The device goes with the session: the package's global setting takes effect only once,
          // which would rule out a second device after a loss.
          executionProviders: gpu ? [{ name: "webgpu", device: gpu }] : ["wasm"],
          graphOptimizationLevel: "all",
          logSeverityLevel: 4,
          ...(gpu && outputs ? { preferredOutputLocation: outputs } : {}),
        });
      const open = async () => {
        const session = await create("gpu-buffer");
        build.pool ??= ort.env.wasm.numThreads ?? 1;
        if (!gpu) return session;
        // What WebGPU has no type for would fail in every run.
        const places = session.outputMetadata.map((meta) =>
          [meta.name, meta.isTensor && meta.type === "float64" ? "cpu" : "gpu-buffer"] as const
        );
        if (places.every(([, place]) => place === "gpu-buffer")) return session;
        await session.release();
        return await create(Object.fromEntries(places));
      };
      try {
        // The first one makes the library look at the adapters, whatever device it is given.
        const session = await build.exclusively(() => withRuntimeDir(open));
        const { isLost } = options;
        return new OrtSession(ort, session, {
          exclusively: build.exclusively,
          onLossInRun: () => brokenByLoss = true,
          ...(gpu ? { gpu } : {}),
          ...(isLost ? { isLost } : {}),
        });
      } catch (error) {
        if (gpu && brokenByLoss) {
          throw new DeviceError(
            "a WebGPU device was lost in the middle of a run, after which onnxruntime-web can't load " +
              "models on WebGPU; reload the page or start the process again, or take networks: cpu",
            { cause: error },
          );
        }
        // No model is at fault where the library itself doesn't start.
        const failure = /^no available backend found\. ERR: (?:\[\w+\] )?(.*)/.exec(reason(error));
        if (failure !== null) {
          const { wasmPaths } = ort.env.wasm;
          const place = typeof wasmPaths === "string" ? wasmPaths : "the folder wasmPaths";
          throw new DeviceError(
            `onnxruntime-web can't start: ${
              failure[1]
            }; its .wasm and .mjs files must lie in ${place}`,
            { cause: error },
          );
        }
        throw modelError(error, model.length);
      }
    },
  };
}
