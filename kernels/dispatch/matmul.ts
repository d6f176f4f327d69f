/**
 * Matrix products on WebGPU, shared by the kernels.
 *
 * @module
 */
import type { CommandList } from "./command_list.ts";
import { u32 } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import wgsl from "./matmul.wgsl" with { type: "text" };

const tile = 64;
const step = 16;

/** Where a matrix lies in a buffer: element (i, j) is at `offset + i·rowStride + j·columnStride`. */
export interface MatrixView {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** Position of the first element; 0 where left out. */
  readonly offset?: number;
  /** Elements from one row to the next. */
  readonly rowStride: number;
  /** Elements from one column to the next. */
  readonly columnStride: number;
}

/** The transpose of a matrix, without moving it. */
export function transposed(view: MatrixView): MatrixView {
  return { ...view, rowStride: view.columnStride, columnStride: view.rowStride };
}

/** How the sum over k is divided among workgroups. */
export interface Split {
  /** Number of ranges; the partial results have this as their first axis. */
  readonly splits: number;
  /** Length of each. */
  readonly perSplit: number;
}

/**
 * Divides a product's inner axis so that a small result still occupies a GPU. It depends on the
 * sizes alone, so that the same input gives the same bytes on every run.
 *
 * @param m Rows of the result.
 * @param n Columns of the result.
 * @param k Length of the inner axis.
 */
export function splitInner(m: number, n: number, k: number): Split {
  const tiles = Math.ceil(m / tile) * Math.ceil(n / tile);
  // Aim at 256 workgroups, with at least 256 products in each sum.
  const wanted = Math.min(Math.ceil(256 / tiles), Math.ceil(k / 256));
  const perSplit = Math.ceil(k / wanted / step) * step;
  return { splits: Math.ceil(k / perSplit), perSplit };
}

/** Compiles the kernel. */
export function matmulPipeline(context: KernelContext): Promise<GPUComputePipeline> {
  return context.pipeline("matmul", wgsl);
}

/**
 * Adds the product of an m×k and a k×n matrix to a command list, as partial sums
 * [splits, m, n] that the next kernel adds up.
 */
export function encodeMatmul(
  list: CommandList,
  pipeline: GPUComputePipeline,
  sizes: { m: number; n: number; k: number },
  a: MatrixView,
  b: MatrixView,
  split: Split,
  partial: GPUBuffer,
): void {
  const { m, n, k } = sizes;
  list.dispatch(
    pipeline,
    Math.ceil(m / tile) * Math.ceil(n / tile) * split.splits,
    [
      u32(m),
      u32(n),
      u32(k),
      u32(split.splits),
      u32(split.perSplit),
      u32(a.offset ?? 0),
      u32(a.rowStride),
      u32(a.columnStride),
      u32(b.offset ?? 0),
      u32(b.rowStride),
      u32(b.columnStride),
    ],
    [a.buffer, b.buffer, partial],
  );
}
