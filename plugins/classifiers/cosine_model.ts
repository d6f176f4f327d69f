/**
 * What the cosine classifiers have in common.
 *
 * @module
 */
import { ModelError, ShapeError } from "../../lib/errors.ts";
import { type ModelSource, readJson } from "../../lib/stages/models.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
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

/** A scale and a direction of "no object", read from a method's JSON. */
export class CosineModel {
  /** What similarities are multiplied with. */
  readonly scale: number;
  readonly #name: string;
  readonly #void: HostTensor<"float32">;

  private constructor(name: string, scale: number, nothing: HostTensor<"float32">) {
    this.#name = name;
    this.scale = scale;
    this.#void = nothing;
  }

  /**
   * Reads `voidEmbedding` (D numbers) and `logitScale` from a JSON model.
   *
   * @param scale Takes the place of the model's own scale, unless 0.
   * @throws {ModelError} If the file is missing or lacks one of them.
   */
  static async read(models: ModelSource, name: string, scale: number): Promise<CosineModel> {
    const json = (await readJson(models, name) ?? {}) as Readonly<Record<string, unknown>>;
    const { voidEmbedding, logitScale } = json;
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
    return new CosineModel(name, scale || logitScale, await normalizedRows(row));
  }

  /**
   * `s · cos(row, t_c)` for every row and category, void in the last column. Where a category has
   * several rows of text, the largest counts.
   *
   * @param owner Whose work it is, for messages.
   * @param rows N × D.
   * @param text T × D.
   * @param vocabulary Says which rows of `text` are of one category.
   * @returns N × (C + 1), row-major.
   * @throws {ShapeError} If the void embedding is of another D.
   */
  async logits(
    owner: string,
    rows: Tensor<"float32">,
    text: Tensor<"float32">,
    vocabulary: VocabularySlot,
  ): Promise<HostTensor<"float32">> {
    const size = this.#void.shape[1]!;
    if (text.shape[1] !== size) {
      throw new ShapeError(
        `${owner}: text has ${text.shape[1]} features per row, the void embedding in ` +
          `${this.#name} has ${size}; both must be D`,
      );
    }
    const units = (await normalizedRows(rows)).data;
    const words = (await normalizedRows(text)).data;
    const numRows = rows.shape[0]!;
    const numWords = text.shape[0]!;
    const numClasses = vocabulary.active.length;
    const { classes } = synonymRows(vocabulary);
    const pools = numWords > numClasses;
    const logits = float32([numRows, numClasses + 1]);
    if (pools) logits.data.fill(-Infinity);
    for (let t = 0; t <= numWords; t++) {
      const word = t < numWords ? words.subarray(t * size, (t + 1) * size) : this.#void.data;
      const c = t === numWords ? numClasses : pools ? classes[t]! : t;
      for (let n = 0; n < numRows; n++) {
        const at = n * size;
        let sum = 0;
        for (let d = 0; d < size; d++) sum += units[at + d]! * word[d]!;
        const to = n * (numClasses + 1) + c;
        const logit = this.scale * sum;
        logits.data[to] = pools ? Math.max(logits.data[to]!, logit) : logit;
      }
    }
    return logits;
  }
}
