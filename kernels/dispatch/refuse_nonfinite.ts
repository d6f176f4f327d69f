/**
 * The search for NaN and infinity on WebGPU.
 *
 * @module
 */
import type { InputError } from "../../lib/errors.ts";
import { fromFloat16 } from "../../lib/float16.ts";
import { sizeOf } from "../../lib/tensor.ts";
import { nonFiniteError } from "../finite.ts";
import { type BufferRange, CommandList, u32 } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import { tensorUsage } from "./context.ts";
import containsWgsl from "./contains_nonfinite.wgsl" with { type: "text" };
import firstWgsl from "./first_nonfinite.wgsl" with { type: "text" };
import { elementBytes, elementRange, usableBytes } from "./ranges.ts";
import type { ElementType } from "./shader.ts";

/** Cells of four words that an invocation of contains_nonfinite.wgsl looks at. */
const run = 4;
/** Words that a workgroup of it looks at. */
const block = 64 * 4 * run;
/** Words from one answer to the next: bindings start at multiples of 256 bytes. */
const stride = 64;
/** What is left where all is finite. */
const none = 0xffffffff;

/** Compiles a kernel for an element type. */
function kernel(
  context: KernelContext,
  name: string,
  type: ElementType,
  code: string,
): Promise<GPUComputePipeline> {
  const constants = type === "f16"
    ? { per_word: 2, low: 0x7c00, high: 0x7c000000 }
    : { per_word: 1, low: 0x7f800000, high: 0x7f800000 };
  const lines = Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;`);
  return context.pipeline(`refuse_nonfinite/${name},${type}`, () => [...lines, code].join("\n"));
}

const contains = (cell: string, run: number) =>
  `alias Cell = ${cell};\nconst run = ${run}u;\n${containsWgsl}`;

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
 * Refuses tensors with an element that is NaN or infinite. The search is submitted before what its
 * caller submits next, so that it can be awaited after that, at the cost of no further wait; should
 * another error come first, nobody need await it.
 *
 * @param context The device's context.
 * @param kernel The kernel, as messages name it.
 * @param tensors Its inputs; they stay until it is settled.
 * @throws {InputError} If there is one; it names the tensor and the first such element.
 * @throws {DeviceError} If the device runs out of memory.
 * @throws {DeviceLostError} If the device has gone away.
 */
export function refuseNonfinite(
  context: KernelContext,
  kernel: string,
  tensors: readonly Searched[],
): Promise<void> {
  const verdict = refuse(context, kernel, tensors);
  verdict.catch(() => {});
  return verdict;
}

async function refuse(
  context: KernelContext,
  kernel: string,
  tensors: readonly Searched[],
): Promise<void> {
  const found = await search(context, tensors);
  for (const tensor of tensors.filter((_, i) => found[i])) {
    const index = await firstNonfinite(context, tensor);
    // The other half of the last word may hold anything.
    if (index !== none) throw await nonfiniteElement(context, kernel, tensor, index);
  }
}

/**
 * The error for a tensor on the device that is not finite; see {@linkcode nonFiniteError}.
 *
 * @param index The flat index of its first element that is NaN or infinite.
 */
export async function nonfiniteElement(
  context: KernelContext,
  kernel: string,
  { name, buffer, shape, type }: Searched,
  index: number,
): Promise<InputError> {
  const byte = index * elementBytes(type);
  const word = new DataView(await context.readBuffer(buffer, 4, byte - byte % 4));
  const value = type === "f16"
    ? fromFloat16(word.getUint16(byte % 4, true))
    : word.getFloat32(0, true);
  return nonFiniteError(kernel, name, shape, index, value);
}

/** Which tensors have an element, or a half of their last word, that is NaN or infinite. */
async function search(context: KernelContext, tensors: readonly Searched[]): Promise<boolean[]> {
  const pipelines = await Promise.all(tensors.map(({ type }) =>
    Promise.all([
      kernel(context, "blocks", type, contains("vec4<u32>", run)),
      kernel(context, "rest", type, contains("u32", 1)),
    ])
  ));
  const answers = await answer(context, tensors.length, 0, (list, places) => {
    for (const [i, tensor] of tensors.entries()) {
      const [blocks, rest] = pipelines[i]!;
      for (const { first, count } of partsOf(context, tensor)) {
        const perWord = 4 / elementBytes(tensor.type);
        const whole = Math.floor(count / perWord / block);
        const inBlocks = whole * block * perWord;
        const dispatch = (
          pipeline: GPUComputePipeline,
          from: number,
          to: number,
          lanes: number,
        ) => {
          if (from === to) return;
          const cells = Math.ceil((to - from) / perWord / lanes);
          const { place } = elementRange(tensor.buffer, first + from, to - from, tensor.type);
          const workgroups = lanes > 1 ? whole : Math.ceil(cells / 64);
          list.dispatch(pipeline, workgroups, [u32(cells)], [place, places[i]!]);
        };
        dispatch(blocks, 0, inBlocks, 4);
        dispatch(rest, inBlocks, count, 1);
      }
    }
  });
  return answers.map((found) => found === 1);
}

/** The index of the first element that is NaN or infinite, where there is one. */
async function firstNonfinite(context: KernelContext, tensor: Searched): Promise<number> {
  const { buffer, type } = tensor;
  const pipeline = await kernel(context, "first", type, firstWgsl);
  const [index] = await answer(context, 1, none, (list, [place]) => {
    for (const { first, count } of partsOf(context, tensor)) {
      const words = Math.ceil(count * elementBytes(type) / 4);
      list.dispatch(pipeline, Math.ceil(words / 64), [count, first].map(u32), [
        elementRange(buffer, first, count, type).place,
        place!,
      ]);
    }
  });
  return index!;
}

/** Parts of a tensor that a binding holds; each starts where one may. */
function partsOf(
  { bindingLimit }: KernelContext,
  { shape, type }: Searched,
): { first: number; count: number }[] {
  const elements = sizeOf(shape);
  const most = Math.floor(usableBytes(bindingLimit) / 256) * (256 / elementBytes(type));
  return Array.from({ length: Math.ceil(elements / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, elements - i * most),
  }));
}

/** Runs kernels that leave a number each. */
async function answer(
  context: KernelContext,
  count: number,
  initial: number,
  record: (list: CommandList, places: readonly BufferRange[]) => void,
): Promise<number[]> {
  const bytes = 4 * stride * count;
  let buffer: GPUBuffer | null = null;
  try {
    const data = await context.readAfter("refuse_nonfinite", bytes, () => {
      const made = buffer = context.createBuffer("non-finite", bytes, tensorUsage);
      context.gpu.queue.writeBuffer(made, 0, new Uint32Array(bytes / 4).fill(initial));
      const list = new CommandList(context);
      const places = Array.from(
        { length: count },
        (_, i) => ({ buffer: made, offset: 4 * stride * i, size: 4 }),
      );
      record(list, places);
      list.submit();
      // At once, so that the answer doesn't wait for what is submitted next.
      return context.stage(made, bytes);
    });
    const numbers = new Uint32Array(data);
    return Array.from({ length: count }, (_, i) => numbers[stride * i]!);
  } finally {
    if (buffer !== null) context.destroyBuffer(buffer);
  }
}
