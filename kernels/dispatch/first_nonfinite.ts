/**
 * The search for NaN and infinity on WebGPU.
 *
 * @module
 */
import { sizeOf } from "../../lib/tensor.ts";
import { CommandList, u32 } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import { tensorUsage } from "./context.ts";
import { elementBytes, elementRange, usableBytes } from "./ranges.ts";
import type { ElementType } from "./shader.ts";
import wgsl from "./first_nonfinite.wgsl" with { type: "text" };

/** Words that one invocation looks at. */
const run = 16;

/** A tensor to be searched. */
export interface Searched {
  /** Its elements. */
  readonly buffer: GPUBuffer;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Its element type. */
  readonly type: ElementType;
}

/**
 * The index of the first element of each tensor that is NaN or infinite; null where there is none.
 *
 * @throws {DeviceError} If the device runs out of memory.
 * @throws {DeviceLostError} If the device has gone away.
 */
export async function firstNonfinite(
  context: KernelContext,
  tensors: readonly Searched[],
): Promise<(number | null)[]> {
  const pipeline = await context.pipeline("first_nonfinite", wgsl);
  // Bindings start at multiples of 256 bytes.
  const stride = 64;
  const bytes = 4 * stride * tensors.length;
  let found: GPUBuffer | null = null;
  try {
    await context.guard("first_nonfinite", () => {
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
    return tensors.map((_, i) => {
      const index = indices[stride * i]!;
      return index === 0xffffffff ? null : index;
    });
  } finally {
    if (found !== null) context.destroyBuffer(found);
  }
}
