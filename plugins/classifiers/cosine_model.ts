/**
 * What the cosine classifiers have in common.
 *
 * @module
 */
import { type CosineWords, GpuCosineLogits } from "../../kernels/class_logits/gpu.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import { ModelError, ShapeError } from "../../lib/errors.ts";
import { readJson } from "../../lib/stages/models.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StageEnvironment } from "../../lib/stages/plugin.ts";
import type { VocabularySlot } from "../../lib/stages/slots.ts";
import { synonymRows } from "../../lib/stages/synonyms.ts";
import { float32, type HostTensor, type Tensor } from "../../lib/tensor.ts";
import { normalizedRows } from "../fusers/rows.ts";

/** Options of every cosine classifier. */
export const cosineClassifierOptions = {
  logitScale: {
    type: "number",
    description: "what similarities are multiplied with; 0 takes the model's own",
    default: 0,
    minimum: 0,
    maximum: 1000,
  },
  model: {
    type: "string",
    description: "the file with the void embedding",
    default: "ovsnet.json",
  },
} as const satisfies OptionSchema;

/** Texts as they were compared with last. */
interface LastText {
  readonly text: Float32Array;
  readonly words: CosineWords;
}

/** A scale and a direction of "no object", read from a method's JSON. */
export class CosineModel {
  /** What similarities are multiplied with. */
  readonly scale: number;
  /** The names that the decoder was trained on, where the model lists them. */
  readonly trained: readonly string[] | null;
  readonly #name: string;
  readonly #void: HostTensor<"float32">;
  readonly #gpu: GPUDevice | null;
  readonly #onGpu: GpuCosineLogits | null;
  #last: LastText | null = null;

  private constructor(
    name: string,
    scale: number,
    nothing: HostTensor<"float32">,
    trained: readonly string[] | null,
    gpu: GPUDevice | null,
  ) {
    this.#name = name;
    this.scale = scale;
    this.#void = nothing;
    this.trained = trained;
    this.#gpu = gpu;
    this.#onGpu = gpu && new GpuCosineLogits(gpu);
  }

  /**
   * Reads `voidEmbedding` (D numbers), `logitScale` and, where it is there, `trained` (names) from a
   * JSON model.
   *
   * @param environment Where models are; and the device, whose memory rows stay in.
   * @param name The model's file.
   * @param scale Takes the place of the model's own scale, unless 0.
   * @throws {ModelError} If the file is missing or lacks one of them.
   */
  static async read(
    { models, device }: StageEnvironment,
    name: string,
    scale: number,
  ): Promise<CosineModel> {
    const json = (await readJson(models, name) ?? {}) as Readonly<Record<string, unknown>>;
    const { voidEmbedding, logitScale, trained } = json;
    const isNumber = (value: unknown): value is number =>
      typeof value === "number" && Number.isFinite(value);
    if (
      !Array.isArray(voidEmbedding) || voidEmbedding.length === 0 || !voidEmbedding.every(isNumber)
    ) {
      throw new ModelError(`model ${name}: "voidEmbedding" must be a list of D numbers`);
    }
    if (!isNumber(logitScale) || logitScale <= 0) {
      throw new ModelError(`model ${name}: "logitScale" must be a number above 0`);
    }
    const row = float32([1, voidEmbedding.length], Float32Array.from(voidEmbedding));
    return new CosineModel(
      name,
      scale || logitScale,
      await normalizedRows(row),
      Array.isArray(trained) ? trained.map(String) : null,
      device.gpu,
    );
  }

  /**
   * `s · cos(row, t_c)` for every row and category, void in the last column. Where a category has
   * several rows of text, the largest counts.
   *
   * @param owner Whose work it is, for messages.
   * @param rows N × D.
   * @param text T × D.
   * @param vocabulary Says which rows of `text` are of one category.
   * @returns N × (C + 1), row-major, where the rows are; the caller owns it.
   * @throws {ShapeError} If the void embedding is of another D.
   */
  async logits(
    owner: string,
    rows: Tensor<"float32">,
    text: Tensor<"float32">,
    vocabulary: VocabularySlot,
  ): Promise<HostTensor<"float32"> | GpuTensor<"float32">> {
    return this.isOnDevice(rows)
      ? (await this.deviceLogits(owner, [rows], text, vocabulary))[0]
      : await this.hostLogits(owner, rows, text, vocabulary);
  }

  /** Whether a tensor is in the memory of the device that {@linkcode CosineModel.logits} uses. */
  isOnDevice(tensor: Tensor<"float32">): tensor is GpuTensor<"float32"> {
    return tensor instanceof GpuTensor && tensor.gpu === this.#gpu;
  }

  /** As {@linkcode CosineModel.logits}, of several tensors of rows that are on the device. */
  async deviceLogits<const Rows extends readonly GpuTensor<"float32">[]>(
    owner: string,
    rows: Rows,
    text: Tensor<"float32">,
    vocabulary: VocabularySlot,
  ): Promise<{ readonly [K in keyof Rows]: GpuTensor<"float32"> }> {
    const words = await this.#wordsOf(owner, text, vocabulary);
    // All at once: each waits until the device says that nothing went wrong.
    const runs = rows.map((x) => this.#onGpu!.run(x, words, this.scale));
    try {
      return await Promise.all(runs) as { [K in keyof Rows]: GpuTensor<"float32"> };
    } catch (error) {
      for (const run of await Promise.allSettled(runs)) {
        if (run.status === "fulfilled") run.value.dispose();
      }
      throw error;
    }
  }

  /** As {@linkcode CosineModel.logits}, in host memory, wherever the rows are. */
  async hostLogits(
    owner: string,
    rows: Tensor<"float32">,
    text: Tensor<"float32">,
    vocabulary: VocabularySlot,
  ): Promise<HostTensor<"float32">> {
    const words = await this.#wordsOf(owner, text, vocabulary);
    const size = words.rows.shape[1]!;
    const units = (await normalizedRows(rows)).data;
    const numRows = rows.shape[0]!;
    const columns = words.starts.length - 1;
    const logits = float32([numRows, columns]);
    for (let c = 0; c < columns; c++) {
      const start = words.starts[c]!;
      for (let t = start; t < words.starts[c + 1]!; t++) {
        const word = words.rows.data.subarray(t * size, (t + 1) * size);
        for (let n = 0; n < numRows; n++) {
          const at = n * size;
          let sum = 0;
          for (let d = 0; d < size; d++) sum += units[at + d]! * word[d]!;
          const to = n * columns + c;
          const logit = this.scale * sum;
          logits.data[to] = t === start ? logit : Math.max(logits.data[to]!, logit);
        }
      }
    }
    return logits;
  }

  /** Frees what is kept on the device. */
  dispose(): void {
    this.#onGpu?.dispose();
  }

  /** Unit rows, void last. The same object as long as the text is the same. */
  async #wordsOf(
    owner: string,
    text: Tensor<"float32">,
    vocabulary: VocabularySlot,
  ): Promise<CosineWords> {
    const size = this.#void.shape[1]!;
    if (text.shape[1] !== size) {
      throw new ShapeError(
        `${owner}: text has ${text.shape[1]} features per row, the void embedding in ` +
          `${this.#name} has ${size}; both must be D`,
      );
    }
    const data = await text.read();
    const numClasses = vocabulary.active.length;
    const numWords = text.shape[0]!;
    const { classes } = synonymRows(vocabulary);
    const starts = new Uint32Array(numClasses + 2).fill(numWords);
    if (numWords > numClasses) classes.toReversed().forEach((c, i) => starts[c] = numWords - 1 - i);
    else for (let c = 0; c < numClasses; c++) starts[c] = c;
    starts[numClasses + 1] = numWords + 1;
    const last = this.#last;
    if (last !== null && isSame(last.text, data) && isSame(last.words.starts, starts)) {
      return last.words;
    }
    const rows = float32([numWords + 1, size]);
    rows.data.set((await normalizedRows(text)).data);
    rows.data.set(this.#void.data, numWords * size);
    const words = { rows, starts };
    this.#last = { text: data.slice(), words };
    return words;
  }
}

function isSame(a: Float32Array | Uint32Array, b: Float32Array | Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
