/**
 * The cosine classifier that hears the queries where they were trained.
 *
 * @module
 */
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { cosineClassifierOptions } from "./cosine_model.ts";
import { QueryEnsemble } from "./query_ensemble.ts";

/** Options of {@linkcode trainedWordsClassifier}. */
export const trainedWordsClassifierOptions = {
  ...cosineClassifierOptions,
  queryShare: {
    type: "number",
    description: "the queries' share of the vote on categories that the decoder was trained on",
    default: 0.9,
    minimum: 0,
    maximum: 1,
  },
} as const satisfies OptionSchema;

/**
 * On words that the decoder was trained on its queries know more than any fusion does; on all others
 * the fused embedding decides alone:
 *
 *     p(c | n) ∝ p_query(c | n)^t · p_fused(c | n)^(1−t)      t = queryShare where c was trained on, else 0
 *
 * Void is left to the queries, as in {@linkcode queryVoidClassifier}, which this is where nothing was
 * trained on. After Yu et al., "Convolutions Die Hard", 2023, section 3.3, whose ensemble votes with
 * CLIP's pooled features in place of fused ones, on all categories.
 *
 * Which categories were trained on, the vocabulary says (`trained`), else the model's own list of
 * names; where neither does, none was.
 */
export const trainedWordsClassifier: StagePlugin<
  ["vocabulary", "fused", "queryEmbeddings", "text"],
  ["classLogits"],
  typeof trainedWordsClassifierOptions
> = {
  role: "classifier",
  name: "trained_words",
  description: "cosine similarity of the fused embedding; queries vote on words of their training",
  needs: ["vocabulary", "fused", "queryEmbeddings", "text"],
  gives: ["classLogits"],
  options: trainedWordsClassifierOptions,
  async create(options, environment) {
    const ensemble = await QueryEnsemble.read('classifier "trained_words"', options, environment);
    return {
      async run({ vocabulary, fused, queryEmbeddings, text }) {
        const trained = ensemble.trained(vocabulary) ?? vocabulary.active.map(() => false);
        const shares = Float32Array.from(trained, (is) => is ? 1 - options.queryShare : 1);
        const ballot = { vocabulary, text, queryEmbeddings, others: fused, shares };
        return { classLogits: await ensemble.vote(ballot) };
      },
      dispose: () => ensemble.dispose(),
    };
  },
};
