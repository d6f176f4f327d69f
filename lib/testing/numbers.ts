/**
 * Measures and maps of rows of numbers, for laws.
 *
 * @module
 */
import { Rng } from "../rng.ts";
import { float32, type HostTensor } from "../tensor.ts";

/** Floats of either precision. */
export type Numbers = Float32Array | Float64Array;

/** The largest magnitude. */
export function largest(data: Numbers): number {
  let max = 0;
  for (const value of data) max = Math.max(max, Math.abs(value));
  return max;
}

/** The largest difference between entries; NaN where there is one, or the lengths differ. */
export function difference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) return NaN;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (Number.isNaN(d)) return NaN;
    if (d > max) max = d;
  }
  return max;
}

/** The largest difference, relative to the largest expected magnitude. */
export function relative(a: Numbers, expected: Numbers): number {
  const d = difference(a, expected);
  return d === 0 ? 0 : d / largest(expected);
}

/** Whether all bits agree, those of NaN and of signed zeros included. */
export function sameBits(a: Numbers, b: Numbers): boolean {
  if (a.length !== b.length) return false;
  const bytes = (x: Numbers) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  const [p, q] = [bytes(a), bytes(b)];
  return p.length === q.length && p.every((value, i) => value === q[i]);
}

/** The Euclidean length of the longest row. */
export function longestRow(rows: Numbers, columns: number): number {
  let max = 0;
  for (let at = 0; at < rows.length; at += columns) {
    max = Math.max(max, Math.hypot(...rows.subarray(at, at + columns)));
  }
  return max;
}

/** Rows divided by their lengths, in double precision; a zero row stays zero. */
export function unitRows(rows: Numbers, columns: number): Float64Array {
  const out = Float64Array.from(rows);
  for (let at = 0; at < out.length; at += columns) {
    const row = out.subarray(at, at + columns);
    const length = Math.hypot(...row);
    if (length > 0) { for (let d = 0; d < columns; d++) row[d]! /= length; }
  }
  return out;
}

/** An order of `size` things, drawn from a seed. */
export function permutation(size: number, seed: number): number[] {
  return new Rng(seed).shuffle(Array.from({ length: size }, (_, i) => i));
}

/** Slice `i` along the first axis of the result is slice `order[i]` of the tensor. */
export function permuteRows(
  tensor: HostTensor<"float32">,
  order: readonly number[],
): HostTensor<"float32"> {
  const size = tensor.data.length / order.length;
  const data = new Float32Array(tensor.data.length);
  order.forEach((from, to) => {
    data.set(tensor.data.subarray(from * size, (from + 1) * size), to * size);
  });
  return float32(tensor.shape, data);
}

/**
 * A reflection of the feature space, drawn from a seed: `x ↦ x − 2 (n·x) n` with a unit vector n.
 * Reflections generate all orthogonal maps.
 *
 * @param size D
 * @returns Maps each row of D numbers, in double precision.
 */
export function reflection(size: number, seed: number): (rows: Numbers) => Float64Array {
  const rng = new Rng(seed);
  const normal = Array.from({ length: size }, () => rng.normal());
  const length = normal.reduce((sum, value) => sum + value * value, 0);
  return (rows) => {
    const out = Float64Array.from(rows);
    for (let at = 0; at < rows.length; at += size) {
      let dot = 0;
      for (let d = 0; d < size; d++) dot += rows[at + d]! * normal[d]!;
      for (let d = 0; d < size; d++) out[at + d]! -= 2 * dot / length * normal[d]!;
    }
    return out;
  };
}
