/**
 * Gradient-Free Aggregation on WebGPU.
 *
 * @module
 */
import { BufferPool } from "../dispatch/buffer_pool.ts";
import { CommandList, f32, u32 } from "../dispatch/command_list.ts";
import { KernelContext } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { encodeMatmul, matmulPipeline, splitInner, transposed } from "../dispatch/matmul.ts";
import { type GpuOperand, toGpu } from "../dispatch/operand.ts";
import assembleWgsl from "./assemble.wgsl" with { type: "text" };
import blendWgsl from "./blend.wgsl" with { type: "text" };
import columnMergeWgsl from "./column_merge.wgsl" with { type: "text" };
import columnPartialsWgsl from "./column_partials.wgsl" with { type: "text" };
import columnSoftmaxWgsl from "./column_softmax.wgsl" with { type: "text" };
import {
  checkGfa,
  FusedEmbeddings,
  type GfaInput,
  type GfaOptions,
  type GfaSizes,
} from "./contract.ts";
import eliminateWgsl from "./eliminate.wgsl" with { type: "text" };
import extractWgsl from "./extract.wgsl" with { type: "text" };
import normalizeWgsl from "./normalize.wgsl" with { type: "text" };
import pivotWgsl from "./pivot.wgsl" with { type: "text" };
import rowSoftmaxWgsl from "./row_softmax.wgsl" with { type: "text" };

/** Rows that one workgroup of `column_partials.wgsl` handles. */
const columnChunk = 256;
/** Rows of a diagonal block of the elimination. */
const block = 32;
/** Tile of the elimination. */
const tile = 64;

const sources = {
  normalize: normalizeWgsl,
  rowSoftmax: rowSoftmaxWgsl,
  columnPartials: columnPartialsWgsl,
  columnMerge: columnMergeWgsl,
  columnSoftmax: columnSoftmaxWgsl,
  assemble: assembleWgsl,
  pivot: pivotWgsl,
  eliminate: eliminateWgsl,
  extract: extractWgsl,
  blend: blendWgsl,
};

type Pipelines = Record<keyof typeof sources | "matmul", GPUComputePipeline>;

/**
 * The WGSL kernels of GFA, with the scratch memory that they keep between runs.
 *
 * The N_Q×N_Q system is solved directly, by blocked Gauss-Jordan elimination without pivoting.
 * `I − ω²PZ` has negative off-diagonal entries and is diagonally dominant by rows, so elimination
 * subtracts only on the diagonal and is stable; the error does not depend on how slowly the
 * iteration would converge.
 */
export class GpuGfa implements Disposable {
  readonly #context: KernelContext;
  readonly #pool: BufferPool;
  readonly #options: GfaOptions;

  /**
   * @param gpu The device.
   * @param options ω and λ.
   */
  constructor(gpu: GPUDevice, options: GfaOptions) {
    this.#context = KernelContext.of(gpu);
    this.#pool = new BufferPool(this.#context);
    this.#options = options;
  }

  /**
   * Fuses once; see {@linkcode Gfa.run}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async run(input: GfaInput): Promise<FusedEmbeddings> {
    const context = this.#context;
    const sizes = checkGfa(input);
    const { clips, queries, channels } = sizes;
    const width = queries + channels;
    context.checkBinding("gfa: affinity and clip features", 4 * clips * width);
    context.checkBinding("gfa: the system of the queries", 4 * queries * width);
    const pipelines = await this.#compile();
    const clip = await toGpu(context.gpu, "clip", input.clip);
    try {
      const query = await toGpu(context.gpu, "query", input.query);
      const outputs: GpuTensor<"float32">[] = [];
      try {
        return await context.guard("gfa", () => {
          try {
            return this.#submit(pipelines, sizes, clip, query, outputs);
          } finally {
            this.#pool.release();
          }
        });
      } catch (error) {
        for (const output of outputs) output.dispose();
        throw error;
      } finally {
        query.dispose();
      }
    } finally {
      clip.dispose();
    }
  }

  /** Frees the scratch memory. */
  dispose(): void {
    this.#pool.dispose();
  }

  /** As {@linkcode GpuGfa.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  async #compile(): Promise<Pipelines> {
    const context = this.#context;
    const entries = await Promise.all([
      matmulPipeline(context).then((pipeline) => ["matmul", pipeline] as const),
      ...Object.entries(sources).map(async ([name, code]) =>
        [name, await context.pipeline(`gfa/${name}`, code)] as const
      ),
    ]);
    return Object.fromEntries(entries) as Pipelines;
  }

  #submit(
    pipelines: Pipelines,
    { clips, queries, channels }: GfaSizes,
    clip: GpuOperand,
    query: GpuOperand,
    outputs: GpuTensor<"float32">[],
  ): FusedEmbeddings {
    const { omega, lambda } = this.#options;
    const { gpu } = this.#context;
    const pool = this.#pool;
    const width = queries + channels;
    const chunks = Math.ceil(clips / columnChunk);
    const affinitySplit = splitInner(clips, queries, channels);
    const systemSplit = splitInner(queries, width, clips);
    const clipSplit = splitInner(clips, channels, queries);

    const fusedClip = GpuTensor.allocate(gpu, "float32", [clips, channels], "fused clip");
    outputs.push(fusedClip);
    const fusedQuery = GpuTensor.allocate(gpu, "float32", [queries, channels], "fused query");
    outputs.push(fusedQuery);
    const take = (label: string, elements: number) => {
      this.#context.checkBinding(`gfa: ${label}`, 4 * elements);
      return pool.take(label, 4 * elements);
    };
    // [Z | F_C]: side by side, so that one product gives P Z and P F_C.
    const joined = take("affinity and clip features", clips * width);
    const normalQuery = take("query features", queries * channels);
    const logits = take("logits", clips * queries);
    const inverseSum = take("row sums", clips);
    const largest = take("column maxima", chunks * queries);
    const sums = take("column sums", chunks * queries);
    const system = take("system", queries * width);
    // The three products' partial sums are never alive together.
    const partials = take(
      "partial sums",
      Math.max(
        affinitySplit.splits * clips * queries,
        systemSplit.splits * queries * width,
        clipSplit.splits * clips * channels,
      ),
    );

    const list = new CommandList(this.#context);
    list.dispatch(pipelines.normalize, clips, [clips, channels, queries, width].map(u32), [
      clip.buffer,
      joined,
    ]);
    list.dispatch(pipelines.normalize, queries, [queries, channels, 0, channels].map(u32), [
      query.buffer,
      normalQuery,
    ]);

    // Z = softmax_rows(λ F_C F_Qᵀ), P = Norm(Z)ᵀ
    const clipView = { buffer: joined, offset: queries, rowStride: width, columnStride: 1 };
    const queryView = { buffer: normalQuery, rowStride: channels, columnStride: 1 };
    encodeMatmul(
      list,
      pipelines.matmul,
      { m: clips, n: queries, k: channels },
      clipView,
      transposed(queryView),
      affinitySplit,
      partials,
    );
    list.dispatch(
      pipelines.rowSoftmax,
      clips,
      [...[clips, queries, affinitySplit.splits, width].map(u32), f32(lambda)],
      [partials, logits, inverseSum, joined],
    );
    list.dispatch(
      pipelines.columnPartials,
      chunks * Math.ceil(queries / 16),
      [clips, queries, chunks].map(u32),
      [logits, inverseSum, largest, sums],
    );
    list.dispatch(
      pipelines.columnMerge,
      Math.ceil(queries / 64),
      [queries, chunks].map(u32),
      [largest, sums],
    );
    list.dispatch(
      pipelines.columnSoftmax,
      Math.ceil(clips * queries / 256),
      [clips, queries].map(u32),
      [logits, inverseSum, largest, sums],
    );

    // [I − ω²PZ | (1−ω)(F_Q + ωPF_C)]
    encodeMatmul(
      list,
      pipelines.matmul,
      { m: queries, n: width, k: clips },
      transposed({ buffer: logits, rowStride: queries, columnStride: 1 }),
      { buffer: joined, rowStride: width, columnStride: 1 },
      systemSplit,
      partials,
    );
    list.dispatch(
      pipelines.assemble,
      queries,
      [
        ...[queries, channels, systemSplit.splits].map(u32),
        f32(omega),
        f32(omega * omega),
        f32(1 - omega),
        f32((1 - omega) * (1 + omega)),
      ],
      [partials, normalQuery, system],
    );

    for (let begin = 0; begin < queries; begin += block) {
      const params = [queries, width, begin].map(u32);
      const columns = Math.ceil((width - Math.min(begin + block, queries)) / tile);
      list.dispatch(pipelines.pivot, columns, params, [system]);
      if (queries > block) {
        list.dispatch(pipelines.eliminate, columns * Math.ceil(queries / tile), params, [system]);
      }
    }
    list.dispatch(
      pipelines.extract,
      Math.ceil(queries * channels / 256),
      [queries, channels].map(u32),
      [system, fusedQuery.buffer],
    );

    // F_C∞ = ω Z F_Q∞ + (1−ω) F_C
    encodeMatmul(
      list,
      pipelines.matmul,
      { m: clips, n: channels, k: queries },
      { buffer: joined, rowStride: width, columnStride: 1 },
      { buffer: fusedQuery.buffer, rowStride: channels, columnStride: 1 },
      clipSplit,
      partials,
    );
    list.dispatch(
      pipelines.blend,
      Math.ceil(clips * channels / 256),
      [
        ...[clips, channels, clipSplit.splits, queries, width].map(u32),
        f32(omega),
        f32(1 - omega),
      ],
      [partials, joined, fusedClip.buffer],
    );
    list.submit();
    return new FusedEmbeddings(fusedClip, fusedQuery);
  }
}
