/**
 * The cosine classifier that leaves "no object" to the queries.
 *
 * @module
 */
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { cosineClassifierOptions } from "./cosine_model.ts";
import { QueryEnsemble } from "./query_ensemble.ts";

/**
 * Only the decoder has learned what is no object, and only in its query embeddings: the void
 * embedding means nothing to features that CLIP pooled. So void comes from the queries, and the
 * categories share what is left by the fused embedding (as FC-CLIP's ensemble does, section 3.3):
 *
 *     p(void | n) = softmax(s · cos(F_Q[n], [text; void]))[void]
 *     p(c | n)    = (1 − p(void | n)) · softmax(s · cos(fused[n], text))[c]
 *
 * The logits are the logarithms of these.
 */
export const queryVoidClassifier: StagePlugin<
  ["vocabulary", "fused", "queryEmbeddings", "text"],
  ["classLogits"],
  typeof cosineClassifierOptions
> = {
  role: "classifier",
  name: "query_void",
  description: "cosine similarity of the fused embedding, with void decided by the query",
  needs: ["vocabulary", "fused", "queryEmbeddings", "text"],
  gives: ["classLogits"],
  options: cosineClassifierOptions,
  async create(options, environment) {
    const ensemble = await QueryEnsemble.read('classifier "query_void"', options, environment);
    return {
      async run({ vocabulary, fused, queryEmbeddings, text }) {
        const shares = new Float32Array(vocabulary.active.length).fill(1);
        const ballot = { vocabulary, text, queryEmbeddings, others: fused, shares };
        return { classLogits: await ensemble.vote(ballot) };
      },
      dispose: () => ensemble.dispose(),
    };
  },
};
