/**
 * FC-CLIP's geometric ensemble of probabilities.
 *
 * @module
 */
import { GpuGeometricEnsemble } from "../../kernels/class_logits/gpu.ts";
import { InputError } from "../../lib/errors.ts";
import { exp, expm1, log } from "../../lib/portable_math.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import { readJson } from "../../lib/stages/models.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import type { VocabularySlot } from "../../lib/stages/slots.ts";
import { EmptyMasks } from "../poolers/empty_masks.ts";
import { cosineClassifierOptions, CosineModel } from "./cosine_model.ts";

/** Options of {@linkcode geometricEnsembleClassifier}. */
export const geometricEnsembleClassifierOptions = {
  ...cosineClassifierOptions,
  alpha: {
    type: "number",
    description: "CLIP's share of the vote on categories that the decoder was trained on",
    default: 0.4,
    minimum: 0,
    maximum: 1,
  },
  beta: {
    type: "number",
    description: "CLIP's share of the vote on categories that it was not trained on",
    default: 0.8,
    minimum: 0,
    maximum: 1,
  },
} as const satisfies OptionSchema;

const owner = 'classifier "geometric_ensemble"';

/** For each active category, whether the decoder was trained on it. */
function trainedOf(
  { names, active, trained }: VocabularySlot,
  known: ReadonlySet<string> | null,
): boolean[] {
  if (trained !== undefined) return active.map((index) => trained[index]!);
  if (known === null) {
    throw new InputError(
      `${owner} has to know which categories the decoder was trained on; give the vocabulary ` +
        '"trained", a flag for each name, or the model a list "trained" of names',
    );
  }
  return active.map((index) => known.has(names[index]!));
}

/** Writes log softmax over the first `count` of a row. */
function logSoftmax(row: Float32Array, count: number, result: Float64Array): void {
  let top = -Infinity;
  for (let c = 0; c < count; c++) top = Math.max(top, row[c]!);
  let sum = 0;
  for (let c = 0; c < count; c++) sum += exp(row[c]! - top);
  const whole = top + log(sum);
  for (let c = 0; c < count; c++) result[c] = row[c]! - whole;
}

/**
 * Probabilities of queries and of pooled CLIP features, joined geometrically, with another share for
 * categories of the decoder's training than for others (Yu et al., "Convolutions Die Hard", 2023,
 * section 3.3):
 *
 *     p(c | n) ∝ p_query(c | n)^(1−s) · p_CLIP(c | n)^s       s = α where c was trained on, else β
 *
 * Void is left to the queries: the categories share 1 − p_query(void | n). Of a mask without pixels
 * CLIP has nothing to say: s = 0. The logits are the logarithms of these.
 *
 * Which categories were trained on, the vocabulary says (`trained`), else the model's own list.
 */
export const geometricEnsembleClassifier: StagePlugin<
  ["vocabulary", "text", "pooled", "queryEmbeddings"],
  ["classLogits"],
  typeof geometricEnsembleClassifierOptions
> = {
  role: "classifier",
  name: "geometric_ensemble",
  description: "FC-CLIP's ensemble of the queries' and CLIP's probabilities",
  needs: ["vocabulary", "text", "pooled", "queryEmbeddings"],
  gives: ["classLogits"],
  options: geometricEnsembleClassifierOptions,
  async create({ logitScale, model, alpha, beta }, environment) {
    const { models } = environment;
    const cosine = await CosineModel.read(environment, model, logitScale);
    const { trained } = await readJson(models, model) as { trained?: unknown };
    const known = Array.isArray(trained) ? new Set(trained.map(String)) : null;
    const { gpu } = environment.device;
    const onDevice = gpu && new GpuGeometricEnsemble(gpu);
    return {
      async run({ vocabulary, text, pooled, queryEmbeddings }) {
        const { embeddings } = pooled;
        const shares = Float32Array.from(
          trainedOf(vocabulary, known),
          (isTrained) => isTrained ? alpha : beta,
        );
        if (
          cosine.isOnDevice(embeddings) && cosine.isOnDevice(queryEmbeddings) &&
          pooled.empty instanceof EmptyMasks
        ) {
          const rows = [queryEmbeddings, embeddings] as const;
          const [logits, ofClip] = await cosine.deviceLogits(owner, rows, text, vocabulary);
          using _ofClip = ofClip;
          try {
            await onDevice!.run(logits, ofClip, shares, pooled.empty.areas);
            return { classLogits: { logits, hasVoid: true } };
          } catch (error) {
            logits.dispose();
            throw error;
          }
        }
        const logits = await cosine.hostLogits(owner, queryEmbeddings, text, vocabulary);
        const ofClip = await cosine.hostLogits(owner, embeddings, text, vocabulary);
        const empty = await pooled.empty.read();
        const [rows, columns] = logits.shape as readonly [number, number];
        const count = columns - 1;
        const [all, query, clip] = [columns, count, count].map((n) => new Float64Array(n)) as [
          Float64Array,
          Float64Array,
          Float64Array,
        ];
        for (let n = 0; n < rows; n++) {
          const row = logits.data.subarray(n * columns, (n + 1) * columns);
          logSoftmax(row, columns, all);
          logSoftmax(row, count, query);
          logSoftmax(ofClip.data.subarray(n * columns, (n + 1) * columns), count, clip);
          let top = -Infinity;
          for (let c = 0; c < count; c++) {
            const share = empty[n] ? 0 : shares[c]!;
            query[c] = (1 - share) * query[c]! + share * clip[c]!;
            top = Math.max(top, query[c]!);
          }
          let sum = 0;
          for (let c = 0; c < count; c++) sum += exp(query[c]! - top);
          const isObject = log(-expm1(Math.min(all[count]!, -1e-12)));
          for (let c = 0; c < count; c++) row[c] = query[c]! - top - log(sum) + isObject;
          row[count] = all[count]!;
        }
        return { classLogits: { logits, hasVoid: true } };
      },
      dispose() {
        cosine.dispose();
        onDevice?.dispose();
      },
    };
  },
};
