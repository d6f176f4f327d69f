/**
 * FC-CLIP's geometric ensemble of probabilities.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { cosineClassifierOptions } from "./cosine_model.ts";
import { QueryEnsemble } from "./query_ensemble.ts";

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
  async create(options, environment) {
    const ensemble = await QueryEnsemble.read(owner, options, environment);
    return {
      async run({ vocabulary, text, pooled: { embeddings, empty }, queryEmbeddings }) {
        const trained = ensemble.trained(vocabulary);
        if (trained === null) {
          throw new InputError(
            `${owner} has to know which categories the decoder was trained on; give the ` +
              'vocabulary "trained", a flag for each name, or the model a list "trained" of names',
          );
        }
        const shares = Float32Array.from(trained, (is) => is ? options.alpha : options.beta);
        const ballot = { vocabulary, text, queryEmbeddings, others: embeddings, empty, shares };
        return { classLogits: await ensemble.vote(ballot) };
      },
      dispose: () => ensemble.dispose(),
    };
  },
};
