/**
 * What masks show, on WebGPU: cosine logits and class probabilities.
 *
 * @module
 */
import { ShapeError } from "../../lib/errors.ts";
import { formatShape, type HostTensor } from "../../lib/tensor.ts";
import { emptyArea } from "../mask_pooling/contract.ts";
import { CommandList, f32, u32 } from "../dispatch/command_list.ts";
import { KernelContext, tensorUsage } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import cosineWgsl from "./cosine.wgsl" with { type: "text" };
import ensembleWgsl from "./ensemble.wgsl" with { type: "text" };
import softmaxWgsl from "./softmax.wgsl" with { type: "text" };

/** The words that rows are compared with. */
export interface CosineWords {
  /** T×D unit rows. */
  readonly rows: HostTensor<"float32">;
  /** For each of C classes its first row, and at the end T. */
  readonly starts: Uint32Array<ArrayBuffer>;
}

/** Words on the device. */
interface Uploaded {
  readonly words: CosineWords;
  readonly rows: GPUBuffer;
  readonly starts: GPUBuffer;
}

/**
 * `logits[n, c] = s · max_t cos(x[n], w_t)` over the words t of class c, for repeated use: the words
 * stay on the device until others come.
 */
export class GpuCosineLogits implements Disposable {
  readonly #context: KernelContext;
  #uploaded: Uploaded | null = null;

  /** @param gpu The device. */
  constructor(gpu: GPUDevice) {
    this.#context = KernelContext.of(gpu);
  }

  /**
   * Compares once.
   *
   * @param x N×D on the device; finite, or a row of NaN comes out.
   * @param words Uploaded unless they are the very object of the run before.
   * @param scale s
   * @returns N×C on the device, which the caller owns.
   * @throws {ShapeError} If D differs.
   * @throws {DeviceError} If the device's memory doesn't hold the work.
   */
  async run(
    x: GpuTensor<"float32">,
    words: CosineWords,
    scale: number,
  ): Promise<GpuTensor<"float32">> {
    const context = this.#context;
    const [count, columns] = x.shape as readonly [number, number];
    if (x.shape.length !== 2 || columns !== words.rows.shape[1]) {
      throw new ShapeError(
        `cosine logits: rows are ${formatShape(x.shape)}, words ${
          formatShape(words.rows.shape)
        }; both must have D columns`,
      );
    }
    const classes = words.starts.length - 1;
    context.checkBinding("cosine logits: the words", words.rows.data.byteLength);
    context.checkBinding("cosine logits: the rows", 4 * count * columns);
    context.checkBinding("cosine logits: the logits", 4 * count * classes);
    const pipeline = await context.pipeline("class_logits/cosine", cosineWgsl, { reduce: true });
    return await allocated(context, [count, classes], "class logits", (logits) => {
      const { rows, starts } = this.#upload(words);
      const list = new CommandList(context);
      const params = [...[count, columns, classes].map(u32), f32(scale)];
      list.dispatch(pipeline, count, params, [x.buffer, rows, starts, logits.buffer]);
      list.submit();
    });
  }

  /** Frees the words. */
  dispose(): void {
    for (const buffer of [this.#uploaded?.rows, this.#uploaded?.starts]) {
      if (buffer) this.#context.destroyBuffer(buffer);
    }
    this.#uploaded = null;
  }

  /** As {@linkcode GpuCosineLogits.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Submitted work that reads the words before still finishes. */
  #upload(words: CosineWords): Uploaded {
    if (this.#uploaded?.words === words) return this.#uploaded;
    this.dispose();
    const make = (label: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>) => {
      const buffer = this.#context.createBuffer(label, data.byteLength, tensorUsage);
      this.#context.gpu.queue.writeBuffer(buffer, 0, data);
      return buffer;
    };
    return this.#uploaded = {
      words,
      rows: make("words", words.rows.data as Float32Array<ArrayBuffer>),
      starts: make("words of classes", words.starts),
    };
  }
}

/**
 * Row-wise softmax of class logits, of which the first C columns are kept: void is the one after them.
 *
 * @param logits N×K on the device. Minus infinity stands for 0; NaN or plus infinity make a row NaN.
 * @param classes C, at most K.
 * @returns N×C on the device, which the caller owns.
 * @throws {DeviceError} If the device's memory doesn't hold the work.
 */
export async function gpuClassProbabilities(
  logits: GpuTensor<"float32">,
  classes: number,
): Promise<GpuTensor<"float32">> {
  const context = KernelContext.of(logits.gpu);
  const [rows, columns] = logits.shape as readonly [number, number];
  context.checkBinding("class probabilities: the logits", 4 * rows * columns);
  const pipeline = await context.pipeline("class_logits/softmax", softmaxWgsl, { reduce: true });
  return await allocated(context, [rows, classes], "class probabilities", (made) => {
    const list = new CommandList(context);
    const params = [rows, columns, classes].map(u32);
    list.dispatch(pipeline, rows, params, [logits.buffer, made.buffer]);
    list.submit();
  });
}

/**
 * Joins the queries' probabilities with those of other rows, and leaves void to the queries:
 *
 *     p(void | n) = softmax(logits[n])[void]
 *     p(c | n)    ∝ softmax(logits[n] without void)[c]^(1−s) · softmax(others[n] without void)[c]^s
 *
 * the latter sharing 1 − p(void | n). Of a mask without pixels s is 0. For repeated use: the shares
 * stay on the device until others come.
 */
export class GpuQueryEnsemble implements Disposable {
  readonly #context: KernelContext;
  #uploaded: { readonly shares: Float32Array; readonly buffer: GPUBuffer } | null = null;

  /** @param gpu The device. */
  constructor(gpu: GPUDevice) {
    this.#context = KernelContext.of(gpu);
  }

  /**
   * Joins once.
   *
   * @param logits N×(C+1) of the queries on the device, void last; the logarithms of the
   *   probabilities are written over them.
   * @param others N×(C+1) on the device, void last.
   * @param shares s of each of C classes, from 0 to 1.
   * @param areas N areas of the masks on the device; left out, none is without pixels.
   */
  async run(
    logits: GpuTensor<"float32">,
    others: GpuTensor<"float32">,
    shares: Float32Array<ArrayBuffer>,
    areas?: GpuTensor<"float32">,
  ): Promise<void> {
    const context = this.#context;
    const [rows, columns] = logits.shape as readonly [number, number];
    const options = { reduce: true };
    const pipeline = await context.pipeline("class_logits/ensemble", ensembleWgsl, options);
    await context.guard("query ensemble", () => {
      const list = new CommandList(context);
      // Where there are no areas something is bound that is nowhere as low as that.
      const params = [u32(rows), u32(columns), f32(areas ? emptyArea : -3e38)];
      const { buffer: places } = areas ?? others;
      const buffers = [others.buffer, this.#upload(shares), places, logits.buffer];
      list.dispatch(pipeline, rows, params, buffers);
      list.submit();
    });
  }

  /** Frees the shares. */
  dispose(): void {
    if (this.#uploaded !== null) this.#context.destroyBuffer(this.#uploaded.buffer);
    this.#uploaded = null;
  }

  /** As {@linkcode GpuQueryEnsemble.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Submitted work that reads the shares before still finishes. */
  #upload(shares: Float32Array<ArrayBuffer>): GPUBuffer {
    const last = this.#uploaded;
    const isSame = last?.shares.length === shares.length &&
      last.shares.every((share, c) => share === shares[c]);
    if (isSame) return last.buffer;
    this.dispose();
    const buffer = this.#context.createBuffer("shares", shares.byteLength, tensorUsage);
    this.#context.gpu.queue.writeBuffer(buffer, 0, shares);
    this.#uploaded = { shares: shares.slice(), buffer };
    return buffer;
  }
}

/** Makes a tensor and submits what writes it. */
async function allocated(
  context: KernelContext,
  shape: readonly [number, number],
  label: string,
  submit: (made: GpuTensor<"float32">) => void,
): Promise<GpuTensor<"float32">> {
  let made: GpuTensor<"float32"> | null = null;
  try {
    return await context.guard(label, () => {
      made = GpuTensor.allocate(context.gpu, "float32", shape, label);
      submit(made);
      return made;
    });
  } catch (error) {
    (made as GpuTensor<"float32"> | null)?.dispose();
    throw error;
  }
}
