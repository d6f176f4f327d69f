/**
 * Parts of tensors that are larger than one binding.
 *
 * @module
 */
import type { BufferRange } from "./command_list.ts";
import type { ElementType } from "./shader.ts";

/** WebGPU's default alignment of storage bindings, in bytes. */
const alignment = 256;

/** Elements in a row, as a binding and the position of the first one in it. */
export interface ElementRange {
  /** The binding. */
  readonly place: BufferRange;
  /** Elements from the start of the binding. */
  readonly offset: number;
}

/** Bytes of an element. */
export function elementBytes(type: ElementType): number {
  return type === "f16" ? 2 : 4;
}

/**
 * Binds elements in a row. Bindings start at multiples of 256 bytes, so the first element may lie
 * up to 252 bytes behind the binding's start.
 *
 * @param buffer The tensor's buffer.
 * @param first Its first element that is wanted.
 * @param count How many.
 * @param type Element type.
 */
export function elementRange(
  buffer: GPUBuffer,
  first: number,
  count: number,
  type: ElementType = "f32",
): ElementRange {
  const bytes = elementBytes(type);
  const start = Math.floor(first * bytes / alignment) * alignment;
  const end = Math.min(Math.ceil((first + count) * bytes / 4) * 4, buffer.size);
  return { place: { buffer, offset: start, size: end - start }, offset: first - start / bytes };
}

/** What of a binding's bytes is usable wherever a range begins. */
export function usableBytes(limit: number): number {
  return limit - alignment;
}
