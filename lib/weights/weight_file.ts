/**
 * What every file of weights offers, whatever its format: names, element types, shapes, and the
 * elements of those tensors that are asked for.
 *
 * @module
 */
import { fromBfloat16Array } from "../bfloat16.ts";
import { ModelError } from "../errors.ts";
import { fromFloat16Array } from "../float16.ts";
import { float32, formatShape, type HostTensor, sizeOf } from "../tensor.ts";

/** The typed array that holds elements of each type that weights are stored in. */
export interface ElementArrayOf {
  /** 32-bit floats. */
  float32: Float32Array;
  /** 64-bit floats. */
  float64: Float64Array;
  /** Half floats (IEEE 754 binary16), as raw bits. */
  float16: Uint16Array;
  /** Brain floats (the upper half of a float32), as raw bits. */
  bfloat16: Uint16Array;
  /** Signed bytes. */
  int8: Int8Array;
  /** Bytes. */
  uint8: Uint8Array;
  /** 16-bit integers. */
  int16: Int16Array;
  /** 16-bit unsigned integers. */
  uint16: Uint16Array;
  /** 32-bit integers. */
  int32: Int32Array;
  /** 32-bit unsigned integers. */
  uint32: Uint32Array;
  /** 64-bit integers. */
  int64: BigInt64Array;
  /** 64-bit unsigned integers. */
  uint64: BigUint64Array;
  /** Booleans, one byte each. */
  bool: Uint8Array;
}

/** The element types that weights are stored in. */
export type ElementType = keyof ElementArrayOf;

/** Elements of any type. */
export type ElementArray = ElementArrayOf[ElementType];

const arrays: {
  [T in ElementType]: {
    readonly BYTES_PER_ELEMENT: number;
    new (length: number): ElementArrayOf[T];
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): ElementArrayOf[T];
  };
} = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/** The bytes that one element takes. */
export function bytesPerElement(dtype: ElementType): number {
  return arrays[dtype].BYTES_PER_ELEMENT;
}

/** A tensor's element type and shape. */
export interface WeightEntry {
  /** Element type. */
  readonly dtype: ElementType;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
}

/** A tensor as a file of weights holds it. A `HostTensor` is one too. */
export interface WeightTensor<T extends ElementType = ElementType> {
  /** Element type. */
  readonly dtype: T;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. */
  readonly data: ElementArrayOf[T];
}

/** A file of weights. Opening it reads its table of contents; elements are read when asked for. */
export interface WeightFile {
  /** What messages call the file. */
  readonly name: string;
  /** Its tensors by name. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** Free text that the file carries about itself. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Reads one tensor.
   *
   * @throws {ModelError} If there is none of that name, or its bytes are damaged.
   */
  read(name: string): Promise<WeightTensor>;
}

/** The entry of a name; for readers. */
export function entryOf<E extends WeightEntry>(
  file: string,
  entries: ReadonlyMap<string, E>,
  name: string,
): E {
  const entry = entries.get(name);
  if (entry !== undefined) return entry;
  const known = [...entries.keys()].slice(0, 3).map((key) => `"${key}"`).join(", ");
  throw new ModelError(
    `${file}: no tensor "${name}"; the file has ${entries.size}` +
      (known === "" ? "" : `: ${known}${entries.size > 3 ? " …" : ""}`),
  );
}

/**
 * The bytes that a tensor takes, or null where a size isn't a whole number from 0 or the product
 * is beyond exact integers.
 */
export function byteLengthOf(dtype: ElementType, shape: readonly number[]): number | null {
  let size = bytesPerElement(dtype);
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) return null;
    size *= dim;
    if (!Number.isSafeInteger(size)) return null;
  }
  return size;
}

/** Little-endian bytes as elements; shares memory where the bytes are aligned. */
export function elementsOf<T extends ElementType>(dtype: T, bytes: Uint8Array): ElementArrayOf[T] {
  const array = arrays[dtype];
  const size = array.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.length / size));
}

/** The elements of a tensor as little-endian bytes; shares memory. */
export function bytesOf(tensor: WeightTensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The distances, in elements, between neighbours along each axis of a row-major tensor. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

/**
 * Copies a strided view out of elements, row-major. The caller has checked that it lies inside.
 *
 * @param data The elements of the storage.
 * @param shape Sizes of the view's axes.
 * @param strides Distances in elements along each axis.
 * @param offset Index of the first element.
 */
export function gatherElements<T extends ElementType>(
  dtype: T,
  data: ElementArrayOf[T],
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): ElementArrayOf[T] {
  const size = sizeOf(shape);
  const dense = rowMajorStrides(shape);
  if (size === 0) return new arrays[dtype](0);
  if (shape.every((dim, axis) => dim === 1 || strides[axis] === dense[axis])) {
    const width = bytesPerElement(dtype);
    const from = data.byteOffset + offset * width;
    return elementsOf(dtype, new Uint8Array(data.buffer, from, size * width).slice());
  }
  const out = new arrays[dtype](size);
  const source = data as unknown as ArrayLike<number>;
  const target = out as unknown as { [i: number]: number };
  const last = shape.length - 1;
  const width = last < 0 ? 1 : shape[last]!;
  const step = last < 0 ? 1 : strides[last]!;
  const index = new Array<number>(Math.max(0, last)).fill(0);
  let from = offset;
  for (let to = 0; to < out.length;) {
    for (let i = 0; i < width; i++) target[to++] = source[from + i * step]!;
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
      from -= strides[axis]! * shape[axis]!;
    }
  }
  return out;
}

/**
 * A tensor's values as float32: exact for the narrower floats and small integers, rounded for
 * float64 and wide integers.
 *
 * @param tensor A tensor of any element type; float32 elements are shared, not copied.
 */
export function toFloat32(tensor: WeightTensor): HostTensor<"float32"> {
  const { dtype, shape, data } = tensor;
  if (data.length !== sizeOf(shape)) {
    throw new ModelError(
      `a tensor of shape ${formatShape(shape)} takes ${sizeOf(shape)} elements, not ${data.length}`,
    );
  }
  if (dtype === "float32") return float32(shape, data as Float32Array);
  if (dtype === "float16") return float32(shape, fromFloat16Array(data as Uint16Array));
  if (dtype === "bfloat16") return float32(shape, fromBfloat16Array(data as Uint16Array));
  const values = new Float32Array(data.length);
  for (let i = 0; i < values.length; i++) values[i] = Number(data[i]!);
  return float32(shape, values);
}
