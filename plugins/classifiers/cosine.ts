/**
 * The cosine classifier.
 *
 * @module
 */
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { cosineClassifierOptions, CosineModel } from "./cosine_model.ts";

/**
 * `logits[n, c] = s · cos(fused[n], t_c)`, where t is [text; void] and s the logit scale. Void is
 * the last column. A row of zeros is equally far from everything. Rows on a WebGPU device stay there.
 */
export const cosineClassifier: StagePlugin<
  ["vocabulary", "fused", "text"],
  ["classLogits"],
  typeof cosineClassifierOptions
> = {
  role: "classifier",
  name: "cosine",
  description: "scaled cosine similarity with the text embeddings and a void embedding",
  needs: ["vocabulary", "fused", "text"],
  gives: ["classLogits"],
  options: cosineClassifierOptions,
  async create({ logitScale, model }, environment) {
    const cosine = await CosineModel.read(environment, model, logitScale);
    return {
      async run({ vocabulary, fused, text }) {
        const logits = await cosine.logits('classifier "cosine"', fused, text, vocabulary);
        return { classLogits: { logits, hasVoid: true } };
      },
      dispose: () => cosine.dispose(),
    };
  },
};
