/**
 * Per-pixel classification on WebGPU.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { fromFloat16 } from "../../lib/float16.ts";
import type { Tensor } from "../../lib/tensor.ts";
import { CommandList, f32, type Param, u32 } from "../dispatch/command_list.ts";
import { formatBytes, KernelContext, tensorUsage } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { nonFiniteError } from "../finite.ts";
import { type AxisRun, axisRuns } from "./axis_runs.ts";
import {
  checkClassification,
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  type ClassificationSizes,
  emptyScore,
  PixelLabels,
} from "./contract.ts";
import interleaveWgsl from "./interleave.wgsl" with { type: "text" };
import labelWgsl from "./label.wgsl" with { type: "text" };
import pruneWgsl from "./prune.wgsl" with { type: "text" };
import topWgsl from "./top.wgsl" with { type: "text" };

/** Units of pixels along a side of a tile, which is what one workgroup labels. */
const tileSide = 8;
/** Classes of one pass of `label.wgsl` over the masks. */
const blockSize = 4;
/** Fewer classes than this are pruned tile by tile only, without larger regions first. */
const regionClasses = 64;
/** Classes that the list of a tile and of a region holds; beyond, all are looked at. */
const tileCapacity = 512;
const regionCapacity = 4096;
/** Scratch memory that a band of the image may take, per kind. */
const scratchBytes = 2 ** 26;

/** What may be set for tests; it changes no result. */
export interface GpuClassificationTuning {
  /** Leave out what can't win; on where left out. */
  readonly prune?: boolean;
  /** Classes per list, in place of the usual numbers. */
  readonly capacity?: number;
  /** Work of the first slice; see {@linkcode Slices}. */
  readonly slice?: number;
}

/** The WGSL kernels of per-pixel classification. They keep no memory between runs. */
export class GpuClassification {
  readonly #context: KernelContext;
  readonly #options: ClassificationOptions;
  readonly #tuning: GpuClassificationTuning;

  /**
   * @param gpu The device.
   * @param options Threshold.
   * @param tuning For tests.
   */
  constructor(
    gpu: GPUDevice,
    options: ClassificationOptions = {},
    tuning: GpuClassificationTuning = {},
  ) {
    this.#context = KernelContext.of(gpu);
    this.#options = options;
    this.#tuning = tuning;
  }

  /**
   * Labels once; see {@linkcode PixelClassification.run}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async run(input: ClassificationInput, run: ClassificationRun = {}): Promise<PixelLabels> {
    const sizes = checkClassification(input);
    run.signal?.throwIfAborted();
    using scratch = new Scratch(this.#context);
    const labelling = new Labelling(
      this.#context,
      scratch,
      this.#options,
      this.#tuning,
      sizes,
      run,
    );
    return await labelling.run(input);
  }
}

/** Buffers of one run, destroyed at its end; the device still finishes what was submitted. */
class Scratch implements Disposable {
  readonly #context: KernelContext;
  readonly #buffers = new Set<GPUBuffer>();

  constructor(context: KernelContext) {
    this.#context = context;
  }

  create(label: string, bytes: number): GPUBuffer {
    const buffer = this.#context.createBuffer(label, bytes, tensorUsage);
    this.#buffers.add(buffer);
    return buffer;
  }

  upload(label: string, data: ArrayBufferView<ArrayBuffer>): GPUBuffer {
    const buffer = this.create(label, data.byteLength);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const whole = bytes.subarray(0, bytes.length & ~3);
    this.#context.gpu.queue.writeBuffer(buffer, 0, whole);
    if (whole.length < bytes.length) {
      // WebGPU writes multiples of four bytes.
      const rest = new Uint8Array(4);
      rest.set(bytes.subarray(whole.length));
      this.#context.gpu.queue.writeBuffer(buffer, whole.length, rest);
    }
    return buffer;
  }

  destroy(buffer: GPUBuffer | undefined): void {
    if (buffer !== undefined && this.#buffers.delete(buffer)) this.#context.destroyBuffer(buffer);
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#buffers) this.#context.destroyBuffer(buffer);
    this.#buffers.clear();
  }
}

/** An input as the kernels read it: rows of a tensor, on the device or still on the host. */
interface Source {
  readonly name: string;
  readonly half: boolean;
  readonly rows: number;
  readonly stride: number;
  readonly buffer: GPUBuffer | null;
  readonly data: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | null;
  readonly fault: GPUBuffer;
}

/** A strip of the image, as high as the scratch memory allows. */
interface Band {
  /** First row of units, and one past the last. */
  readonly top: number;
  readonly bottom: number;
  /** First row of the masks, and how many. */
  readonly firstRow: number;
  readonly rows: number;
}

/** How the image is cut up. */
interface Plan {
  readonly columns: AxisRun[];
  readonly rows: AxisRun[];
  /** The most pixels along a unit's side: 1, 2 or 4. */
  readonly unitSide: number;
  /** Tiles along a region's side. */
  readonly regionSide: number;
  readonly bands: readonly Band[];
  /** Classes of one chunk of probabilities. */
  readonly chunk: number;
  readonly regionCapacity: number;
  readonly tileCapacity: number;
}

/**
 * Sizes of submissions: a driver kills what runs too long, and a page wants its turn. Work is
 * counted in classes × masks × units of pixels.
 */
class Slices {
  /** The work that may be submitted next. */
  budget: number;
  #since = performance.now();

  constructor(budget: number) {
    this.budget = budget;
  }

  /** Learns from a slice that has just been finished: a tenth of a second is aimed at. */
  finished(work: number): void {
    const now = performance.now();
    const factor = 100 / Math.max(now - this.#since, 1);
    this.#since = now;
    // A slice far below its budget says little.
    if (work > this.budget / 2) this.budget *= Math.min(Math.max(factor, 0.5), 4);
  }
}

class Labelling {
  readonly #context: KernelContext;
  readonly #scratch: Scratch;
  readonly #options: ClassificationOptions;
  readonly #tuning: GpuClassificationTuning;
  readonly #sizes: ClassificationSizes;
  readonly #run: ClassificationRun;
  readonly #slices: Slices;
  readonly #groups: number;
  #pipelines!: Pipelines;
  #labels!: GPUBuffer;
  #scores!: GPUBuffer;

  constructor(
    context: KernelContext,
    scratch: Scratch,
    options: ClassificationOptions,
    tuning: GpuClassificationTuning,
    sizes: ClassificationSizes,
    run: ClassificationRun,
  ) {
    this.#context = context;
    this.#scratch = scratch;
    this.#options = options;
    this.#tuning = tuning;
    this.#sizes = sizes;
    this.#run = run;
    this.#slices = new Slices(tuning.slice ?? 2 ** 26);
    this.#groups = Math.ceil(sizes.masks / 4);
  }

  async run(input: ClassificationInput): Promise<PixelLabels> {
    const { height, width } = this.#sizes;
    const plan = makePlan(this.#sizes, this.#context.bindingLimit, this.#tuning);
    this.#context.checkBinding("classification: the labels", 4 * height * width);
    this.#pipelines = await makePipelines(this.#context, plan, input);
    const masks = await this.#open("maskLogits", input.maskLogits);
    const probabilities = await this.#open("probabilities", input.probabilities);
    const outputs: GpuTensor[] = [];
    try {
      const [labels, scores] = await this.#context.guard("classification", () => {
        const { gpu } = this.#context;
        const labels = GpuTensor.allocate(gpu, "int32", [height, width], "labels");
        outputs.push(labels);
        const scores = GpuTensor.allocate(gpu, "float32", [height, width], "scores");
        outputs.push(scores);
        return [labels, scores] as const;
      });
      this.#labels = labels.buffer;
      this.#scores = scores.buffer;
      let done = 0;
      for (const band of plan.bands) {
        await this.#band(plan, band, masks, probabilities, done);
        done += (plan.rows[band.bottom - 1]!.end - plan.rows[band.top]!.start) * width;
      }
      if (this.#options.checkFinite) {
        await this.#checkFinite(masks, input.maskLogits);
        await this.#checkFinite(probabilities, input.probabilities);
      }
      return new PixelLabels(labels, scores);
    } catch (error) {
      for (const output of outputs) output.dispose();
      throw error;
    }
  }

  /** Brings an input to the device, if one binding holds it. */
  async #open(name: string, tensor: Tensor): Promise<Source> {
    const half = tensor.dtype === "float16";
    const rows = tensor.shape[0]!;
    const stride = tensor.shape.slice(1).reduce((a, b) => a * b, 1);
    const { gpu, bindingLimit } = this.#context;
    let buffer: GPUBuffer | null = null;
    let data: Source["data"] = null;
    if (tensor instanceof GpuTensor && tensor.gpu === gpu) {
      buffer = tensor.buffer;
    } else {
      data = await tensor.read() as NonNullable<Source["data"]>;
    }
    return await this.#context.guard(`upload of ${name}`, () => {
      if (data !== null && data.byteLength <= bindingLimit) {
        buffer = this.#scratch.upload(name, data);
      }
      const fault = this.#scratch.upload("fault", new Uint32Array([0xffffffff]));
      return { name, half, rows, stride, buffer, data, fault };
    });
  }

  /** Labels a strip of the image. */
  async #band(
    plan: Plan,
    band: Band,
    masks: Source,
    probabilities: Source,
    before: number,
  ): Promise<void> {
    const { maskWidth, classes, width } = this.#sizes;
    const scratch = this.#scratch;
    const groups = this.#groups;
    const plane = band.rows * maskWidth;
    const unitsX = plan.columns.length;
    const unitsY = band.bottom - band.top;
    const tilesX = Math.ceil(unitsX / tileSide);
    const tiles = tilesX * Math.ceil(unitsY / tileSide);
    const regionsX = Math.ceil(tilesX / plan.regionSide);
    const regions = regionsX * Math.ceil(Math.ceil(unitsY / tileSide) / plan.regionSide);
    const pixels = (plan.rows[band.bottom - 1]!.end - plan.rows[band.top]!.start) * width;

    const made: GPUBuffer[] = [];
    const create = (label: string, bytes: number) => {
      const buffer = scratch.create(label, bytes);
      made.push(buffer);
      return buffer;
    };
    const prunes = plan.tileCapacity > 0;
    const prunesRegions = plan.regionCapacity > 0;
    const opened = await this.#context.guard("classification", () => {
      const list = new CommandList(this.#context);
      const columns = create("mask logits by fours", 16 * groups * plane);
      const staging = this.#interleave(list, masks, band.firstRow * maskWidth, plane, columns);
      const runs = scratch.upload(
        "runs",
        packRuns(plan.columns, plan.rows.slice(band.top, band.bottom), band.firstRow),
      );
      made.push(runs);
      list.submit();
      scratch.destroy(staging);
      return {
        columns,
        runs,
        regionLists: create(
          "classes of regions",
          4 * Math.max(1, regions * (plan.regionCapacity + 1)),
        ),
        tileLists: create("classes of tiles", 4 * Math.max(1, tiles * (plan.tileCapacity + 1))),
        bounds: create("bounds", prunes ? 32 * groups * Math.max(tiles, regions) : 4),
        regionWork: create("work of regions", 4 * regions),
        tileWork: create("work of tiles", 4 * tiles),
        dummy: create("none", 4),
      };
    });

    for (let first = 0; first < classes; first += plan.chunk) {
      const count = Math.min(plan.chunk, classes - first);
      const chunkDone = before + Math.floor(pixels * first / classes);
      const chunk = await this.#context.guard("classification", () => {
        const list = new CommandList(this.#context);
        const columns = create("probabilities by fours", 16 * groups * count);
        const staging = this.#interleave(list, probabilities, first, count, columns);
        const tops = create("likeliest classes", 8 * 4 * groups);
        list.dispatch(this.#pipelines.top, groups, [groups, count].map(u32), [columns, tops]);
        list.submit();
        scratch.destroy(staging);
        return { columns, tops };
      });
      const margin = f32((2 * this.#sizes.masks + 64) * 2 ** -24);
      if (prunesRegions) {
        await this.#inSlices(regions, groups * count, (list, from, size) => {
          list.dispatch(
            this.#pipelines.prune,
            size,
            [groups, plane, maskWidth, count, unitsX, unitsY, tileSide * plan.regionSide, regionsX]
              .concat([from, size, plan.regionCapacity, 1, 1, 0]).map(u32).concat(margin),
            [opened.columns, chunk.columns, opened.runs, chunk.tops, opened.dummy]
              .concat([opened.regionLists, opened.bounds, opened.regionWork]),
          );
        }, opened.regionWork);
      }
      if (prunes) {
        await this.#inSlices(
          tiles,
          groups * Math.min(count, plan.regionCapacity || count),
          (list, from, size) => {
            list.dispatch(
              this.#pipelines.prune,
              size,
              [groups, plane, maskWidth, count, unitsX, unitsY, tileSide, tilesX]
                .concat([from, size, plan.tileCapacity, plan.regionSide, regionsX])
                .concat(plan.regionCapacity).map(u32).concat(margin),
              [opened.columns, chunk.columns, opened.runs, chunk.tops, opened.regionLists]
                .concat([opened.tileLists, opened.bounds, opened.tileWork]),
            );
          },
          opened.tileWork,
        );
      }
      const counts = await this.#counts(tiles, count, prunes ? opened.tileWork : null);
      const label = (list: CommandList, from: number, to: number, tile: number, size: number) => {
        const params = (least: number, most: number): Param[] =>
          [groups, plane, maskWidth, count, width, unitsX, unitsY, tilesX, tile, size]
            .concat([plan.tileCapacity, plan.regionSide, regionsX, plan.regionCapacity, from, to])
            .concat([least, most, first, Number(first > 0), Number(first + count >= classes)])
            .map(u32).concat([f32(this.#options.threshold ?? 0), f32(emptyScore)]);
        const buffers = [opened.columns, chunk.columns, opened.runs, opened.regionLists]
          .concat([opened.tileLists, this.#labels, this.#scores]);
        if (from === 0) list.dispatch(this.#pipelines.single, size, params(0, 1), buffers);
        if (count > 1) list.dispatch(this.#pipelines.several, size, params(2, count), buffers);
      };
      await this.#labelTiles(
        counts,
        tiles,
        count,
        label,
        opened.tileWork,
        (share) =>
          this.#run.progress?.(
            chunkDone + Math.floor(pixels * count / classes * share),
            this.#sizes.height * width,
          ),
      );
      scratch.destroy(chunk.columns);
      scratch.destroy(chunk.tops);
    }
    for (const buffer of made) scratch.destroy(buffer);
  }

  /** Copies some columns of an input, four rows to a vector. Returns what to destroy afterwards. */
  #interleave(
    list: CommandList,
    source: Source,
    first: number,
    count: number,
    target: GPUBuffer,
  ): GPUBuffer | undefined {
    const { rows, stride, half } = source;
    const bytes = half ? 2 : 4;
    const groups = Math.ceil(rows / 4);
    const blocks = Math.ceil(count / 64);
    const pipeline = source.name === "maskLogits"
      ? this.#pipelines.interleaveMasks
      : this.#pipelines.interleaveProbabilities;
    const dispatch = (
      buffer: GPUBuffer,
      group: number,
      size: number,
      layout: { stride: number; base: number; offset: number; bytes: number },
    ) =>
      list.dispatch(
        pipeline,
        size * blocks,
        [rows, group, size, layout.stride, layout.base, count, stride, first, blocks]
          .map((value) => u32(value >>> 0)),
        [{ buffer, offset: layout.offset, size: layout.bytes }, target, source.fault],
      );
    if (source.buffer === null) {
      // Row by row into a buffer of these columns alone; its rows begin at multiples of four bytes.
      const data = source.data!;
      const packed = Math.ceil(count * bytes / 4) * 4 / bytes;
      const staging = this.#scratch.create(source.name, rows * packed * bytes);
      for (let r = 0; r < rows; r++) {
        let row = data.subarray(r * stride + first, r * stride + first + count);
        if (packed > count) {
          const padded = new Uint16Array(packed);
          padded.set(row);
          row = padded;
        }
        this.#context.gpu.queue.writeBuffer(staging, r * packed * bytes, row);
      }
      dispatch(staging, 0, groups, { stride: packed, base: 0, offset: 0, bytes: staging.size });
      return staging;
    }
    const { buffer } = source;
    const limit = this.#context.bindingLimit;
    for (let group = 0, size = groups; group < groups; group += size, size = groups - group) {
      for (;; size = Math.ceil(size / 2)) {
        const from = group * 4 * stride + first;
        const to = (Math.min((group + size) * 4, rows) - 1) * stride + first + count;
        const offset = Math.floor(from * bytes / 256) * 256;
        const length = Math.min(Math.ceil(to * bytes / 4) * 4, buffer.size) - offset;
        if (length <= limit) {
          const base = offset / bytes - first;
          dispatch(buffer, group, size, { stride, base, offset, bytes: length });
          break;
        }
        if (size === 1) {
          throw new DeviceError(
            `classification: four rows of the ${source.name} take ${
              formatBytes(length)
            }, but this ` +
              `WebGPU device binds at most ${formatBytes(limit)} at once; use a smaller input or ` +
              `the CPU`,
          );
        }
      }
    }
  }

  /** Dispatches over numbered items, whose work is the same, in slices. */
  async #inSlices(
    items: number,
    workPerItem: number,
    encode: (list: CommandList, from: number, size: number) => void,
    fence: GPUBuffer,
  ): Promise<void> {
    // An item of pruning costs about what a 64th of one of labelling does.
    const work = workPerItem / 16;
    for (let from = 0; from < items;) {
      const size = Math.min(items - from, Math.max(1, Math.floor(this.#slices.budget / work)));
      await this.#submit((list) => encode(list, from, size));
      from += size;
      if (from < items) await this.#pause(size * work, fence);
    }
  }

  /** Every tile's number of classes; null where a single slice holds all of them anyway. */
  async #counts(tiles: number, classes: number, work: GPUBuffer | null) {
    const most = tiles * tileWork(classes, this.#groups);
    if (most <= this.#slices.budget || work === null) return null;
    return new Uint32Array(await this.#context.readBuffer(work, 4 * tiles));
  }

  /** Labels tiles in slices of tiles and, where a tile has very many classes, of classes. */
  async #labelTiles(
    counts: Uint32Array | null,
    tiles: number,
    classes: number,
    label: (list: CommandList, from: number, to: number, tile: number, size: number) => void,
    fence: GPUBuffer,
    progress: (share: number) => void,
  ): Promise<void> {
    const countOf = (tile: number) => counts?.[tile] ?? classes;
    const work = (n: number) => tileWork(n, this.#groups);
    let total = 0;
    let most = 0;
    for (let tile = 0; tile < tiles; tile++) {
      total += work(countOf(tile));
      most = Math.max(most, countOf(tile));
    }
    let done = 0;
    for (let from = 0; from < most;) {
      const perTile = Math.floor(this.#slices.budget / work(blockSize)) * blockSize;
      const to = from + Math.max(blockSize, perTile);
      for (let tile = 0; tile < tiles;) {
        let size = 0;
        let slice = 0;
        while (tile + size < tiles) {
          const next = work(Math.min(Math.max(countOf(tile + size) - from, 0), to - from));
          if (size > 0 && slice + next > this.#slices.budget) break;
          slice += next;
          size++;
        }
        if (slice > 0) {
          await this.#submit((list) => label(list, from, Math.min(to, 2 ** 31), tile, size));
          done += slice;
        }
        tile += size;
        if (done < total) {
          await this.#pause(slice, fence);
          progress(done / total);
        }
      }
      from = to;
    }
  }

  async #submit(encode: (list: CommandList) => void): Promise<void> {
    await this.#context.guard("classification", () => {
      const list = new CommandList(this.#context);
      encode(list);
      list.submit();
    });
  }

  /** Waits for what was submitted, and looks whether to go on. */
  async #pause(work: number, fence: GPUBuffer): Promise<void> {
    await this.#context.readBuffer(fence, 4);
    this.#slices.finished(work);
    this.#run.signal?.throwIfAborted();
  }

  async #checkFinite(source: Source, { shape }: Tensor): Promise<void> {
    const index = new Uint32Array(await this.#context.readBuffer(source.fault, 4))[0]!;
    if (index === 0xffffffff) return;
    const byte = index * (source.half ? 2 : 4);
    const element = source.data?.[index] ?? await this.#element(source, byte);
    const value = source.half ? fromFloat16(element) : element;
    throw nonFiniteError("classification", source.name, shape, index, value);
  }

  async #element({ buffer, half }: Source, byte: number): Promise<number> {
    const word = new DataView(await this.#context.readBuffer(buffer!, 4, byte - byte % 4));
    return half ? word.getUint16(byte % 4, true) : word.getFloat32(0, true);
  }
}

function tileWork(classes: number, groups: number): number {
  return classes === 0 ? 0 : Math.ceil(classes / blockSize) * groups * tileSide * tileSide;
}

interface Pipelines {
  readonly interleaveMasks: GPUComputePipeline;
  readonly interleaveProbabilities: GPUComputePipeline;
  readonly top: GPUComputePipeline;
  readonly prune: GPUComputePipeline;
  readonly single: GPUComputePipeline;
  readonly several: GPUComputePipeline;
}

async function makePipelines(
  context: KernelContext,
  plan: Plan,
  input: ClassificationInput,
): Promise<Pipelines> {
  const interleave = (tensor: Tensor) =>
    context.pipeline("classification/interleave", interleaveWgsl, {
      types: { Element: tensor.dtype === "float16" ? "f16" : "f32" },
    });
  const label = (block: number) => {
    const constants = { side: plan.unitSide, block };
    const values = Object.entries(constants);
    const code = values.map(([name, value]) => `const ${name} = ${value}u;\n`).join("") + labelWgsl;
    return context.pipeline(`classification/label ${Object.values(constants)}`, code);
  };
  const [interleaveMasks, interleaveProbabilities, top, prune, single, several] = await Promise.all(
    [
      interleave(input.maskLogits),
      interleave(input.probabilities),
      context.pipeline("classification/top", topWgsl),
      context.pipeline("classification/prune", pruneWgsl),
      label(1),
      label(blockSize),
    ],
  );
  return { interleaveMasks, interleaveProbabilities, top, prune, single, several };
}

/** The runs of both axes as the kernels read them, columns first. */
function packRuns(columns: AxisRun[], rows: AxisRun[], firstRow: number): Uint32Array<ArrayBuffer> {
  const all = [
    ...columns,
    ...rows.map((run) => ({
      ...run,
      low: run.low - firstRow,
      high: run.high - firstRow,
    })),
  ];
  const words = new Uint32Array(6 * all.length);
  const floats = new Float32Array(words.buffer);
  all.forEach(({ start, end, low, high, offset, step }, i) => {
    words.set([start, end - start, low, high], 6 * i);
    floats.set([offset, step], 6 * i + 4);
  });
  return words;
}

/** The most pixels of one axis between the same two samples. */
function longestRun(outputs: number, inputs: number): number {
  return Math.max(...axisRuns(outputs, inputs).map(({ start, end }) => end - start));
}

/**
 * Cuts the image up so that every binding holds its part.
 *
 * @throws {DeviceError} If even the smallest parts are too large.
 */
function makePlan(
  sizes: ClassificationSizes,
  bindingLimit: number,
  tuning: GpuClassificationTuning,
): Plan {
  const { masks, classes, maskHeight, maskWidth, height, width } = sizes;
  const groups = Math.ceil(masks / 4);
  const limit = Math.min(bindingLimit, scratchBytes);
  const chunk = Math.min(classes, Math.floor(limit / (16 * groups)));
  if (chunk === 0) {
    throw new DeviceError(
      `classification: the probabilities of one class take ${formatBytes(16 * groups)}, but this ` +
        `WebGPU device binds at most ${
          formatBytes(bindingLimit)
        } at once; use fewer masks or the CPU`,
    );
  }
  const longest = Math.max(longestRun(width, maskWidth), longestRun(height, maskHeight));
  // What a lane of the kernel labels: 1, 2 or 4 pixels square.
  const unitSide = longest > 2 ? 4 : longest;
  const columns = axisRuns(width, maskWidth, unitSide);
  const rows = axisRuns(height, maskHeight, unitSide);
  const prunes = tuning.prune !== false && classes > blockSize;
  const ofTiles = prunes ? Math.min(tuning.capacity ?? tileCapacity, classes) : 0;
  const ofRegions = prunes && classes >= regionClasses
    ? Math.min(tuning.capacity ?? regionCapacity, classes)
    : 0;
  const tilesX = Math.ceil(columns.length / tileSide);
  let least = 0;
  for (const regionSide of [4, 2, 1]) {
    const step = tileSide * regionSide;
    const regionsX = Math.ceil(tilesX / regionSide);
    const cut = (top: number, bottom: number): Band => {
      const firstRow = rows[top]!.low;
      return { top, bottom, firstRow, rows: rows[bottom - 1]!.high - firstRow + 1 };
    };
    const bytes = (band: Band): number => {
      const tiles = tilesX * Math.ceil((band.bottom - band.top) / tileSide);
      const regions = regionsX * Math.ceil((band.bottom - band.top) / step);
      return Math.max(
        16 * groups * band.rows * maskWidth,
        prunes ? 32 * groups * Math.max(tiles, regions) : 0,
        4 * tiles * (ofTiles + 1),
        4 * regions * (ofRegions + 1),
      );
    };
    const bands: Band[] = [];
    for (let top = 0; top < rows.length;) {
      let band = cut(top, Math.min(top + step, rows.length));
      least = bytes(band);
      if (least > limit) break;
      for (;;) {
        const more = cut(top, Math.min(band.bottom + step, rows.length));
        if (more.bottom === band.bottom || bytes(more) > limit) break;
        band = more;
      }
      bands.push(band);
      top = band.bottom;
    }
    if (bands.at(-1)?.bottom === rows.length) {
      return {
        columns,
        rows,
        unitSide,
        regionSide,
        bands,
        chunk,
        regionCapacity: ofRegions,
        tileCapacity: ofTiles,
      };
    }
  }
  throw new DeviceError(
    `classification: ${masks} masks of ${maskHeight}×${maskWidth} need ${
      formatBytes(least)
    } for a ` +
      `strip of the image, but this WebGPU device offers ${formatBytes(limit)}; use fewer masks, ` +
      `smaller ones or the CPU`,
  );
}
