/**
 * What a pipeline runs on: something that executes ONNX graphs, and perhaps a WebGPU device.
 * `plugins/runtimes/` fills these interfaces in for Deno, Node and the browser.
 *
 * @module
 */
import type { Tensor } from "./tensor.ts";

/**
 * A loaded ONNX graph. Whoever loads it disposes of it.
 *
 * @example
 * ```ts
 * import { acquireDevice, float32 } from "@ovstage/ovstage";
 * import { Graph, ops } from "@ovstage/ovstage/graph";
 * const graph = new Graph("twice");
 * const x = graph.input("x", ["N"]);
 * graph.output("y", ops.add(x, x));
 * await using device = await acquireDevice("cpu");
 * const session = await device.engine.load(graph.toOnnx());
 * const y = float32([2]); // serves every run
 * await session.run({ x: float32([2], Float32Array.of(1, 2)) }, { y });
 * console.log(y.data); // [2, 4]
 * await session.dispose();
 * ```
 */
export interface Session {
  /** Names of the graph's inputs. */
  readonly inputNames: readonly string[];
  /** Names of the graph's outputs. */
  readonly outputNames: readonly string[];
  /**
   * Executes the graph once.
   *
   * Results go to new tensors, or to those given as `outputs`, for some or all output names: into
   * host memory or the memory of the engine's own device, wherever the given tensor is. They may
   * neither share memory with each other nor with an input. A run that fails leaves anything in
   * them, and so do two runs at once that are given the same ones.
   *
   * @param inputs One tensor for every input name; tensors on the engine's own device are used
   * where they are, the CPU engines read them back.
   * @param outputs Tensors of the outputs' types and shapes to write to.
   * @returns One tensor for every output name, the given ones among them; the caller owns them.
   * @throws {ShapeError} If a tensor is missing, unknown, or has another type or shape.
   * @throws {OptionError} If given outputs share memory, or are on a device while the engine is not.
   * @throws {DeviceError} If a tensor is on another device than the engine's.
   * @throws {DeviceLostError} If the engine's device has gone away.
   * @throws {ModelError} If an operator fails. On WebGPU the session can't run again after that.
   */
  run(
    inputs: Readonly<Record<string, Tensor>>,
    outputs?: Readonly<Record<string, Tensor>>,
  ): Promise<Record<string, Tensor>>;
  /** Frees the session. */
  dispose(): Promise<void>;
}

/** Options of {@linkcode Engine.load}. */
export interface LoadOptions {
  /**
   * Upper bound on threads inside one operator; the engine's own choice where left out. In
   * WebAssembly all sessions share one pool, whose size the device decides, and this has no effect.
   */
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
   * @throws {OptionError} If the number of threads is no positive integer.
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
  /**
   * Does nothing while the device is there.
   *
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   */
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
