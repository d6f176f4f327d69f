/**
 * Matrix products on WebGPU, shared by the kernels: C ← α·A·B + β·E for a batch of matrices that
 * lie anywhere in their buffers; E is C itself or another.
 *
 * @module
 */
import type { Bindable, CommandList } from "./command_list.ts";
import { f32, u32 } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import combineWgsl from "./gemm_combine.wgsl" with { type: "text" };
import paramsWgsl from "./gemm_params.wgsl" with { type: "text" };
import {
  gemmRegisters,
  type OperandLayout,
  workgroupColumns,
  workgroupRows,
} from "./gemm_registers.ts";
import smallWgsl from "./gemm_small.wgsl" with { type: "text" };
import tiledWgsl from "./gemm_tiled.wgsl" with { type: "text" };
import type { ElementType } from "./shader.ts";

/** Where matrices lie: element (i, j) of matrix b at `offset + b·batchStride + i·rowStride + j·columnStride`. */
export interface MatrixLayout {
  /** Elements from the start of the binding to the first element; 0 where left out. */
  readonly offset?: number;
  /** Elements from one row to the next. */
  readonly rowStride: number;
  /** Elements from one column to the next; 1 where left out. */
  readonly columnStride?: number;
  /** Elements from one matrix of the batch to the next; 0 where left out. */
  readonly batchStride?: number;
  /** Element type; float32 where left out. Results are always float32. */
  readonly type?: ElementType;
}

/** The transposed matrices, without moving them. */
export function transposed(layout: MatrixLayout): MatrixLayout {
  return { ...layout, rowStride: layout.columnStride ?? 1, columnStride: layout.rowStride };
}

/** A product to be made. */
export interface GemmSpec {
  /** Number of products; 1 where left out. */
  readonly batches?: number;
  /** Rows of A and C. */
  readonly m: number;
  /** Columns of B and C. */
  readonly n: number;
  /** Columns of A, rows of B. */
  readonly k: number;
  /** A, m×k. */
  readonly a: MatrixLayout;
  /** B, k×n. */
  readonly b: MatrixLayout;
  /** C, m×n; its columns are neighbours. */
  readonly c: MatrixLayout;
  /** E where it isn't C: it lies in another buffer, there as C does, but for the offset. */
  readonly e?: { readonly offset?: number };
}

/** Which kernel multiplies: one invocation per result, through workgroup memory, or in registers. */
export type GemmKernel = "small" | "tiled" | "registers";

const tile = 64;

/** Which kernel suits the device and the product. */
function chooseKernel(context: KernelContext, { batches = 1, m, n, k }: GemmSpec): GemmKernel {
  if (context.gemmKernel !== null) return context.gemmKernel;
  // Where workgroup memory is no quicker than a buffer, tiles don't pay.
  const [little, kernel] = context.software
    ? [2 ** 16, "registers" as const]
    : [2 ** 14, "tiled" as const];
  return batches * m * n * k < little ? "small" : kernel;
}

/**
 * How the inner axis is divided so that a small result still occupies the device. It depends on the
 * sizes alone, so that the same input gives the same bytes on every run.
 */
function divide(tiles: number, k: number, targets: number, step: number): [number, number] {
  // At least 256 products in each sum.
  const wanted = Math.max(1, Math.min(Math.ceil(targets / tiles), Math.ceil(k / 256)));
  const perSplit = Math.max(step, Math.ceil(k / wanted / step) * step);
  return [Math.max(1, Math.ceil(k / perSplit)), perSplit];
}

/** WGSL of `addend(at)`: the element of E where C's is at. */
function addendWgsl(apart: boolean, binding: number, type: string): string {
  return apart
    ? `
@group(0) @binding(${binding}) var<storage, read> e: array<${type}>;
fn addend(at: u32) -> ${type} { return e[at + params.addend_shift]; }
`
    : `fn addend(at: u32) -> ${type} { return c[at]; }\n`;
}

function layoutOf(
  operand: MatrixLayout,
  inner: { stride: number; size: number },
  outer: { stride: number; size: number },
): OperandLayout {
  const even = (x: number) => x % 4 === 0;
  if (!even(operand.offset ?? 0) || !even(operand.batchStride ?? 0)) return "scalar";
  if (inner.stride === 1 && even(inner.size) && even(outer.stride)) return "inner";
  if (outer.stride === 1 && even(outer.size) && even(inner.stride)) return "outer";
  return "scalar";
}

/** A product whose kernels are compiled. */
export class Gemm {
  readonly #spec: GemmSpec;
  readonly #pipeline: GPUComputePipeline;
  readonly #combine: GPUComputePipeline | null;
  readonly #workgroups: number;
  readonly #splits: number;
  readonly #perSplit: number;
  readonly #addendShift: number;

  private constructor(
    spec: GemmSpec,
    pipeline: GPUComputePipeline,
    combine: GPUComputePipeline | null,
    workgroups: number,
    splits: number,
    perSplit: number,
    unit = 1,
  ) {
    this.#spec = spec;
    this.#pipeline = pipeline;
    this.#combine = combine;
    this.#workgroups = workgroups;
    this.#splits = splits;
    this.#perSplit = perSplit;
    const { c, e } = spec;
    // Of u32, which wraps around.
    this.#addendShift = e ? (((e.offset ?? 0) - (c.offset ?? 0)) / unit) >>> 0 : 0;
  }

  /** Compiles what a product needs, unless that has been done on this device. */
  static async prepare(context: KernelContext, spec: GemmSpec): Promise<Gemm> {
    const { batches = 1, m, n, k, a, b, c, e } = spec;
    const kernel = chooseKernel(context, spec);
    const types = { AType: a.type ?? "f32", BType: b.type ?? "f32" };
    if (kernel === "small") {
      const pipeline = await context.pipeline(
        `gemm/small${e ? "/e" : ""}`,
        paramsWgsl + smallWgsl + addendWgsl(e !== undefined, 4, "f32"),
        { types },
      );
      return new Gemm(spec, pipeline, null, Math.ceil(batches * m * n / 64), 1, k);
    }
    const registers = kernel === "registers";
    const tiles = registers
      ? Math.ceil(m / workgroupRows) * Math.ceil(n / workgroupColumns)
      : Math.ceil(m / tile) * Math.ceil(n / tile);
    const [splits, perSplit] = divide(
      tiles * batches,
      k,
      registers ? 16 : 256,
      registers ? 64 : 16,
    );
    const combine = splits > 1
      ? await context.pipeline(
        `gemm/combine${e ? "/e" : ""}`,
        combineWgsl + addendWgsl(e !== undefined, 3, "f32"),
      )
      : null;
    // Partial sums are combined with E later.
    const apart = e !== undefined && splits === 1;
    const workgroups = tiles * batches * splits;
    if (!registers) {
      const pipeline = await context.pipeline(
        `gemm/tiled${apart ? "/e" : ""}`,
        paramsWgsl + tiledWgsl + addendWgsl(apart, 4, "f32"),
        { types },
      );
      return new Gemm(spec, pipeline, combine, workgroups, splits, perSplit);
    }
    const forA = layoutOf(
      a,
      { stride: a.columnStride ?? 1, size: k },
      { stride: a.rowStride, size: m },
    );
    const forB = layoutOf(
      b,
      { stride: b.rowStride, size: k },
      { stride: b.columnStride ?? 1, size: n },
    );
    const even = [c.offset ?? 0, c.rowStride, c.batchStride ?? 0, e?.offset ?? 0].every((x) =>
      x % 4 === 0
    );
    const vectorStores = n % 4 === 0 && (splits > 1 || even) && (splits === 1 || m * n % 4 === 0);
    const evenInner = k % 4 === 0;
    const variant = `${vectorStores ? ",vector" : ""}${evenInner ? ",even" : ""}${
      apart ? "/e" : ""
    }`;
    const pipeline = await context.pipeline(
      `gemm/registers/${forA},${forB}${variant}`,
      () =>
        gemmRegisters(forA, forB, vectorStores, evenInner) +
        addendWgsl(apart, 4, vectorStores ? "vec4<f32>" : "f32"),
      { types },
    );
    const unit = vectorStores && splits === 1 ? 4 : 1;
    return new Gemm(spec, pipeline, combine, workgroups, splits, perSplit, unit);
  }

  /** Elements of scratch memory that {@linkcode Gemm.encode} needs; 0 where none. */
  get partialElements(): number {
    const { batches = 1, m, n } = this.#spec;
    return this.#splits > 1 ? this.#splits * batches * m * n : 0;
  }

  /**
   * Adds the product to a command list.
   *
   * @param list Where to.
   * @param a A's binding; C must lie in another buffer.
   * @param b B's binding.
   * @param c C's binding.
   * @param options `alpha` (1 where left out) and `beta` (0: E doesn't matter), E's binding where it
   *   isn't C, and `partials` of {@linkcode Gemm.partialElements}.
   */
  encode(
    list: CommandList,
    a: Bindable,
    b: Bindable,
    c: Bindable,
    options: { alpha?: number; beta?: number; e?: Bindable; partials?: GPUBuffer } = {},
  ): void {
    const { alpha = 1, beta = 0, partials } = options;
    const e = options.e === undefined ? [] : [options.e];
    const { batches = 1, m, n, k, a: forA, b: forB, c: forC } = this.#spec;
    const split = this.#splits > 1;
    const result = split ? partials! : c;
    const [offset, rowStride, batchStride] = split
      ? [0, n, m * n]
      : [forC.offset ?? 0, forC.rowStride, forC.batchStride ?? 0];
    list.dispatch(
      this.#pipeline,
      this.#workgroups,
      [
        ...[m, n, k, batches, this.#splits, this.#perSplit],
        ...[forA.offset ?? 0, forA.rowStride, forA.columnStride ?? 1, forA.batchStride ?? 0],
        ...[forB.offset ?? 0, forB.rowStride, forB.columnStride ?? 1, forB.batchStride ?? 0],
        ...[offset, rowStride, batchStride, batches * m * n, this.#addendShift],
      ].map(u32).concat(f32(split ? 1 : alpha), f32(split ? 0 : beta)),
      [a, b, result, ...(split ? [] : e)],
    );
    if (this.#combine === null) return;
    list.dispatch(
      this.#combine,
      Math.ceil(batches * m * n / 64),
      [
        ...[m, n, batches, this.#splits],
        ...[forC.offset ?? 0, forC.rowStride, forC.batchStride ?? 0, this.#addendShift],
      ].map(u32).concat(f32(alpha), f32(beta)),
      [partials!, c, ...e],
    );
  }
}
