/**
 * What a pipeline runs on: something that executes ONNX graphs, and perhaps a WebGPU device.
 * `plugins/runtimes/` fills these interfaces in for Deno, Node and the browser.
 *
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** A loaded ONNX graph. Whoever loads it disposes of it. */
export interface Session {
  /** Names of the graph's inputs. */
  readonly inputNames: readonly string[];
  /** Names of the graph's outputs. */
  readonly outputNames: readonly string[];
  /**
   * Executes the graph once.
   *
   * @param inputs One tensor for every input name.
   * @returns One tensor for every output name; the caller owns them.
   */
  run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  /** Frees the session. */
  dispose(): Promise<void>;
}

/** Options of {@linkcode Engine.load}. */
export interface LoadOptions {
  /** Upper bound on threads inside one operator; the engine's own choice where left out. */
  threads?: number;
}

/** Executes ONNX graphs. */
export interface Engine {
  /** The library underneath, with its version, as it is shown to people. */
  readonly name: string;
  /** Where the operators run. */
  readonly kind: "cpu" | "webgpu";
  /**
   * Loads a serialised ONNX model.
   *
   * @param model The bytes of a `.onnx` file.
   * @throws {ModelError} If the bytes are no valid model or use an unsupported operator.
   */
  load(model: Uint8Array, options?: LoadOptions): Promise<Session>;
}

/** What a user may ask for: `auto` takes WebGPU where there is one and says so where there isn't. */
export type DeviceRequest = "auto" | "cpu" | "webgpu";

/** An acquired device. Whoever acquires it disposes of it. */
export interface Device {
  /** Which of the two engines the kernels use. */
  readonly kind: "cpu" | "webgpu";
  /** Adapter and driver in words, as shown to people. */
  readonly description: string;
  /** Why `auto` fell back to the CPU; null where it did not. */
  readonly fallbackReason: string | null;
  /** Executes the networks. */
  readonly engine: Engine;
  /** Executes the WGSL kernels; null on the CPU. */
  readonly gpu: GPUDevice | null;
  /** @throws {DeviceLostError} If the WebGPU device has gone away. */
  assertAlive(): void;
  /** Frees the device and everything on it. */
  dispose(): Promise<void>;
}

/** True where the "GPU" is the CPU in disguise. */
export function isSoftwareAdapter(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter === true ||
    /llvmpipe|lavapipe|softpipe|swiftshader|basic render/i.test(
      `${info.architecture} ${info.device} ${info.description}`,
    );
}
