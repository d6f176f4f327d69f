/**
 * Tensors whose elements are in a WebGPU buffer.
 *
 * @module
 */
import { ShapeError } from "./errors.ts";
import { type DType, formatShape, sizeOf, type Tensor, type TypedArrayOf } from "./tensor.ts";

/** Element types that a WebGPU buffer can hold as ONNX Runtime and the kernels lay them out. */
export type GpuDType = Exclude<DType, "float64">;

const bytesPerElement: Record<GpuDType, number> = {
  float32: 4,
  float16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
};

const views: { [T in GpuDType]: (bytes: ArrayBuffer, size: number) => TypedArrayOf[T] } = {
  float32: (bytes, size) => new Float32Array(bytes, 0, size),
  float16: (bytes, size) => new Uint16Array(bytes, 0, size),
  int32: (bytes, size) => new Int32Array(bytes, 0, size),
  int64: (bytes, size) => new BigInt64Array(bytes, 0, size),
  uint8: (bytes, size) => new Uint8Array(bytes, 0, size),
  bool: (bytes, size) => new Uint8Array(bytes, 0, size),
};

// The values of GPUBufferUsage and GPUMapMode are fixed by the WebGPU specification; Node has no
// such globals.
const MAP_READ = 0x0001;
const COPY_SRC = 0x0004;
const COPY_DST = 0x0008;
const STORAGE = 0x0080;
const MODE_READ = 0x0001;

const live = new WeakMap<GPUDevice, number>();

/** How many {@linkcode GpuTensor}s of this device have not been disposed of. */
export function liveGpuTensors(device: GPUDevice): number {
  return live.get(device) ?? 0;
}

/**
 * A row-major tensor at the start of a WebGPU storage buffer. It owns the buffer: disposing of it
 * frees the device memory, and reading it afterwards is an error.
 */
export class GpuTensor<T extends GpuDType = GpuDType> implements Tensor<T> {
  /** Always "gpu". */
  readonly location = "gpu";
  /** Element type. */
  readonly dtype: T;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** The elements; usage includes STORAGE, COPY_SRC and COPY_DST. */
  readonly buffer: GPUBuffer;
  /** The device that owns the buffer. */
  readonly device: GPUDevice;
  readonly #free: () => void;
  #disposed = false;

  /**
   * @param device The device that owns `buffer`.
   * @param dtype Element type.
   * @param shape Sizes of the axes.
   * @param buffer At least `4 · ⌈bytes / 4⌉` bytes; a new, zeroed one where left out.
   * @param free How to give `buffer` back; destroys it where left out.
   * @throws {ShapeError} If `buffer` is too small for `shape`.
   */
  constructor(
    device: GPUDevice,
    dtype: T,
    shape: readonly number[],
    buffer?: GPUBuffer,
    free?: () => void,
  ) {
    const bytes = Math.max(4, Math.ceil(sizeOf(shape) * bytesPerElement[dtype] / 4) * 4);
    if (buffer && buffer.size < bytes) {
      throw new ShapeError(
        `GPU tensor of shape ${
          formatShape(shape)
        } takes ${bytes} bytes, its buffer has ${buffer.size}`,
      );
    }
    this.device = device;
    this.dtype = dtype;
    this.shape = shape;
    this.buffer = buffer ??
      device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC | COPY_DST });
    this.#free = free ?? (() => this.buffer.destroy());
    live.set(device, liveGpuTensors(device) + 1);
  }

  /** Copies a host tensor to the device. */
  static upload<T extends GpuDType>(
    device: GPUDevice,
    dtype: T,
    shape: readonly number[],
    data: TypedArrayOf[T],
  ): GpuTensor<T> {
    const tensor = new GpuTensor(device, dtype, shape);
    let bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (bytes.length % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    // A view on a SharedArrayBuffer is refused here by every implementation; those don't occur.
    if (bytes.length > 0) device.queue.writeBuffer(tensor.buffer, 0, bytes as BufferSource);
    return tensor;
  }

  /** Copies the elements to host memory. */
  async read(): Promise<TypedArrayOf[T]> {
    if (this.#disposed) {
      throw new ShapeError(`GPU tensor of shape ${formatShape(this.shape)} was disposed of`);
    }
    const size = sizeOf(this.shape);
    const bytes = Math.max(4, Math.ceil(size * bytesPerElement[this.dtype] / 4) * 4);
    const staging = this.device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    try {
      const encoder = this.device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.buffer, 0, staging, 0, bytes);
      this.device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MODE_READ);
      const copy = staging.getMappedRange().slice(0);
      return views[this.dtype](copy, size);
    } finally {
      staging.destroy();
    }
  }

  /** Frees the device memory; a second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    live.set(this.device, liveGpuTensors(this.device) - 1);
    this.#free();
  }

  /** Lets `using` free it. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
