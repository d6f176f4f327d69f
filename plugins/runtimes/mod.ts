/**
 * Devices behind one function, the same in Deno, Node and the browser.
 *
 * @module
 */
import { DeviceError, DeviceLostError, OptionError } from "../../lib/errors.ts";
import {
  type Device,
  type DeviceRequest,
  type Engine,
  isSoftwareAdapter,
} from "../../lib/runtime.ts";
import { detectHost, type Host, type OpenGpu } from "./host.ts";
import { reason } from "./ort_session.ts";
import { ortWebEngine } from "./ort_web.ts";
import { withRuntimeDir } from "./quiet_driver.ts";

export { isSoftwareAdapter } from "../../lib/runtime.ts";

/** Options of {@linkcode acquireDevice}. */
export interface AcquireOptions {
  /**
   * Where the networks (ONNX graphs) run when the device is WebGPU; the kernels always run there.
   * `auto`: on a GPU, with its outputs staying in device memory, but on the CPU where the only
   * adapter is a software driver, which is many times slower at networks than the CPU engine, and
   * in Node, where no engine runs networks on WebGPU.
   */
  networks?: "auto" | "cpu" | "webgpu";
  /**
   * Upper bound on threads inside one operator on the CPU, for each session; the engine's own choice
   * where left out. In WebAssembly all sessions of a page share one pool, which is made with the
   * first of them: a bound has to be given with the first device.
   */
  threads?: number;
  /**
   * Browser: the folder, as a URL ending in "/", that holds ONNX Runtime's `.wasm` and `.mjs`
   * files, where they do not lie beside the bundle.
   */
  wasmPaths?: string;
}

/** A device that `await using` disposes of. */
export type OwnedDevice = Device & AsyncDisposable;

const wantedFeatures: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query"];

let live = 0;

/** How many acquired devices have not been disposed of; for tests of leaks. */
export function liveDevices(): number {
  return live;
}

/**
 * Acquires something for a pipeline to run on.
 *
 * `webgpu` opens the adapter with all of its limits and, where offered, with half floats, subgroups
 * and timestamp queries. `auto` does so on a real GPU; where there is no adapter, or only a software
 * driver, it takes the CPU, which is faster, and gives the cause as `fallbackReason`.
 *
 * @param request What is wanted.
 * @param options Where networks run; threads.
 * @returns The device; the caller disposes of it.
 * @throws {DeviceError} If `webgpu` is wanted and can't be had, or a package is missing. The message
 * says what to install.
 * @throws {OptionError} If an option is outside of its domain.
 *
 * @example
 * ```ts
 * import { acquireDevice } from "@ovstage/ovstage";
 * await using device = await acquireDevice("auto");
 * console.log(device.description, device.fallbackReason ?? "");
 * ```
 */
export async function acquireDevice(
  request: DeviceRequest,
  options: AcquireOptions = {},
): Promise<OwnedDevice> {
  if (request !== "auto" && request !== "cpu" && request !== "webgpu") {
    throw new OptionError(`device "${request}" is unknown; must be auto, cpu or webgpu`);
  }
  const { networks = "auto" } = options;
  if (networks !== "auto" && networks !== "cpu" && networks !== "webgpu") {
    throw new OptionError(`networks "${networks}" is unknown; must be auto, cpu or webgpu`);
  }
  const host = detectHost();
  if (request === "cpu") return await acquireCpu(host, options, null);
  let fallbackReason: string;
  try {
    return await withRuntimeDir(() => acquireGpu(host, options, request === "auto"));
  } catch (error) {
    if (request === "webgpu" || !(error instanceof DeviceError)) throw error;
    fallbackReason = error.message;
  }
  return await acquireCpu(host, options, fallbackReason);
}

async function acquireCpu(
  host: Host,
  options: AcquireOptions,
  fallbackReason: string | null,
): Promise<OwnedDevice> {
  const engine = await host.cpuEngine(options);
  let disposed = false;
  live++;
  const device: OwnedDevice = {
    kind: "cpu",
    description: `CPU, ${engine.name}`,
    fallbackReason,
    engine,
    gpu: null,
    assertAlive() {
      if (disposed) throw new DeviceLostError("the CPU device was disposed of; acquire another");
    },
    dispose() {
      if (!disposed) live--;
      disposed = true;
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => device.dispose(),
  };
  return device;
}

/** @throws {DeviceError} Where there is no adapter, or with `realOnly` none but software. */
async function acquireGpu(
  host: Host,
  options: AcquireOptions,
  realOnly: boolean,
): Promise<OwnedDevice> {
  const open = await host.openGpu();
  if (!open) throw new DeviceError(`this ${host.name} has no WebGPU: ${host.adapterHint}`);
  try {
    const adapter = await open.requestAdapter();
    if (!adapter) throw new DeviceError(`no WebGPU adapter found: ${host.adapterHint}`);
    const software = isSoftwareAdapter(adapter.info);
    const name = describe(adapter.info);
    if (realOnly && software) {
      throw new DeviceError(
        `the only WebGPU adapter is a software driver (${name}), slower than the CPU engine`,
      );
    }
    const gpu = await requestDevice(adapter, name);
    try {
      return await wrap(host, options, open, gpu, name, software);
    } catch (error) {
      gpu.destroy();
      throw error;
    }
  } catch (error) {
    open.close();
    throw error;
  }
}

async function requestDevice(adapter: GPUAdapter, name: string): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  const offered = adapter.limits as unknown as Record<string, unknown>;
  // The limits are getters of the prototype: only `in` sees them.
  for (const limit in offered) {
    const value = offered[limit];
    if (typeof value === "number") requiredLimits[limit] = value;
  }
  const requiredFeatures = wantedFeatures.filter((feature) => adapter.features.has(feature));
  try {
    return await adapter.requestDevice({ requiredLimits, requiredFeatures });
  } catch (error) {
    throw new DeviceError(`adapter ${name} gives no device: ${reason(error)}`, { cause: error });
  }
}

async function wrap(
  host: Host,
  options: AcquireOptions,
  open: OpenGpu,
  gpu: GPUDevice,
  name: string,
  software: boolean,
): Promise<OwnedDevice> {
  let lost: string | null = null;
  gpu.lost.then((info) => {
    lost ??= `the WebGPU device ${name} was lost (${
      info.message || info.reason
    }): acquire a device and open the pipeline again`;
  });
  const { networks = "auto" } = options;
  const onGpu = networks === "webgpu" || (networks === "auto" && host.networksOnGpu && !software);
  if (onGpu && !host.networksOnGpu) {
    throw new OptionError(
      `networks can't run on WebGPU in ${host.name}; must be auto or cpu there`,
    );
  }
  const engine: Engine = onGpu
    ? await ortWebEngine({ ...pick(options), gpu, isLost: () => lost })
    : await host.cpuEngine(options);
  let disposed = false;
  live++;
  const device: OwnedDevice = {
    kind: "webgpu",
    description: `WebGPU, ${name}; networks: ${engine.name}`,
    fallbackReason: null,
    engine,
    gpu,
    assertAlive() {
      if (lost !== null) throw new DeviceLostError(lost);
    },
    async dispose() {
      if (disposed) return;
      disposed = true;
      live--;
      lost ??= `the WebGPU device ${name} was disposed of; acquire another`;
      gpu.destroy();
      await gpu.lost;
      open.close();
    },
    [Symbol.asyncDispose]: () => device.dispose(),
  };
  return device;
}

function pick({ wasmPaths, threads }: AcquireOptions): { wasmPaths?: string; threads?: number } {
  return {
    ...(wasmPaths === undefined ? {} : { wasmPaths }),
    ...(threads === undefined ? {} : { threads }),
  };
}

/** The adapter in words: implementations fill in different parts. */
function describe(info: GPUAdapterInfo): string {
  const words = [info.description, info.device, info.architecture, info.vendor];
  return words.find((word) => /[a-z]/i.test(word ?? "")) ?? "unnamed adapter";
}
