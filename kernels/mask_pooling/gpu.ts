/**
 * Mask pooling on WebGPU.
 *
 * @module
 */
import { formatShape, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { BufferPool } from "../dispatch/buffer_pool.ts";
import { f32, type Param, u32 } from "../dispatch/command_list.ts";
import { KernelContext } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { elementTypeOn, type GpuElements, toGpuElements } from "../dispatch/operand.ts";
import { Program, type Slot } from "../dispatch/program.ts";
import { elementBytes, type ElementRange, elementRange } from "../dispatch/ranges.ts";
import { refuseNonfinite } from "../dispatch/refuse_nonfinite.ts";
import type { ElementType } from "../dispatch/shader.ts";
import {
  checkMaskPooling,
  checkMaskPoolingCotangent,
  emptyArea,
  type MaskPoolingCotangent,
  MaskPoolingGradients,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type MaskPoolingSizes,
  PooledMasks,
} from "./contract.ts";
import { divideWork, type Job } from "./gpu_jobs.ts";
import {
  adjointKernel,
  correctionKernel,
  meanKernel,
  slopeKernel,
  weightsKernel,
} from "./gpu_kernels.ts";

const dtypes = ["float32", "float16"] as const;

/** Rows of cells that an invocation of `cells.wgsl` visits. */
const rowsPerPart = 8;

/** A tensor on the device. */
interface Source {
  /** Its elements. */
  readonly buffer: GPUBuffer;
  /** Their type. */
  readonly type: ElementType;
}

/** How the pixels of a run are dealt to invocations. */
interface Grid {
  /** Whether a cell is four pixels. */
  readonly vector: boolean;
  /** Whether the logits have another size than the features. */
  readonly resized: boolean;
  /** h·w */
  readonly pixels: number;
  /** Cells of a plane. */
  readonly cells: number;
  /** Rows of cells. */
  readonly rows: number;
  /** Columns of cells. */
  readonly columns: number;
  /** Invocations per plane. */
  readonly parts: number;
}

/** A run: checked, divided, and on the device. */
interface Run {
  readonly sizes: MaskPoolingSizes;
  readonly grid: Grid;
  readonly program: Program;
  /** Scratch memory, the same for every job. */
  scratch(label: string, elements: number): Slot;
}

/** The weights of a job's masks. */
interface Weights {
  /** Weights, masks×h×w. */
  readonly values: Slot;
  /** Their sums over each part of a mask. */
  readonly partAreas: Slot;
}

/**
 * The WGSL kernels of mask pooling, with the scratch memory that they keep between runs.
 *
 * Forward: the weights of every mask are written out, multiplied with the features (the product of
 * an N×P and a P×D matrix, P = h·w), and each row is divided by its area.
 *
 * Gradients, with ĝ = g/(area + ε): by the features ĝᵀa. By the weights
 * `T − (Σ_p a T)/(area + ε)` with T = ĝX, since `Σ_d g_nd F_nd/(area + ε)` is that sum; then through
 * the sigmoid and the transpose of the resize.
 */
export class GpuMaskPooling implements Disposable {
  readonly #context: KernelContext;
  readonly #pool: BufferPool;
  readonly #options: MaskPoolingOptions;

  /**
   * @param gpu The device.
   * @param options Hard or soft.
   */
  constructor(gpu: GPUDevice, options: MaskPoolingOptions) {
    this.#context = KernelContext.of(gpu);
    this.#pool = new BufferPool(this.#context);
    this.#options = options;
  }

  /**
   * Pools once; see {@linkcode MaskPooling.run}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async run(input: MaskPoolingInput): Promise<PooledMasks> {
    const sizes = checkMaskPooling(input, dtypes);
    const { batch, channels, masks } = sizes;
    const tensors = { features: input.features, maskLogits: input.maskLogits };
    const lead = batch === null ? [] : [batch];
    const shapes = { pooled: [...lead, masks, channels], area: [...lead, masks] };
    this.#refuse(tensors, shapes);
    const jobs = divideWork(this.#context.bindingLimit, sizes, {
      features: this.#bytes(input.features),
      maskLogits: this.#bytes(input.maskLogits),
    });
    const [pooled, area] = await this.#onDevice(tensors, shapes, (program, sources, results) => {
      const [features, maskLogits] = sources as [Source, Source];
      const [pooled, area] = results as [GPUBuffer, GPUBuffer];
      const run = runOf(sizes, program);
      for (const job of jobs) this.#encodeForward(run, job, features, maskLogits, pooled, area);
    });
    return new PooledMasks(pooled!, area!);
  }

  /**
   * The gradients; see {@linkcode MaskPooling.gradients}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async gradients(
    input: MaskPoolingInput,
    cotangent: MaskPoolingCotangent,
  ): Promise<MaskPoolingGradients> {
    const sizes = checkMaskPooling(input, dtypes);
    checkMaskPoolingCotangent(cotangent, sizes, dtypes);
    const { features, maskLogits } = input;
    const tensors = { features, maskLogits, "the gradient by pooled": cotangent.pooled };
    const shapes = {
      "the gradient by features": features.shape,
      ...(this.#options.mode === "soft" ? { "the gradient by maskLogits": maskLogits.shape } : {}),
    };
    this.#refuse(tensors, shapes);
    const jobs = divideWork(this.#context.bindingLimit, sizes, { features: 4, maskLogits: 4 });
    const [byX, byM] = await this.#onDevice(tensors, shapes, (program, sources, results) => {
      const [x, m, g] = sources as [Source, Source, Source];
      const run = runOf(sizes, program);
      for (const job of jobs) {
        this.#encodeGradients(run, job, x, m, g, results[0]!, results[1] ?? null);
      }
    });
    return new MaskPoolingGradients(byX!, byM ?? null);
  }

  /** Frees the scratch memory. */
  dispose(): void {
    this.#pool.dispose();
  }

  /** As {@linkcode GpuMaskPooling.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #encodeForward(
    run: Run,
    job: Job,
    features: Source,
    maskLogits: Source,
    pooled: GPUBuffer,
    area: GPUBuffer,
  ): void {
    const { sizes: { channels }, grid: { pixels }, program } = run;
    const { images, masks } = job;
    const planes = images * masks;
    const weights = this.#encodeWeights(run, job, maskLogits);
    const sums = run.scratch("sums of features", planes * channels);
    for (const range of job.ranges) {
      const x = channelsOf(run, job, range, features);
      program.gemm(
        {
          batches: images,
          m: masks,
          n: range.channels,
          k: pixels,
          a: { rowStride: pixels, batchStride: masks * pixels },
          b: {
            offset: x.offset,
            rowStride: 1,
            columnStride: pixels,
            batchStride: channels * pixels,
            type: features.type,
          },
          c: { offset: range.channel, rowStride: channels, batchStride: masks * channels },
        },
        weights.values,
        x.place,
        sums,
      );
    }
    const first = this.#firstPlane(run, job);
    this.#encodeMean(
      run,
      planes,
      weights,
      { place: sums, offset: 0, type: "f32" },
      elementRange(area, first, planes),
      elementRange(pooled, first * channels, planes * channels),
    );
  }

  #encodeGradients(
    run: Run,
    job: Job,
    features: Source,
    maskLogits: Source,
    cotangent: Source,
    byFeatures: GPUBuffer,
    byMaskLogits: GPUBuffer | null,
  ): void {
    const { sizes: { channels }, grid: { pixels }, program } = run;
    const { images, masks } = job;
    const planes = images * masks;
    const first = this.#firstPlane(run, job);
    const weights = this.#encodeWeights(run, job, maskLogits);
    const area = run.scratch("areas", planes);
    // ĝ = g / (area + ε)
    const scaled = run.scratch("scaled gradient", planes * channels);
    this.#encodeMean(
      run,
      planes,
      weights,
      {
        ...elementRange(cotangent.buffer, first * channels, planes * channels, cotangent.type),
        type: cotangent.type,
      },
      { place: area, offset: 0 },
      { place: scaled, offset: 0 },
    );
    const byWeight = byMaskLogits === null
      ? null
      : run.scratch("gradient by the weights", planes * pixels);
    for (const range of job.ranges) {
      const into = channelsOf(run, job, range, { buffer: byFeatures, type: "f32" });
      const perImage = { features: channels * pixels, masks: masks * pixels };
      program.gemm(
        {
          batches: images,
          m: range.channels,
          n: pixels,
          k: masks,
          a: {
            offset: range.channel,
            rowStride: 1,
            columnStride: channels,
            batchStride: masks * channels,
          },
          b: { rowStride: pixels, batchStride: perImage.masks },
          c: { offset: into.offset, rowStride: pixels, batchStride: perImage.features },
        },
        scaled,
        weights.values,
        into.place,
        { beta: job.mask > 0 ? 1 : 0 },
      );
      if (byWeight === null) continue;
      const x = channelsOf(run, job, range, features);
      program.gemm(
        {
          batches: images,
          m: masks,
          n: pixels,
          k: range.channels,
          a: { offset: range.channel, rowStride: channels, batchStride: masks * channels },
          b: {
            offset: x.offset,
            rowStride: pixels,
            batchStride: perImage.features,
            type: features.type,
          },
          c: { rowStride: pixels, batchStride: perImage.masks },
        },
        scaled,
        x.place,
        byWeight,
        { beta: range.channel > 0 ? 1 : 0 },
      );
    }
    if (byWeight === null) return;
    const correction = run.scratch("corrections", planes);
    program.kernel(
      correctionKernel(run.grid.vector),
      planes,
      [u32(planes), u32(run.grid.cells), f32(emptyArea)],
      [weights.values, byWeight, area, correction],
    );
    this.#encodeSlope(run, job, maskLogits, byWeight, correction, weights.values, byMaskLogits!);
  }

  /** Records the kernel that computes the weights of a job's masks. */
  #encodeWeights(run: Run, job: Job, maskLogits: Source): Weights {
    const { sizes, grid, program } = run;
    const planes = job.images * job.masks;
    const weights = {
      values: run.scratch("mask weights", planes * grid.pixels),
      partAreas: run.scratch("parts of areas", planes * grid.parts),
    };
    const logits = this.#logitsOf(run, job, maskLogits);
    program.kernel(
      weightsKernel(grid.vector, grid.resized, maskLogits.type),
      Math.ceil(planes * grid.parts / 64),
      cellParams(sizes, grid, planes, logits.offset, { soft: this.#options.mode === "soft" }),
      [logits.place, weights.values, weights.partAreas],
    );
    return weights;
  }

  /** Records the kernel that adds up areas and divides rows by them. */
  #encodeMean(
    { sizes: { channels }, grid, program }: Run,
    rows: number,
    weights: Weights,
    values: Placed & { type: ElementType },
    area: Placed,
    means: Placed,
  ): void {
    const vector = channels % 4 === 0;
    const lanes = vector ? 4 : 1;
    program.kernel(
      meanKernel(vector, values.type),
      rows,
      [
        ...[rows, grid.parts, channels / lanes].map(u32),
        ...[values.offset / lanes, means.offset / lanes, area.offset].map(u32),
        f32(emptyArea),
      ],
      [weights.partAreas, values.place, area.place, means.place],
    );
  }

  /** Records the way back from the weights to the logits. */
  #encodeSlope(
    run: Run,
    job: Job,
    maskLogits: Source,
    byWeight: Slot,
    correction: Slot,
    scratch: Slot,
    byMaskLogits: GPUBuffer,
  ): void {
    const { sizes, grid, program } = run;
    const planes = job.images * job.masks;
    const logits = this.#logitsOf(run, job, maskLogits);
    const into = this.#logitsOf(run, job, { buffer: byMaskLogits, type: "f32" });
    const target: Placed = grid.resized ? { place: scratch, offset: 0 } : into;
    program.kernel(
      slopeKernel(grid.vector, grid.resized, maskLogits.type),
      Math.ceil(planes * grid.parts / 64),
      cellParams(sizes, grid, planes, logits.offset, {
        resultOffset: target.offset / (grid.vector ? 4 : 1),
      }),
      [logits.place, byWeight, correction, target.place],
    );
    if (!grid.resized) return;
    const { height, width, maskHeight, maskWidth } = sizes;
    program.kernel(
      adjointKernel,
      Math.ceil(Math.ceil(planes / 8) * maskHeight * maskWidth / 64),
      [planes, maskHeight, maskWidth, height, width, into.offset].map(u32),
      [scratch, into.place],
    );
  }

  /** The first mask of a job, counted over all images. */
  #firstPlane({ sizes }: Run, job: Job): number {
    return job.image * sizes.masks + job.mask;
  }

  /** The logits of a job's masks. */
  #logitsOf(run: Run, job: Job, { buffer, type }: Source): ElementRange {
    const plane = run.sizes.maskHeight * run.sizes.maskWidth;
    const planes = job.images * job.masks;
    return elementRange(buffer, this.#firstPlane(run, job) * plane, planes * plane, type);
  }

  /** Bytes of a tensor's element on the device. */
  #bytes(tensor: Tensor): number {
    return elementBytes(elementTypeOn(this.#context.gpu, tensor));
  }

  /** Refuses what the device can't take, before anything is allocated. */
  #refuse(
    tensors: Readonly<Record<string, Tensor>>,
    results: Readonly<Record<string, readonly number[]>>,
  ): void {
    const check = (name: string, shape: readonly number[], bytes: number) =>
      this.#context.checkBuffer(
        `mask pooling: ${name} of shape ${formatShape(shape)}`,
        bytes * sizeOf(shape),
      );
    for (const [name, tensor] of Object.entries(tensors)) {
      check(name, tensor.shape, this.#bytes(tensor));
    }
    for (const [name, shape] of Object.entries(results)) check(name, shape, 4);
  }

  /**
   * Brings tensors to the device, allocates the results and submits what `record` records.
   *
   * @param tensors The inputs by name.
   * @param shapes Of the results, by name.
   * @param record Gets inputs and results in these orders.
   * @returns The results, which the caller owns.
   */
  async #onDevice(
    tensors: Readonly<Record<string, Tensor>>,
    shapes: Readonly<Record<string, readonly number[]>>,
    record: (program: Program, sources: readonly Source[], results: readonly GPUBuffer[]) => void,
  ): Promise<GpuTensor<"float32">[]> {
    const context = this.#context;
    const { gpu } = context;
    const operands: GpuElements[] = [];
    const results: GpuTensor<"float32">[] = [];
    const lease = this.#pool.lease();
    const named = Object.entries(tensors);
    try {
      for (const [name, tensor] of named) {
        operands.push(await toGpuElements(gpu, name, tensor));
      }
      const sources = named.map(([name, tensor], i) => ({
        name,
        shape: tensor.shape,
        buffer: operands[i]!.buffer,
        type: operands[i]!.type,
      }));
      const checked = this.#options.checkFinite
        ? refuseNonfinite(context, "mask pooling", sources)
        : Promise.resolve();
      await context.guard("mask pooling", () => {
        for (const [name, shape] of Object.entries(shapes)) {
          results.push(GpuTensor.allocate(gpu, "float32", shape, name));
        }
      });
      const program = new Program(context, lease, "mask pooling");
      record(program, sources, results.map(({ buffer }) => buffer));
      await program.submit();
      await checked;
      return results;
    } catch (error) {
      for (const result of results) result.dispose();
      throw error;
    } finally {
      lease.release();
      for (const operand of operands) operand.dispose();
    }
  }
}

/** Where something lies, and elements from the start of that binding. */
interface Placed {
  readonly place: Slot | ElementRange["place"];
  readonly offset: number;
}

/** The channels of a range, of a job's images. */
function channelsOf(
  { sizes, grid }: Run,
  job: Job,
  range: { channel: number; channels: number },
  { buffer, type }: Source,
): ElementRange {
  return elementRange(
    buffer,
    (job.image * sizes.channels + range.channel) * grid.pixels,
    job.images * range.channels * grid.pixels,
    type,
  );
}

function runOf(sizes: MaskPoolingSizes, program: Program): Run {
  const slots = new Map<string, Slot>();
  const scratch = (label: string, elements: number) => {
    let slot = slots.get(label);
    // The first job is the largest.
    if (slot === undefined) slots.set(label, slot = program.scratch(label, elements));
    return slot;
  };
  return { sizes, grid: gridOf(sizes), program, scratch };
}

function gridOf({ height, width, maskHeight, maskWidth }: MaskPoolingSizes): Grid {
  const pixels = height * width;
  const resized = height !== maskHeight || width !== maskWidth;
  const vector = (resized ? width : pixels) % 4 === 0;
  const cells = vector ? pixels / 4 : pixels;
  // Where nothing is interpolated the shape doesn't matter.
  const rows = resized ? height : Math.min(rowsPerPart, cells);
  const columns = Math.ceil(cells / rows);
  const parts = columns * Math.ceil(rows / rowsPerPart);
  return { vector, resized, pixels, cells, rows, columns, parts };
}

/** The parameters of `cells.wgsl`. */
function cellParams(
  { maskHeight, maskWidth, height, width }: MaskPoolingSizes,
  grid: Grid,
  planes: number,
  offset: number,
  { soft = false, resultOffset = 0 }: { soft?: boolean; resultOffset?: number },
): Param[] {
  // Logits of the same size are bound as cells.
  const perCell = grid.vector && !grid.resized ? 4 : 1;
  return [
    ...[planes, grid.cells, grid.rows, grid.columns, grid.parts, offset / perCell],
    ...[maskHeight, maskWidth, height, width, Number(soft), resultOffset],
  ].map(u32);
}
