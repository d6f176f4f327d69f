/**
 * Gradient-Free Aggregation on WebGPU.
 *
 * @module
 */
import { DeviceError, ShapeError } from "../../lib/errors.ts";
import { type DType, formatShape, type Tensor } from "../../lib/tensor.ts";
import { BufferPool } from "../dispatch/buffer_pool.ts";
import { KernelContext } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { type GpuElements, toGpuElements } from "../dispatch/operand.ts";
import { Program } from "../dispatch/program.ts";
import { refuseNonfinite } from "../dispatch/refuse_nonfinite.ts";
import {
  checkConvergence,
  checkGfa,
  checkGfaCotangent,
  FusedEmbeddings,
  type GfaCotangent,
  GfaGradients,
  type GfaInput,
  type GfaOptions,
  type GfaSizes,
  type ResolvedGfaOptions,
  resolveGfaOptions,
  stochasticNorms,
} from "./contract.ts";
import { type BothSides, recordGradients } from "./gpu_gradients.ts";
import { divideWork, type Job } from "./gpu_jobs.ts";
import { approachClosed, approachSeries, approachSteps, type Limit } from "./gpu_limit.ts";
import {
  affinityLayout,
  type DeviceRows,
  recordBlend,
  recordWalk,
  rowsOf,
  scratchRows,
  type Walk,
} from "./gpu_walk.ts";

const dtypes: readonly DType[] = ["float32", "float16"];

/**
 * The WGSL kernels of GFA, with the scratch memory that they keep between runs.
 *
 * The N_Q×N_Q system is solved directly, through its inverse: blocked Gauss-Jordan elimination without
 * pivoting. `I − ω²PZ` has negative off-diagonal entries and is diagonally dominant by rows, so
 * elimination subtracts only on the diagonal and is stable; the error does not depend on how slowly
 * the iteration would converge. Gradients use the same inverse, transposed. Memory is linear in N_C: beside inputs and outputs 2·N_C·N_Q elements.
 */
export class GpuGfa implements Disposable {
  readonly #context: KernelContext;
  readonly #pool: BufferPool;
  readonly #options: ResolvedGfaOptions;

  /**
   * @param gpu The device.
   * @param options ω, λ and how to compute.
   */
  constructor(gpu: GPUDevice, options: GfaOptions) {
    this.#context = KernelContext.of(gpu);
    this.#pool = new BufferPool(this.#context);
    this.#options = resolveGfaOptions(options);
  }

  /**
   * Fuses once; see {@linkcode Gfa.run}.
   *
   * @param areas N_C areas in this device's memory; see there.
   * @returns Tensors on the device, which the caller owns.
   */
  async run(
    input: GfaInput,
    areas: GpuTensor<"float32"> | null = null,
  ): Promise<FusedEmbeddings> {
    const sizes = checkGfa(input, dtypes);
    checkAreas(this.#context.gpu, sizes, areas);
    const jobs = divideWork(this.#context, sizes);
    using operands = await this.#operands({ ...input });
    const checked = this.#refuseNonfinite(input, operands);
    const clip = deviceRows(operands.get("clip"), sizes.clips);
    const query = deviceRows(operands.get("query"), sizes.queries);
    const outputs = await this.#allocate(input, "fused");
    try {
      const fusedClip: DeviceRows = { buffer: outputs.clip.buffer, type: "f32", rows: sizes.clips };
      const fusedQuery: DeviceRows = {
        buffer: outputs.query.buffer,
        type: "f32",
        rows: sizes.queries,
      };
      let limit: Limit | null = null;
      for (const job of jobs) {
        limit = await this.#inProgram(async (program) => {
          // Unit rows lie where the output will, which is a blend of them.
          const place = (part: Job["parts"][number]) => rowsOf(job, fusedClip, part);
          const walk = recordWalk(
            program,
            job,
            this.#options,
            clip,
            query,
            place,
            areas?.buffer ?? null,
          );
          const limit = await this.#approach(program, walk);
          recordOutputs(program, walk, limit, { clip: fusedClip, query: fusedQuery });
          return limit;
        });
      }
      await checked;
      return new FusedEmbeddings(outputs.clip, outputs.query, limit!.method, limit!.errorBound);
    } catch (error) {
      outputs.clip.dispose();
      outputs.query.dispose();
      throw error;
    }
  }

  /**
   * The vector-Jacobian product; see {@linkcode Gfa.gradients}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async gradients(input: GfaInput, cotangent: GfaCotangent): Promise<GfaGradients> {
    const sizes = checkGfa(input, dtypes);
    checkGfaCotangent(cotangent, sizes, dtypes);
    const jobs = divideWork(this.#context, sizes);
    using operands = await this.#operands({
      ...input,
      byClip: cotangent.clip,
      byQuery: cotangent.query,
    });
    const checked = this.#refuseNonfinite(input, operands);
    const clip = deviceRows(operands.get("clip"), sizes.clips);
    const query = deviceRows(operands.get("query"), sizes.queries);
    const byOutputs: BothSides = {
      clip: deviceRows(operands.get("byClip"), sizes.clips),
      query: deviceRows(operands.get("byQuery"), sizes.queries),
    };
    const outputs = await this.#allocate(input, "gradient by");
    try {
      const results: BothSides = {
        clip: { buffer: outputs.clip.buffer, type: "f32", rows: sizes.clips },
        query: { buffer: outputs.query.buffer, type: "f32", rows: sizes.queries },
      };
      // New buffers are zero, which is what "stop" asks for.
      for (const job of this.#options.gradient === "stop" ? [] : jobs) {
        await this.#inProgram(async (program) => {
          const walk = recordWalk(
            program,
            job,
            this.#options,
            clip,
            query,
            (part) => scratchRows(program, job, "clip features", part.rows),
          );
          const limit = await this.#approach(program, walk);
          recordGradients(program, walk, limit, byOutputs, results);
        });
      }
      await checked;
      return new GfaGradients(outputs.clip, outputs.query);
    } catch (error) {
      outputs.clip.dispose();
      outputs.query.dispose();
      throw error;
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

  /** Records, submits what has been recorded, and gives the scratch memory back. */
  async #inProgram<R>(record: (program: Program) => Promise<R>): Promise<R> {
    const lease = this.#pool.lease();
    try {
      const program = new Program(this.#context, lease, "gfa");
      const result = await record(program);
      await program.submit();
      return result;
    } finally {
      lease.release();
    }
  }

  /** Records F_Q's end by the method; with the raw affinity, once it is known that there is one. */
  async #approach(program: Program, walk: Walk): Promise<Limit> {
    const { method } = this.#options;
    const approach = method === "steps"
      ? approachSteps(program, walk)
      : method === "series"
      ? approachSeries(program, walk)
      : approachClosed(program, walk);
    if (approach.norms === null) return approach.finish(stochasticNorms);
    const { place, read } = approach.norms;
    await program.submit();
    const values = await this.#context.readBuffer(program.buffer(place), 4 * place.elements);
    const norms = read(new Float32Array(values));
    if (method !== "steps") checkConvergence(this.#options, norms);
    return approach.finish(norms);
  }

  /** Brings tensors to the device; the copies are freed together. */
  async #operands(tensors: Readonly<Record<string, Tensor>>): Promise<Operands> {
    const operands = new Operands();
    try {
      for (const [name, tensor] of Object.entries(tensors)) {
        operands.add(name, await toGpuElements(this.#context.gpu, name, tensor));
      }
      return operands;
    } catch (error) {
      operands[Symbol.dispose]();
      throw error;
    }
  }

  /** Searches the inputs while the device does the rest; whoever calls it awaits it in the end. */
  #refuseNonfinite(input: GfaInput, operands: Operands): Promise<void> {
    if (!this.#options.checkFinite) return Promise.resolve();
    return refuseNonfinite(
      this.#context,
      "gfa",
      (["clip", "query"] as const).map((name) => {
        const { buffer, type } = operands.get(name);
        return { name, buffer, type, shape: input[name].shape };
      }),
    );
  }

  async #allocate(input: GfaInput, what: string): Promise<{
    clip: GpuTensor<"float32">;
    query: GpuTensor<"float32">;
  }> {
    const made: GpuTensor<"float32">[] = [];
    try {
      return await this.#context.guard("gfa", () => {
        const [clip, query] = (["clip", "query"] as const).map((side) => {
          const tensor = GpuTensor.allocate(
            this.#context.gpu,
            "float32",
            input[side].shape,
            `${what} ${side}`,
          );
          made.push(tensor);
          return tensor;
        });
        return { clip: clip!, query: query! };
      });
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    }
  }
}

/** @throws {ShapeError} If there isn't one area for each row of F_C, of one image. */
function checkAreas(
  gpu: GPUDevice,
  { batch, clips }: GfaSizes,
  areas: GpuTensor<"float32"> | null,
): void {
  if (areas === null) return;
  if (areas.gpu !== gpu) throw new DeviceError("gfa: areas are on another WebGPU device");
  if (batch === null && areas.shape.length === 1 && areas.shape[0] === clips) return;
  throw new ShapeError(
    `gfa: areas are ${formatShape(areas.shape)}; must be ${clips}, one for each row of clip, ` +
      "and clip without a batch axis",
  );
}

/** Tensors on the device by name. */
class Operands implements Disposable {
  readonly #all = new Map<string, GpuElements>();

  add(name: string, operand: GpuElements): void {
    this.#all.set(name, operand);
  }

  get(name: string): GpuElements {
    const operand = this.#all.get(name);
    if (operand === undefined) throw new DeviceError(`gfa: ${name} is not on the device`);
    return operand;
  }

  [Symbol.dispose](): void {
    for (const operand of this.#all.values()) operand.dispose();
  }
}

function deviceRows({ buffer, type }: GpuElements, rows: number): DeviceRows {
  return { buffer, type, rows };
}

/** Records F_Q∞, and F_C∞ = ωZF_Q∞ + (1−ω)F_C over the unit rows that lie there. */
function recordOutputs(program: Program, walk: Walk, limit: Limit, outputs: BothSides): void {
  const { job, options: { omega } } = walk;
  const { images, queries, channels, padded } = job;
  const query = rowsOf(job, outputs.query, { first: 0, rows: queries });
  recordBlend(program, job, limit.query, query, { from: queries, to: queries });
  for (const { rows, z, clip } of walk.parts) {
    program.gemm(
      {
        batches: images,
        m: rows,
        n: channels,
        k: padded,
        a: affinityLayout(job, rows),
        b: limit.query.layout,
        c: clip.layout,
      },
      z,
      limit.query.place,
      clip.place,
      { alpha: omega, beta: 1 - omega },
    );
  }
}
