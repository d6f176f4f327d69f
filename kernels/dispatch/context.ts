/**
 * What all kernels on one `GPUDevice` share: compiled pipelines, the count of live buffers, and the
 * translation of WebGPU's failures into typed errors.
 *
 * @module
 */
import { DeviceError, DeviceLostError } from "../../lib/errors.ts";
import { isSoftwareAdapter } from "../../lib/runtime.ts";
import { composeShader, shaderKey, type ShaderOptions } from "./shader.ts";

/** WebGPU's numeric constants; the globals that name them don't exist in every runtime. */
export const bufferUsage = {
  mapRead: 0x1,
  copySource: 0x4,
  copyDestination: 0x8,
  uniform: 0x40,
  storage: 0x80,
} as const;

/** How long a failure may precede the report of the lost device that caused it, in ms. */
const lossDelay = 2000;

/** The usage of every buffer that holds a tensor. */
export const tensorUsage: number = bufferUsage.storage | bufferUsage.copySource |
  bufferUsage.copyDestination;

const contexts = new WeakMap<GPUDevice, KernelContext>();

/** Formats a number of bytes for messages. */
export function formatBytes(bytes: number): string {
  return bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/**
 * The state that kernels keep per device. There is one per `GPUDevice`, made on first use; it holds
 * no buffers of its own, so it needs no disposal.
 */
export class KernelContext {
  /** The device. */
  readonly gpu: GPUDevice;
  /** Whether the "GPU" is the CPU in disguise: its loads are dear, its workgroup memory too. */
  software: boolean;
  /** Whether kernels use subgroup operations. */
  subgroups: boolean;
  /** The kernel of matrix products, where a test insists on one. */
  gemmKernel: "small" | "tiled" | "registers" | null = null;
  /** The most bytes that one storage binding holds; tests lower it. */
  bindingLimit: number;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #live = new Map<GPUBuffer, number>();
  #lost: string | null = null;

  /** Use {@linkcode KernelContext.of}. */
  private constructor(gpu: GPUDevice) {
    this.gpu = gpu;
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.limits;
    this.bindingLimit = Math.min(Number(maxStorageBufferBindingSize), Number(maxBufferSize));
    this.subgroups = gpu.features.has("subgroups" as GPUFeatureName);
    this.software = isSoftwareAdapter(gpu.adapterInfo);
    gpu.lost.then((info) => {
      this.#lost = info.message || info.reason || "no reason given";
    });
  }

  /** The context of a device. */
  static of(gpu: GPUDevice): KernelContext {
    let context = contexts.get(gpu);
    if (context === undefined) {
      context = new KernelContext(gpu);
      contexts.set(gpu, context);
    }
    return context;
  }

  /** How many buffers made here have not been destroyed yet. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Their size together, in bytes. */
  get liveBytes(): number {
    let sum = 0;
    for (const bytes of this.#live.values()) sum += bytes;
    return sum;
  }

  /**
   * Waits until a loss that has already happened is known, and reports it.
   *
   * @throws {DeviceLostError} If the device has gone away.
   */
  async assertAlive(): Promise<void> {
    if (this.#lost === null) await settle();
    if (this.#lost !== null) throw this.#lostError();
  }

  /**
   * Compiles a kernel's entry point `main`, once per device and variant.
   *
   * @param label The kernel, as messages name it.
   * @param code Its WGSL, or what writes it.
   * @param options The variant: element types, shared helpers.
   */
  pipeline(
    label: string,
    code: string | (() => string),
    options: ShaderOptions = {},
  ): Promise<GPUComputePipeline> {
    const key = `${label} ${shaderKey(options, this.subgroups)}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      const source = typeof code === "string" ? code : code();
      pipeline = this.#compile(label, composeShader(source, options, this.subgroups));
      this.#pipelines.set(key, pipeline);
      // A failure must not be remembered: the same device may compile it after memory was freed.
      pipeline.catch(() => this.#pipelines.delete(key));
    }
    return pipeline;
  }

  /** Makes a buffer and counts it as live; {@linkcode KernelContext.destroyBuffer} ends it. */
  createBuffer(label: string, bytes: number, usage: number): GPUBuffer {
    const size = Math.max(4, Math.ceil(bytes / 4) * 4);
    const buffer = this.gpu.createBuffer({ label, size, usage });
    this.#live.set(buffer, size);
    return buffer;
  }

  /** Destroys a buffer; work already submitted still finishes. */
  destroyBuffer(buffer: GPUBuffer): void {
    this.#live.delete(buffer);
    buffer.destroy();
  }

  /**
   * Refuses, before anything is allocated, what one storage binding of this device can't hold.
   *
   * @param what The tensor, as the message names it.
   * @param bytes Its size.
   * @throws {DeviceError} With both figures.
   */
  checkBinding(what: string, bytes: number): void {
    if (bytes > this.bindingLimit) {
      throw new DeviceError(
        `${what} takes ${formatBytes(bytes)}, but this WebGPU device binds at most ` +
          `${formatBytes(this.bindingLimit)} at once; use a smaller input or the CPU`,
      );
    }
  }

  /**
   * Refuses, before anything is allocated, what one buffer of this device can't hold.
   *
   * @param what The tensor, as the message names it.
   * @param bytes Its size.
   * @throws {DeviceError} With both figures.
   */
  checkBuffer(what: string, bytes: number): void {
    const limit = Number(this.gpu.limits.maxBufferSize);
    if (bytes > limit) {
      throw new DeviceError(
        `${what} takes ${formatBytes(bytes)}, but a buffer of this WebGPU device holds at most ` +
          `${formatBytes(limit)}; use a smaller input or the CPU`,
      );
    }
  }

  /**
   * Runs a synchronous piece of WebGPU work and waits for its verdict (not for the GPU).
   *
   * @param what The work, as messages name it.
   * @param body Allocates, encodes and submits.
   * @returns What `body` returned.
   * @throws {DeviceError} If the device ran out of memory or rejected the work.
   * @throws {DeviceLostError} If the device has gone away.
   */
  async guard<R>(what: string, body: () => R): Promise<R> {
    await this.assertAlive();
    // The three scopes are pushed and popped without an await between, so that concurrent calls on
    // the same device can't interleave on its stack of scopes.
    const { gpu } = this;
    gpu.pushErrorScope("validation");
    gpu.pushErrorScope("out-of-memory");
    gpu.pushErrorScope("internal");
    let result: R | undefined;
    let thrown: { error: unknown } | null = null;
    try {
      result = body();
    } catch (error) {
      thrown = { error };
    }
    const verdicts = Promise.all([gpu.popErrorScope(), gpu.popErrorScope(), gpu.popErrorScope()]);
    let failures: (GPUError | null)[] = [];
    try {
      failures = await verdicts;
    } catch (error) {
      await this.#awaitLoss();
      throw new DeviceError(`${what}: the WebGPU device failed (${message(error)})`, {
        cause: error,
      });
    }
    await this.assertAlive();
    if (thrown !== null) throw thrown.error;
    const [internal, memory, validation] = failures;
    if (memory) {
      throw new DeviceError(
        `${what}: the WebGPU device is out of memory with ${formatBytes(this.liveBytes)} in use ` +
          `by kernels (${memory.message}); use a smaller input or the CPU`,
        { cause: memory },
      );
    }
    const other = internal ?? validation;
    if (other) {
      throw new DeviceError(`${what}: the WebGPU device rejected the work (${other.message})`, {
        cause: other,
      });
    }
    return result as R;
  }

  /**
   * Copies bytes of a buffer into host memory.
   *
   * @param buffer The buffer.
   * @param bytes How many.
   * @param offset The first, a multiple of 4.
   * @throws {DeviceLostError} If the device has gone away.
   */
  async readBuffer(buffer: GPUBuffer, bytes: number, offset = 0): Promise<ArrayBuffer> {
    return await this.readAfter("read-back", bytes, () => this.stage(buffer, bytes, offset));
  }

  /**
   * Copies bytes of several buffers into host memory, by one mapping for all of them.
   *
   * @param ranges The buffers and how many bytes of each, from its beginning.
   * @returns The bytes of each, in memory of its own.
   * @throws {DeviceLostError} If the device has gone away.
   */
  async readBuffers(
    ranges: readonly { readonly buffer: GPUBuffer; readonly bytes: number }[],
  ): Promise<ArrayBuffer[]> {
    if (ranges.length === 1) return [await this.readBuffer(ranges[0]!.buffer, ranges[0]!.bytes)];
    const places: number[] = [];
    let size = 0;
    for (const { bytes } of ranges) {
      places.push(size);
      size += Math.max(4, Math.ceil(bytes / 4) * 4);
    }
    const data = await this.readAfter("read-back", size, () => {
      const usage = bufferUsage.mapRead | bufferUsage.copyDestination;
      const staging = this.createBuffer("read-back", size, usage);
      const encoder = this.gpu.createCommandEncoder();
      ranges.forEach(({ buffer, bytes }, i) =>
        encoder.copyBufferToBuffer(
          buffer,
          0,
          staging,
          places[i]!,
          Math.max(4, Math.ceil(bytes / 4) * 4),
        )
      );
      this.gpu.queue.submit([encoder.finish()]);
      return staging;
    });
    return ranges.map(({ bytes }, i) => data.slice(places[i]!, places[i]! + bytes));
  }

  /**
   * Runs a piece of work as {@linkcode KernelContext.guard} does, and reads what it has staged last.
   *
   * @param what The work, as messages name it.
   * @param bytes How many are read.
   * @param body Submits, and returns what {@linkcode KernelContext.stage} gave.
   */
  async readAfter(what: string, bytes: number, body: () => GPUBuffer): Promise<ArrayBuffer> {
    let staging: GPUBuffer | null = null;
    try {
      await this.guard(what, () => staging = body());
      return await this.#read(staging!, bytes);
    } finally {
      if (staging !== null) this.destroyBuffer(staging);
    }
  }

  /** Submits a copy for {@linkcode KernelContext.readAfter}. */
  stage(buffer: GPUBuffer, bytes: number, offset = 0): GPUBuffer {
    const size = Math.max(4, Math.ceil(bytes / 4) * 4);
    const usage = bufferUsage.mapRead | bufferUsage.copyDestination;
    const staging = this.createBuffer("read-back", size, usage);
    const encoder = this.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, size);
    this.gpu.queue.submit([encoder.finish()]);
    return staging;
  }

  async #read(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    try {
      await staging.mapAsync(1, 0, staging.size);
    } catch (error) {
      await this.#awaitLoss();
      throw new DeviceError(`read-back: the buffer can't be mapped (${message(error)})`, {
        cause: error,
      });
    }
    const copy = staging.getMappedRange(0, staging.size).slice(0, bytes);
    staging.unmap();
    return copy;
  }

  async #compile(label: string, code: string): Promise<GPUComputePipeline> {
    const module = await this.guard(
      label,
      () => this.gpu.createShaderModule({ label, code }),
    );
    try {
      return await this.gpu.createComputePipelineAsync({
        label,
        layout: "auto",
        compute: { module, entryPoint: "main" },
      });
    } catch (error) {
      await this.#awaitLoss();
      throw new DeviceError(
        `${label}: the WebGPU device can't compile the kernel (${message(error)})`,
        { cause: error },
      );
    }
  }

  /** After a failure that a lost device would explain: waits a little for the report of the loss. */
  async #awaitLoss(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, lossDelay));
    await Promise.race([this.gpu.lost, patience]);
    clearTimeout(timer);
    await this.assertAlive();
  }

  #lostError(): DeviceLostError {
    return new DeviceLostError(
      `the WebGPU device was lost (${this.#lost}); acquire another one and open the pipeline again`,
    );
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** One turn of the event loop, in which a resolved `device.lost` reaches its listeners. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
