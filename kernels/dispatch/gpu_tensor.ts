/**
 * Tensors in the memory of a WebGPU device.
 *
 * @module
 */
import { DeviceError, ShapeError } from "../../lib/errors.ts";
import {
  type DType,
  formatShape,
  sizeOf,
  type Tensor,
  type TypedArrayOf,
} from "../../lib/tensor.ts";
import { KernelContext, tensorUsage } from "./context.ts";

const layouts: { [T in DType]: { bytes: number; view(data: ArrayBuffer): TypedArrayOf[T] } } = {
  float32: { bytes: 4, view: (data) => new Float32Array(data) },
  float64: { bytes: 8, view: (data) => new Float64Array(data) },
  float16: { bytes: 2, view: (data) => new Uint16Array(data) },
  int32: { bytes: 4, view: (data) => new Int32Array(data) },
  int64: { bytes: 8, view: (data) => new BigInt64Array(data) },
  uint8: { bytes: 1, view: (data) => new Uint8Array(data) },
  bool: { bytes: 1, view: (data) => new Uint8Array(data) },
};

/**
 * What a kernel found out about a tensor while it computed it: looked at when the elements are read,
 * so that it costs no read-back of its own.
 */
export interface ReadCheck {
  /** Where the kernel left what it found. */
  readonly buffer: GPUBuffer;
  /** How many bytes of it. */
  readonly bytes: number;
  /** Throws if the elements are not to be used. */
  check(found: ArrayBuffer): void;
}

/**
 * A tensor in a storage buffer of a WebGPU device. Whoever receives it disposes of it, with
 * `dispose()` or a `using` declaration; disposing twice is harmless.
 *
 * @example
 * ```ts ignore
 * using features = await GpuTensor.upload(gpu, float32([640, 80, 80]));
 * ```
 */
export class GpuTensor<T extends DType = DType> implements Tensor<T>, Disposable {
  /** Always "gpu". */
  readonly location = "gpu";
  /** The device that holds the elements. */
  readonly gpu: GPUDevice;
  /** Element type. */
  readonly dtype: T;
  /** Sizes of the axes, outermost first; row-major. */
  readonly shape: readonly number[];
  readonly #buffer: GPUBuffer;
  #release: (() => void) | null;
  #check: ReadCheck | null = null;

  private constructor(
    gpu: GPUDevice,
    buffer: GPUBuffer,
    dtype: T,
    shape: readonly number[],
    release: () => void,
  ) {
    this.gpu = gpu;
    this.dtype = dtype;
    this.shape = shape;
    this.#buffer = buffer;
    this.#release = release;
  }

  /** Makes a tensor of arbitrary contents, to be written by a kernel. */
  static allocate<T extends DType>(
    gpu: GPUDevice,
    dtype: T,
    shape: readonly number[],
    label = "tensor",
  ): GpuTensor<T> {
    const context = KernelContext.of(gpu);
    const bytes = sizeOf(shape) * layouts[dtype].bytes;
    context.checkBuffer(`${label} of shape ${formatShape(shape)}`, bytes);
    const buffer = context.createBuffer(label, bytes, tensorUsage);
    return new GpuTensor(gpu, buffer, dtype, shape, () => context.destroyBuffer(buffer));
  }

  /**
   * Presents a buffer that something else made, such as an output of ONNX Runtime, as a tensor.
   *
   * @param gpu The device that made the buffer.
   * @param buffer A buffer with the usages STORAGE and COPY_SRC; elements start at its beginning.
   * @param dtype Element type.
   * @param shape Sizes of the axes.
   * @param release Called once when the tensor is disposed of; the buffer stays where left out.
   * @throws {ShapeError} If the buffer is too small.
   */
  static wrap<T extends DType>(
    gpu: GPUDevice,
    buffer: GPUBuffer,
    dtype: T,
    shape: readonly number[],
    release: () => void = () => {},
  ): GpuTensor<T> {
    const bytes = sizeOf(shape) * layouts[dtype].bytes;
    if (buffer.size < bytes) {
      throw new ShapeError(
        `tensor of shape ${formatShape(shape)} takes ${bytes} bytes, the buffer has ${buffer.size}`,
      );
    }
    return new GpuTensor(gpu, buffer, dtype, shape, release);
  }

  /**
   * The same elements under another shape.
   *
   * @param shape Sizes with the same product.
   * @param release Called once when the view is disposed of; the buffer stays.
   */
  view(shape: readonly number[], release: () => void): GpuTensor<T> {
    const view = GpuTensor.wrap(this.gpu, this.buffer, this.dtype, shape, release);
    view.#check = this.#check;
    return view;
  }

  /**
   * The same elements, whose every reader is told what a kernel has found out about them. The result
   * takes the tensor's place: dispose of the result and no longer of the tensor.
   *
   * @param check Looked at whenever elements are read, before they are handed out.
   * @param release Called once when the result is disposed of, beside freeing the elements.
   */
  checked(check: ReadCheck, release: () => void): GpuTensor<T> {
    const view = this.view(this.shape, () => {
      this.dispose();
      release();
    });
    view.#check = check;
    return view;
  }

  /**
   * Copies the elements of several tensors of one device to the host, by one read-back.
   *
   * @returns The elements of each; see {@linkcode readAll}.
   */
  static async readTogether(tensors: readonly GpuTensor[]): Promise<TypedArrayOf[DType][]> {
    const checks = [...new Set(tensors.flatMap((tensor) => tensor.#check ?? []))];
    const ranges = [
      ...tensors.map(({ buffer, shape, dtype }) => ({
        buffer,
        bytes: sizeOf(shape) * layouts[dtype].bytes,
      })),
      ...checks,
    ];
    const data = await KernelContext.of(tensors[0]!.gpu).readBuffers(ranges);
    checks.forEach((check, i) => check.check(data[tensors.length + i]!));
    return tensors.map(({ dtype }, i) => layouts[dtype].view(data[i]!));
  }

  /**
   * Copies a tensor to the device. A tensor that is there already is copied through the host.
   *
   * @returns A new tensor, which the caller owns.
   * @throws {DeviceError} If a buffer of the device can't hold it, or its memory is used up.
   * @throws {DeviceLostError} If the device has gone away.
   */
  static async upload<T extends DType>(
    gpu: GPUDevice,
    tensor: Tensor<T>,
    label = "tensor",
  ): Promise<GpuTensor<T>> {
    const data = await tensor.read();
    let made: GpuTensor<T> | null = null;
    try {
      return await KernelContext.of(gpu).guard(`upload of ${label}`, () => {
        made = GpuTensor.allocate(gpu, tensor.dtype, tensor.shape, label);
        writePadded(gpu, made.buffer, data);
        return made;
      });
    } catch (error) {
      (made as GpuTensor<T> | null)?.dispose();
      throw error;
    }
  }

  /**
   * The buffer, for kernels.
   *
   * @throws {DeviceError} If the tensor has been disposed of.
   */
  get buffer(): GPUBuffer {
    if (this.#release === null) {
      throw new DeviceError(
        `a tensor of shape ${formatShape(this.shape)} is used after its disposal; ` +
          `dispose of it after its last use`,
      );
    }
    return this.#buffer;
  }

  /**
   * Copies the elements to the host.
   *
   * @throws {DeviceError} If the tensor has been disposed of.
   * @throws {DeviceLostError} If the device has gone away.
   */
  async read(): Promise<TypedArrayOf[T]> {
    const [elements] = await GpuTensor.readTogether([this]);
    return elements as TypedArrayOf[T];
  }

  /** Frees the device memory. */
  dispose(): void {
    const release = this.#release;
    this.#release = null;
    release?.();
  }

  /** As {@linkcode GpuTensor.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Writes elements to a buffer; WebGPU wants the number of bytes to be a multiple of four. */
function writePadded(gpu: GPUDevice, buffer: GPUBuffer, data: ArrayBufferView): void {
  let bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  if (bytes.length % 4 !== 0) {
    const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    padded.set(bytes);
    bytes = padded;
  }
  if (bytes.length > 0) gpu.queue.writeBuffer(buffer, 0, bytes);
}

/** The number of WebGPU buffers that kernels and tensors hold on a device; for leak tests. */
export function liveBuffers(gpu: GPUDevice): number {
  return KernelContext.of(gpu).liveBuffers;
}
