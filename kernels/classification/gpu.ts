/**
 * Per-pixel classification on WebGPU.
 *
 * @module
 */
import { DeviceError, InputError } from "../../lib/errors.ts";
import { fromFloat16, fromFloat16Array } from "../../lib/float16.ts";
import { sizeOf, type Tensor } from "../../lib/tensor.ts";
import { type BufferRange, CommandList, f32, type Param, u32 } from "../dispatch/command_list.ts";
import { formatBytes, KernelContext, tensorUsage } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { elementRange, usableBytes } from "../dispatch/ranges.ts";
import { nonfiniteElement } from "../dispatch/refuse_nonfinite.ts";
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
import tilesWgsl from "./tiles.wgsl" with { type: "text" };
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
/** Work of the first slice: some 0.3 s on two CPU cores posing as a GPU. */
const firstSlice = 2 ** 22;
/** Classes that are pruned for a region in the time of one pass over a unit of pixels. */
const prunedPerPass = 8;

/** What a kernel leaves where everything is finite. */
const noFault = 0xffffffff;

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
  readonly #retired: (GPUBuffer | null)[] = [];

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

  /** Lets those buffers that it has made go as soon as what was encoded is submitted. */
  retire(...buffers: (GPUBuffer | null)[]): void {
    this.#retired.push(...buffers);
  }

  /** Destroys what was let go. */
  flush(): void {
    for (const buffer of this.#retired.splice(0)) {
      if (buffer !== null && this.#buffers.delete(buffer)) this.#context.destroyBuffer(buffer);
    }
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
  readonly data: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | null;
  buffer: GPUBuffer | null;
  /** Where the kernels put the index of its first element that isn't finite. */
  fault: BufferRange | null;
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
 * counted in passes over four masks for a unit of pixels.
 */
class Slices {
  /** The work that may be submitted at once. */
  budget: number;

  constructor(budget: number) {
    this.budget = budget;
  }

  /** Learns from a slice that has just been finished: a tenth of a second is aimed at. */
  finished(work: number, milliseconds: number): void {
    const factor = 100 / Math.max(milliseconds, 1);
    // A slice far below its budget says little.
    if (work > this.budget / 2) this.budget *= Math.min(Math.max(factor, 0.5), 4);
  }
}

/**
 * What has been encoded: so much work, something whose contents are needed to go on, or the last look
 * at every input, which leaves its faults there.
 */
type Step =
  | { readonly work: number; readonly done?: number }
  | { readonly read: Readable }
  | { readonly faults: GPUBuffer };

interface Readable {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

type Steps = Generator<Step, void, ArrayBuffer | undefined>;

/** One band of the image on the device. */
interface BandState {
  readonly plan: Plan;
  readonly band: Band;
  readonly plane: number;
  readonly unitsX: number;
  readonly unitsY: number;
  readonly tilesX: number;
  readonly tiles: number;
  readonly regionsX: number;
  readonly regions: number;
  readonly columns: GPUBuffer;
  readonly runs: GPUBuffer;
  readonly regionLists: GPUBuffer;
  readonly tileLists: GPUBuffer;
  readonly bounds: GPUBuffer;
  readonly regionWork: GPUBuffer;
  readonly tileWork: GPUBuffer;
  readonly none: GPUBuffer;
}

/** A range of classes on the device. */
interface ChunkState {
  readonly first: number;
  readonly count: number;
  readonly columns: GPUBuffer;
  readonly tops: GPUBuffer;
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
  #list: CommandList | null = null;
  #labels: GpuTensor<"int32"> | null = null;
  #scores: GpuTensor<"float32"> | null = null;
  /** Where the inputs have been looked at: what was seen. */
  #faults: Promise<Uint32Array> | null = null;
  /** Where they are left, until labels and scores are gone. */
  #late: GPUBuffer | null = null;

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
    this.#slices = new Slices(tuning.slice ?? firstSlice);
    this.#groups = Math.ceil(sizes.masks / 4);
  }

  async run(input: ClassificationInput): Promise<PixelLabels> {
    const { height, width } = this.#sizes;
    const plan = makePlan(this.#sizes, this.#context.bindingLimit, this.#tuning);
    this.#context.checkBinding("classification: the labels", 4 * height * width);
    const masks = await this.#source("maskLogits", input.maskLogits);
    const probabilities = await this.#source("probabilities", input.probabilities);
    this.#pipelines = await makePipelines(this.#context, plan, masks.half, probabilities.half);
    try {
      await this.#drive(this.#steps(plan, masks, probabilities));
      await this.#refuseNonFinite([
        [masks, input.maskLogits],
        [probabilities, input.probabilities],
      ]);
      if (this.#late === null) return new PixelLabels(this.#labels!, this.#scores!);
      return this.#checkedOnRead(this.#late, [masks, probabilities], input);
    } catch (error) {
      await this.#faults?.catch(() => {});
      if (this.#late !== null) this.#context.destroyBuffer(this.#late);
      this.#labels?.dispose();
      this.#scores?.dispose();
      throw error;
    }
  }

  /** Encodes and submits as much at a time as the slices allow. */
  async #drive(steps: Steps): Promise<void> {
    let reply: ArrayBuffer | undefined;
    for (;;) {
      let work = 0;
      const start = performance.now();
      const last = await this.#context.guard("classification", () => {
        let next: ReturnType<Steps["next"]>;
        do {
          next = steps.next(reply);
          reply = undefined;
          if (!next.done && "work" in next.value) work += next.value.work;
        } while (!next.done && "work" in next.value && work < this.#slices.budget);
        this.#list?.submit();
        this.#list = null;
        this.#scratch.flush();
        return next;
      });
      if (last.done) return;
      if ("faults" in last.value) {
        // Copied before the next slice, so that the answer is there before the labels are.
        const { faults } = last.value;
        this.#faults = this.#context.readBuffer(faults, faults.size).then((data) =>
          new Uint32Array(data)
        );
        this.#faults.catch(() => {});
        continue;
      }
      const { buffer, bytes } = "read" in last.value
        ? last.value.read
        : { buffer: this.#labels!.buffer, bytes: 4 };
      const data = await this.#context.readBuffer(buffer, bytes);
      this.#slices.finished(work, performance.now() - start);
      this.#run.signal?.throwIfAborted();
      if ("read" in last.value) reply = data;
      else if (last.value.done !== undefined) {
        this.#run.progress?.(last.value.done, this.#sizes.height * this.#sizes.width);
        this.#run.signal?.throwIfAborted();
      }
    }
  }

  /** Encodes a dispatch for the next submission. */
  #dispatch(...dispatch: Parameters<CommandList["dispatch"]>): void {
    this.#list ??= new CommandList(this.#context);
    this.#list.dispatch(...dispatch);
  }

  /** An input on the device, or on the host where no binding holds it. */
  async #source(name: string, tensor: Tensor): Promise<Source> {
    const { gpu, bindingLimit } = this.#context;
    const rows = tensor.shape[0]!;
    const stride = sizeOf(tensor.shape) / rows;
    const half = tensor.dtype === "float16";
    const shared = { name, half, rows, stride, fault: null, buffer: null, data: null };
    if (half && !gpu.features.has("shader-f16")) {
      const data = fromFloat16Array(await tensor.read() as Uint16Array);
      return { ...shared, half: false, data: data as Float32Array<ArrayBuffer> };
    }
    const bytes = stride * (half ? 2 : 4);
    // A buffer is bound in parts of four rows at least.
    const fits = rows * bytes <= bindingLimit || 4 * bytes <= usableBytes(bindingLimit);
    if (tensor instanceof GpuTensor && tensor.gpu === gpu && fits) {
      return { ...shared, buffer: tensor.buffer };
    }
    return { ...shared, data: await tensor.read() as NonNullable<Source["data"]> };
  }

  /** All the work, in steps. */
  *#steps(plan: Plan, masks: Source, probabilities: Source): Steps {
    const { height, width } = this.#sizes;
    const { gpu, bindingLimit } = this.#context;
    this.#labels = GpuTensor.allocate(gpu, "int32", [height, width], "labels");
    this.#scores = GpuTensor.allocate(gpu, "float32", [height, width], "scores");
    // Bindings start at multiples of 256 bytes.
    const noFaults = new Uint32Array(128).fill(noFault);
    let faults: GPUBuffer;
    if (this.#options.checkFinite === "on read") {
      faults = this.#late = this.#context.createBuffer("faults", 512, tensorUsage);
      gpu.queue.writeBuffer(faults, 0, noFaults);
    } else faults = this.#scratch.upload("faults", noFaults);
    [masks, probabilities].forEach((source, i) => {
      source.fault = { buffer: faults, offset: 256 * i, size: 4 };
      if (source.data !== null && source.data.byteLength <= bindingLimit) {
        source.buffer = this.#scratch.upload(source.name, source.data);
      }
    });
    let done = 0;
    for (const band of plan.bands) {
      const isLast = band === plan.bands.at(-1);
      const state = this.#openBand(plan, band, masks);
      // What was uploaded and has been copied for the last time.
      if (isLast) this.#scratch.retire(masks.buffer);
      const pixels = (plan.rows[band.bottom - 1]!.end - plan.rows[band.top]!.start) * width;
      for (let first = 0; first < this.#sizes.classes; first += plan.chunk) {
        const chunk = this.#openChunk(plan, first, probabilities);
        if (isLast && first + plan.chunk >= this.#sizes.classes) {
          this.#scratch.retire(probabilities.buffer);
          if (this.#options.checkFinite === true) yield { faults };
        }
        if (plan.regionCapacity > 0) yield* this.#pruneRegions(state, chunk);
        if (plan.tileCapacity > 0) yield* this.#pruneTiles(state, chunk);
        const before = done + Math.floor(pixels * first / this.#sizes.classes);
        const share = Math.floor(pixels * chunk.count / this.#sizes.classes);
        yield* this.#label(state, chunk, before, share);
        this.#scratch.retire(chunk.columns, chunk.tops);
      }
      const { columns, runs, regionLists, tileLists, bounds, regionWork, tileWork, none } = state;
      this.#scratch.retire(columns, runs, regionLists, tileLists, bounds);
      this.#scratch.retire(regionWork, tileWork, none);
      done += pixels;
    }
  }

  #openBand(plan: Plan, band: Band, masks: Source): BandState {
    const { maskWidth } = this.#sizes;
    const scratch = this.#scratch;
    const plane = band.rows * maskWidth;
    const unitsX = plan.columns.length;
    const unitsY = band.bottom - band.top;
    const tilesX = Math.ceil(unitsX / tileSide);
    const tilesY = Math.ceil(unitsY / tileSide);
    const tiles = tilesX * tilesY;
    const regionsX = Math.ceil(tilesX / plan.regionSide);
    const regions = regionsX * Math.ceil(tilesY / plan.regionSide);
    const columns = scratch.create("mask logits by fours", 16 * this.#groups * plane);
    this.#interleave(masks, band.firstRow * maskWidth, plane, columns);
    const rows = plan.rows.slice(band.top, band.bottom);
    return {
      ...{ plan, band, plane, unitsX, unitsY, tilesX, tiles, regionsX, regions, columns },
      runs: scratch.upload("runs", packRuns(plan.columns, rows, band.firstRow)),
      regionLists: scratch.create("classes of regions", 4 * regions * (plan.regionCapacity + 1)),
      tileLists: scratch.create("classes of tiles", 4 * tiles * (plan.tileCapacity + 1)),
      bounds: scratch.create(
        "bounds",
        plan.tileCapacity > 0 ? 32 * this.#groups * Math.max(tiles, regions) : 4,
      ),
      regionWork: scratch.create("work of regions", 4 * regions),
      tileWork: scratch.create("work of tiles", 4 * tiles),
      none: scratch.create("none", 4),
    };
  }

  #openChunk(plan: Plan, first: number, probabilities: Source): ChunkState {
    const groups = this.#groups;
    const count = Math.min(plan.chunk, this.#sizes.classes - first);
    const columns = this.#scratch.create("probabilities by fours", 16 * groups * count);
    this.#interleave(probabilities, first, count, columns);
    const tops = this.#scratch.create("likeliest classes", 8 * 4 * groups);
    if (plan.tileCapacity > 0) {
      this.#dispatch(this.#pipelines.top, groups, [groups, count].map(u32), [columns, tops]);
    }
    return { first, count, columns, tops };
  }

  #pruneRegions(state: BandState, chunk: ChunkState): Steps {
    const { plan, plane, unitsX, unitsY, regionsX, regions } = state;
    const side = tileSide * plan.regionSide;
    return this.#inSlices(regions, chunk.count, (from, size) =>
      this.#dispatch(
        this.#pipelines.prune,
        size,
        [this.#groups, plane, this.#sizes.maskWidth, chunk.count, unitsX, unitsY, side, regionsX]
          .concat([from, size, plan.regionCapacity, 1, 1, 0]).map(u32).concat(this.#margin()),
        [state.columns, chunk.columns, state.runs, chunk.tops, state.none]
          .concat([state.regionLists, state.bounds, state.regionWork]),
      ));
  }

  #pruneTiles(state: BandState, chunk: ChunkState): Steps {
    const { plan, plane, unitsX, unitsY, tilesX, tiles, regionsX } = state;
    const classes = Math.min(chunk.count, plan.regionCapacity || chunk.count);
    return this.#inSlices(tiles, classes, (from, size) =>
      this.#dispatch(
        this.#pipelines.prune,
        size,
        [this.#groups, plane, this.#sizes.maskWidth, chunk.count, unitsX, unitsY, tileSide, tilesX]
          .concat([from, size, plan.tileCapacity, plan.regionSide, regionsX, plan.regionCapacity])
          .map(u32).concat(this.#margin()),
        [state.columns, chunk.columns, state.runs, chunk.tops, state.regionLists]
          .concat([state.tileLists, state.bounds, state.tileWork]),
      ));
  }

  /** What rounding can do to a difference of two scores, relative to the scores. */
  #margin(): Param {
    return f32((2 * this.#sizes.masks + 64) * 2 ** -24);
  }

  /** Prunes numbered items in slices, as if all classes that an item may have were in question. */
  *#inSlices(
    items: number,
    classes: number,
    encode: (from: number, size: number) => void,
  ): Steps {
    const work = Math.max(1, classes * this.#groups / prunedPerPass);
    for (let from = 0; from < items;) {
      const size = Math.min(items - from, Math.max(1, Math.floor(this.#slices.budget / work)));
      encode(from, size);
      from += size;
      yield { work: size * work };
    }
  }

  /** Labels tiles in slices of tiles and, where a tile has very many classes, of classes. */
  *#label(state: BandState, chunk: ChunkState, before: number, pixels: number): Steps {
    const { tiles, tileWork } = state;
    const work = (classes: number) =>
      Math.ceil(classes / blockSize) * this.#groups * tileSide * tileSide;
    let counts: Uint32Array | null = null;
    if (state.plan.tileCapacity > 0 && tiles * work(chunk.count) > this.#slices.budget) {
      // Otherwise all of it is submitted at once, whatever the tiles' classes.
      counts = new Uint32Array((yield { read: { buffer: tileWork, bytes: 4 * tiles } })!);
    }
    const countOf = (tile: number) => counts?.[tile] ?? chunk.count;
    let total = 0;
    let most = 0;
    for (let tile = 0; tile < tiles; tile++) {
      total += work(countOf(tile));
      most = Math.max(most, countOf(tile));
    }
    let done = 0;
    for (let from = 0; from < most;) {
      const passes = Math.max(1, Math.floor(this.#slices.budget / work(blockSize)));
      const to = Math.min(from + passes * blockSize, most);
      for (let tile = 0; tile < tiles;) {
        let size = 0;
        let slice = 0;
        while (tile + size < tiles) {
          const next = work(Math.min(Math.max(countOf(tile + size) - from, 0), to - from));
          if (slice > 0 && slice + next > this.#slices.budget) break;
          slice += next;
          size++;
        }
        if (slice > 0) {
          this.#encodeLabels(state, chunk, from, to, tile, size);
          done += slice;
          yield { work: slice, done: before + Math.floor(pixels * Math.min(1, done / total)) };
        }
        tile += size;
      }
      from = to;
    }
  }

  #encodeLabels(
    state: BandState,
    chunk: ChunkState,
    from: number,
    to: number,
    tile: number,
    size: number,
  ): void {
    const { plan, plane, unitsX, unitsY, tilesX, regionsX } = state;
    const { maskWidth, width, classes } = this.#sizes;
    const { first, count } = chunk;
    const dispatch = (pipeline: GPUComputePipeline, least: number, most: number) =>
      this.#dispatch(
        pipeline,
        size,
        [this.#groups, plane, maskWidth, count, width, unitsX, unitsY, tilesX, tile, size]
          .concat([plan.tileCapacity, plan.regionSide, regionsX, plan.regionCapacity, from, to])
          .concat([least, most, first, Number(first > 0), Number(first + count >= classes)])
          .map(u32).concat([f32(this.#options.threshold ?? 0), f32(emptyScore)]),
        [state.columns, chunk.columns, state.runs, state.regionLists, state.tileLists]
          .concat([this.#labels!.buffer, this.#scores!.buffer]),
      );
    if (from === 0) dispatch(this.#pipelines.single, 0, 1);
    if (count > 1) dispatch(this.#pipelines.several, 2, count);
  }

  /** Copies some columns of an input, four rows to a vector. */
  #interleave(source: Source, first: number, count: number, target: GPUBuffer): void {
    const { rows, stride, half } = source;
    const bytes = half ? 2 : 4;
    const blocks = Math.ceil(count / 64);
    const pipeline = source.name === "maskLogits"
      ? this.#pipelines.interleaveMasks
      : this.#pipelines.interleaveProbabilities;
    const dispatch = (
      place: BufferRange,
      group: number,
      groups: number,
      rowStride: number,
      base: number,
    ) =>
      this.#dispatch(
        pipeline,
        groups * blocks,
        // The base may be negative: the kernel's arithmetic wraps.
        [rows, group, groups, rowStride, base >>> 0, count, stride, first, blocks].map(u32),
        [place, target, source.fault!],
      );
    const { buffer } = source;
    if (buffer === null) {
      // Row by row into a buffer of these columns alone; its rows begin at multiples of four bytes.
      const packed = Math.ceil(count * bytes / 4) * 4 / bytes;
      const size = rows * packed * bytes;
      const staging = this.#scratch.create(source.name, size);
      for (let r = 0; r < rows; r++) {
        let row = source.data!.subarray(r * stride + first, r * stride + first + count);
        if (packed > count) {
          const padded = new Uint16Array(packed);
          padded.set(row);
          row = padded;
        }
        this.#context.gpu.queue.writeBuffer(staging, r * packed * bytes, row);
      }
      dispatch({ buffer: staging, offset: 0, size }, 0, this.#groups, packed, 0);
      this.#scratch.retire(staging);
      return;
    }
    const whole = rows * stride * bytes <= this.#context.bindingLimit;
    const most = whole
      ? this.#groups
      : Math.floor(usableBytes(this.#context.bindingLimit) / (4 * stride * bytes));
    for (let group = 0; group < this.#groups; group += most) {
      const groups = Math.min(most, this.#groups - group);
      const from = group * 4 * stride;
      const elements = Math.min((group + groups) * 4, rows) * stride - from;
      const { place, offset } = elementRange(buffer, from, elements, half ? "f16" : "f32");
      dispatch(place, group, groups, stride, from - offset - first);
    }
  }

  /** Labels and scores whose reader is told of an element that isn't finite. */
  #checkedOnRead(
    faults: GPUBuffer,
    sources: readonly Source[],
    { maskLogits, probabilities }: ClassificationInput,
  ): PixelLabels {
    const { nonFinite = (message: string) => new InputError(message) } = this.#options;
    // By now inputs on the device may belong to others, or be gone: their places are all that is kept.
    const inputs = sources.map(({ name, half, data, fault }, i) => ({
      ...{ name, half, data, place: fault!.offset / 4 },
      shape: [maskLogits, probabilities][i]!.shape,
    }));
    const check = {
      buffer: faults,
      bytes: faults.size,
      check(found: ArrayBuffer) {
        const words = new Uint32Array(found);
        for (const { name, half, data, place, shape } of inputs) {
          const index = words[place]!;
          if (index === noFault) continue;
          const value = data === null ? null : half ? fromFloat16(data[index]!) : data[index]!;
          throw nonFinite(nonFiniteError("classification", name, shape, index, value).message);
        }
      },
    };
    let readers = 2;
    const release = () => {
      if (--readers === 0) this.#context.destroyBuffer(faults);
    };
    return new PixelLabels(
      this.#labels!.checked(check, release),
      this.#scores!.checked(check, release),
    );
  }

  /** @throws {InputError} If an element was seen that isn't finite. */
  async #refuseNonFinite(sources: readonly [Source, Tensor][]): Promise<void> {
    const faults = await this.#faults;
    if (faults === null) return;
    for (const [{ name, half, data, buffer, fault }, { shape }] of sources) {
      const index = faults[fault!.offset / 4]!;
      if (index === noFault) continue;
      if (data === null) {
        const searched = { name, buffer: buffer!, shape, type: half ? "f16" : "f32" } as const;
        throw await nonfiniteElement(this.#context, "classification", searched, index);
      }
      const value = half ? fromFloat16(data[index]!) : data[index]!;
      throw nonFiniteError("classification", name, shape, index, value);
    }
  }
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
  halfMasks: boolean,
  halfProbabilities: boolean,
): Promise<Pipelines> {
  const interleave = (half: boolean) =>
    context.pipeline("classification/interleave", interleaveWgsl, {
      types: { Element: half ? "f16" : "f32" },
    });
  const label = (block: number) => {
    const constants = { side: plan.unitSide, block };
    const values = Object.entries(constants);
    const code = values.map(([name, value]) => `const ${name} = ${value}u;\n`).join("") +
      tilesWgsl + labelWgsl;
    return context.pipeline(`classification/label ${Object.values(constants)}`, code);
  };
  const [interleaveMasks, interleaveProbabilities, top, prune, single, several] = await Promise.all(
    [
      interleave(halfMasks),
      interleave(halfProbabilities),
      context.pipeline("classification/top", topWgsl),
      context.pipeline("classification/prune", tilesWgsl + pruneWgsl),
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
