/**
 * NaN and infinity in an input, found and named.
 *
 * @module
 */
import { InputError } from "../lib/errors.ts";
import { fromFloat16 } from "../lib/float16.ts";
import type { HostTensor } from "../lib/tensor.ts";

/** The flat index of the first element that is NaN or infinite; −1 where there is none. */
export function firstNonFinite(tensor: HostTensor): number {
  if (tensor.dtype === "float16") {
    return (tensor.data as Uint16Array).findIndex((bits) => (bits & 0x7c00) === 0x7c00);
  }
  const data = tensor.data as Float32Array | Float64Array;
  for (let i = 0; i < data.length; i++) {
    // NaN for NaN and for both infinities, else 0.
    if (data[i]! - data[i]! !== 0) return i;
  }
  return -1;
}

/**
 * The error for an input that is not finite.
 *
 * @param kernel The kernel, as messages name it.
 * @param name The input.
 * @param shape Its shape.
 * @param index The flat index of its first element that is NaN or infinite.
 * @param value That element; null where only that much is known.
 */
export function nonFiniteError(
  kernel: string,
  name: string,
  shape: readonly number[],
  index: number,
  value: number | null,
): InputError {
  const at: number[] = [];
  let rest = index;
  for (const size of shape.toReversed()) {
    at.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return new InputError(
    `${kernel}: ${name}[${at.join(", ")}] is ${
      value ?? "NaN or infinite"
    }; every element must be finite`,
  );
}

/**
 * Searches an input on the host.
 *
 * @throws {InputError} If it isn't finite; see {@linkcode nonFiniteError}.
 */
export function refuseNonFinite(kernel: string, name: string, tensor: HostTensor): void {
  const index = firstNonFinite(tensor);
  if (index < 0) return;
  const element = Number(tensor.data[index]);
  const value = tensor.dtype === "float16" ? fromFloat16(element) : element;
  throw nonFiniteError(kernel, name, tensor.shape, index, value);
}
