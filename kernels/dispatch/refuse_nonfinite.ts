/**
 * The search for NaN and infinity on WebGPU.
 *
 * @module
 */
import { fromFloat16 } from "../../lib/float16.ts";
import { sizeOf } from "../../lib/tensor.ts";
import { nonFiniteError } from "../finite.ts";
import { CommandList, u32 } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import { tensorUsage } from "./context.ts";
import { elementBytes, elementRange, usableBytes } from "./ranges.ts";
import type { ElementType } from "./shader.ts";
import wgsl from "./refuse_nonfinite.wgsl" with { type: "text" };

/** Cells that one invocation looks at. */
const run = 16;

const cell = (lanes: 1 | 4) =>
  `alias Cell = ${lanes === 4 ? "vec4<u32>" : "u32"};\nconst lanes = ${lanes}u;\n${wgsl}`;

/** A tensor to be searched. */
export interface Searched {
  /** Its name in messages. */
  readonly name: string;
  /** Its elements. */
  readonly buffer: GPUBuffer;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Its element type. */
  readonly type: ElementType;
}

/**
 * Whether a tensor has an element that is NaN or infinite.
 *
 * @throws {DeviceError} If the device runs out of memory.
 * @throws {DeviceLostError} If the device has gone away.
 */
export async function containsNonfinite(
  context: KernelContext,
  tensors: readonly Searched[],
): Promise<boolean> {
  return (await firstNonfinite(context, tensors)).some((index) => index !== null);
}

/**
 * Refuses tensors with an element that is NaN or infinite.
 *
 * @param context The device's context.
 * @param kernel The kernel, as messages name it.
 * @param tensors Its inputs.
 * @throws {InputError} If there is one; it names the tensor and the first such element.
 * @throws {DeviceError} If the device runs out of memory.
 * @throws {DeviceLostError} If the device has gone away.
 */
export async function refuseNonfinite(
  context: KernelContext,
  kernel: string,
  tensors: readonly Searched[],
): Promise<void> {
  for (const [i, index] of (await firstNonfinite(context, tensors)).entries()) {
    if (index === null) continue;
    const { name, buffer, shape, type } = tensors[i]!;
    const byte = index * elementBytes(type);
    const word = new DataView(await context.readBuffer(buffer, 4, byte - byte % 4));
    const value = type === "f16"
      ? fromFloat16(word.getUint16(byte % 4, true))
      : word.getFloat32(0, true);
    throw nonFiniteError(kernel, name, shape, index, value);
  }
}

/** The index of the first element of each tensor that is NaN or infinite; null where none is. */
async function firstNonfinite(
  context: KernelContext,
  tensors: readonly Searched[],
): Promise<(number | null)[]> {
  const [vectors, rest] = await Promise.all([
    context.pipeline("refuse_nonfinite/vectors", cell(4)),
    context.pipeline("refuse_nonfinite/rest", cell(1)),
  ]);
  // Bindings start at multiples of 256 bytes.
  const stride = 64;
  const bytes = 4 * stride * tensors.length;
  let found: GPUBuffer | null = null;
  try {
    const answer = await context.readAfter("refuse_nonfinite", bytes, () => {
      found = context.createBuffer("first non-finite", bytes, tensorUsage);
      context.gpu.queue.writeBuffer(found, 0, new Uint32Array(bytes / 4).fill(0xffffffff));
      const list = new CommandList(context);
      for (const [i, { buffer, shape, type }] of tensors.entries()) {
        const elements = sizeOf(shape);
        const size = elementBytes(type);
        const most = Math.floor(usableBytes(context.bindingLimit) / 256) * (256 / size);
        for (let base = 0; base < elements; base += most) {
          const count = Math.min(most, elements - base);
          const words = Math.ceil(count * size / 4);
          const cells = Math.floor(words / 4);
          const { place } = elementRange(buffer, base, count, type);
          const into = { buffer: found, offset: 4 * stride * i, size: 4 };
          const perWord = 4 / size;
          const masks = type === "f16" ? [0x7c00, 0x7c000000] : [0x7f800000, 0x7f800000];
          if (cells > 0) {
            const params = [count, cells, 0, run, base, perWord, ...masks].map(u32);
            list.dispatch(vectors, Math.ceil(cells / run / 64), params, [place, into]);
          }
          const left = words - 4 * cells;
          if (left > 0) {
            const before = 4 * cells * perWord;
            const params = [count - before, left, 4 * cells, 1, base + before, perWord, ...masks];
            list.dispatch(rest, 1, params.map(u32), [place, into]);
          }
        }
      }
      list.submit();
      // At once, so that the answer doesn't wait for what is submitted next.
      return context.stage(found, bytes);
    });
    const indices = new Uint32Array(answer);
    return tensors.map((_, i) => {
      const index = indices[stride * i]!;
      return index === 0xffffffff ? null : index;
    });
  } finally {
    if (found !== null) context.destroyBuffer(found);
  }
}
