/**
 * The cosine classifier.
 *
 * @module
 */
import { ModelError, ShapeError } from "../../lib/errors.ts";
import { readJson } from "../../lib/stages/models.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32 } from "../../lib/tensor.ts";
import { normalizedRows } from "../fusers/rows.ts";

/** What the classifier reads from the method's JSON. */
interface ClassifierModel {
  /** D numbers: the direction of "no object". */
  readonly voidEmbedding: readonly number[];
  /** What cosine similarities are multiplied with. */
  readonly logitScale: number;
}

function readModel(name: string, json: unknown): ClassifierModel {
  const { voidEmbedding, logitScale } = (json ?? {}) as Partial<ClassifierModel>;
  const isNumber = (value: unknown) => typeof value === "number" && Number.isFinite(value);
  if (
    !Array.isArray(voidEmbedding) || voidEmbedding.length === 0 || !voidEmbedding.every(isNumber)
  ) {
    throw new ModelError(`model ${name}: "voidEmbedding" must be a list of D numbers`);
  }
  if (!isNumber(logitScale) || logitScale! <= 0) {
    throw new ModelError(`model ${name}: "logitScale" must be a number above 0`);
  }
  return { voidEmbedding, logitScale: logitScale! };
}

const options = {
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

/**
 * `logits[n, c] = s · cos(fused[n], t_c)`, where t is [text; void] and s the logit scale. Void is
 * the last column. A row of zeros is equally far from everything.
 */
export const cosineClassifier: StagePlugin<["fused", "text"], ["classLogits"], typeof options> = {
  role: "classifier",
  name: "cosine",
  description: "scaled cosine similarity with the text embeddings and a void embedding",
  needs: ["fused", "text"],
  gives: ["classLogits"],
  options,
  async create(options, { models }) {
    const model = readModel(options.model, await readJson(models, options.model));
    const scale = options.logitScale || model.logitScale;
    const size = model.voidEmbedding.length;
    const nothing = await normalizedRows(
      float32([1, size], Float32Array.from(model.voidEmbedding)),
    );
    return {
      async run({ fused, text }) {
        if (text.shape[1] !== size) {
          throw new ShapeError(
            `classifier "cosine": text has ${
              text.shape[1]
            } features per row, the void embedding in ` +
              `${options.model} has ${size}; both must be D`,
          );
        }
        const rows = await normalizedRows(fused);
        const words = await normalizedRows(text);
        const numMasks = rows.shape[0]!;
        const numClasses = words.shape[0]!;
        const logits = float32([numMasks, numClasses + 1]);
        for (let c = 0; c <= numClasses; c++) {
          const word = c < numClasses
            ? words.data.subarray(c * size, (c + 1) * size)
            : nothing.data;
          for (let n = 0; n < numMasks; n++) {
            const at = n * size;
            let sum = 0;
            for (let d = 0; d < size; d++) sum += rows.data[at + d]! * word[d]!;
            logits.data[n * (numClasses + 1) + c] = scale * sum;
          }
        }
        return { classLogits: { logits, hasVoid: true } };
      },
    };
  },
};
