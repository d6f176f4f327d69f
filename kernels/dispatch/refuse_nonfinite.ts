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

/** Words that one invocation looks at. */
const run = 16;

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
  const pipeline = await context.pipeline("refuse_nonfinite", wgsl);
  // Bindings start at multiples of 256 bytes.
  const stride = 64;
  const bytes = 4 * stride * tensors.length;
  let found: GPUBuffer | null = null;
  try {
    await context.guard("refuse_nonfinite", () => {
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
          list.dispatch(
            pipeline,
            Math.ceil(words / run / 64),
            [count, words, type === "f16" ? 1 : 0, run, base].map(u32),
            [
              elementRange(buffer, base, count, type).place,
              { buffer: found, offset: 4 * stride * i, size: 4 },
            ],
          );
        }
      }
      list.submit();
    });
    const indices = new Uint32Array(await context.readBuffer(found!, bytes));
    for (const [i, { name, buffer, shape, type }] of tensors.entries()) {
      const index = indices[stride * i]!;
      if (index === 0xffffffff) continue;
      const byte = index * elementBytes(type);
      const word = new DataView(await context.readBuffer(buffer, 4, byte - byte % 4));
      const value = type === "f16"
        ? fromFloat16(word.getUint16(byte % 4, true))
        : word.getFloat32(0, true);
      throw nonFiniteError(kernel, name, shape, index, value);
    }
  } finally {
    if (found !== null) context.destroyBuffer(found);
  }
}
