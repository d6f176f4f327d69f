/**
 * The cosine classifier that leaves "no object" to the queries.
 *
 * @module
 */
import { gpuQueryVoid } from "../../kernels/class_logits/gpu.ts";
import { exp, log } from "../../lib/portable_math.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { cosineClassifierOptions, CosineModel } from "./cosine_model.ts";

/** The logarithm of a sum of exponentials. */
function logSumExp(values: Float32Array): number {
  const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return top + log(values.reduce((sum, value) => sum + exp(value - top), 0));
}

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
  async create({ logitScale, model }, environment) {
    const cosine = await CosineModel.read(environment, model, logitScale);
    const owner = 'classifier "query_void"';
    return {
      async run({ vocabulary, fused, queryEmbeddings, text }) {
        if (cosine.isOnDevice(fused) && cosine.isOnDevice(queryEmbeddings)) {
          const [logits, ofQuery] = await cosine.deviceLogits(
            owner,
            [fused, queryEmbeddings],
            text,
            vocabulary,
          );
          using _ofQuery = ofQuery;
          try {
            await gpuQueryVoid(logits, ofQuery);
            return { classLogits: { logits, hasVoid: true } };
          } catch (error) {
            logits.dispose();
            throw error;
          }
        }
        const logits = await cosine.hostLogits(owner, fused, text, vocabulary);
        const ofQuery = await cosine.hostLogits(owner, queryEmbeddings, text, vocabulary);
        const [rows, columns] = logits.shape as readonly [number, number];
        const numClasses = columns - 1;
        for (let n = 0; n < rows; n++) {
          const row = logits.data.subarray(n * columns, (n + 1) * columns);
          const query = ofQuery.data.subarray(n * columns, (n + 1) * columns);
          const all = logSumExp(query);
          const isObject = logSumExp(query.subarray(0, numClasses)) - all;
          const among = logSumExp(row.subarray(0, numClasses));
          for (let c = 0; c < numClasses; c++) row[c] = row[c]! - among + isObject;
          row[numClasses] = query[numClasses]! - all;
        }
        return { classLogits: { logits, hasVoid: true } };
      },
      dispose: () => cosine.dispose(),
    };
  },
};
