/**
 * Tensors: dense, row-major arrays with a shape, in host memory or on a device.
 *
 * @module
 */
import { ShapeError } from "./errors.ts";

/** The element types that cross a stage's boundary. */
export type DType = "float32" | "float64" | "float16" | "int32" | "int64" | "uint8" | "bool";

/** The typed array that holds elements of each {@linkcode DType}; float16 travels as its bits. */
export interface TypedArrayOf {
  /** 32-bit floats. */
  float32: Float32Array;
  /** 64-bit floats. */
  float64: Float64Array;
  /** Half floats, as raw bits. */
  float16: Uint16Array;
  /** 32-bit integers. */
  int32: Int32Array;
  /** 64-bit integers. */
  int64: BigInt64Array;
  /** Bytes. */
  uint8: Uint8Array;
  /** Booleans, one byte each. */
  bool: Uint8Array;
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/**
 * What every tensor offers, wherever its elements are. A stage that needs the numbers awaits
 * {@linkcode Tensor.read}; a kernel on the same device uses the buffer without a copy.
 */
export interface Tensor<T extends DType = DType> {
  /** Element type. */
  readonly dtype: T;
  /** Sizes of the axes, outermost first; row-major. */
  readonly shape: readonly number[];
  /** Where the elements are. */
  readonly location: "host" | "gpu";
  /** The elements in host memory; a host tensor returns its own array, not a copy. */
  read(): Promise<TypedArrayOf[T]>;
  /** Frees device memory; a no-op on the host. */
  dispose(): void;
}

/** The number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

/** Prints a shape as papers do: `100×640`, or `scalar`. */
export function formatShape(shape: readonly (number | string)[]): string {
  return shape.length === 0 ? "scalar" : shape.join("×");
}

/**
 * A tensor in host memory.
 *
 * @example
 * ```ts
 * import { HostTensor } from "@ovstage/ovstage";
 * const text = new HostTensor("float32", [2, 3], new Float32Array(6));
 * console.log(text.shape); // [2, 3]
 * ```
 */
export class HostTensor<T extends DType = DType> implements Tensor<T> {
  /** Always "host". */
  readonly location = "host";
  /** Element type. */
  readonly dtype: T;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. */
  readonly data: TypedArrayOf[T];

  /**
   * Takes the elements as they are.
   *
   * @param dtype Element type.
   * @param shape Sizes of the axes.
   * @param data Row-major elements; zeros where left out. Not copied.
   * @throws {ShapeError} If `data` does not hold as many elements as `shape` asks for.
   */
  constructor(dtype: T, shape: readonly number[], data?: TypedArrayOf[T]) {
    const size = sizeOf(shape);
    this.dtype = dtype;
    this.shape = shape;
    this.data = data ?? (new arrays[dtype](size) as TypedArrayOf[T]);
    if (this.data.length !== size) {
      throw new ShapeError(
        `tensor of shape ${formatShape(shape)} takes ${size} elements, got ${this.data.length}`,
      );
    }
  }

  /** The elements themselves, not a copy. */
  read(): Promise<TypedArrayOf[T]> {
    return Promise.resolve(this.data);
  }

  /** Host memory is the garbage collector's. */
  dispose(): void {}
}

/** A float32 host tensor; the common case. */
export function float32(shape: readonly number[], data?: Float32Array): HostTensor<"float32"> {
  return new HostTensor("float32", shape, data);
}
