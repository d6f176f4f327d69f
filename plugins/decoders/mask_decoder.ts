/**
 * The mask decoder: class-agnostic masks and their query embeddings.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";
import { loadNetwork, unbatched } from "../../lib/stages/network.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { lend } from "../../lib/stages/reshape.ts";
import type { Tensor } from "../../lib/tensor.ts";

/** Options of {@linkcode maskDecoder}. */
export const maskDecoderOptions = {
  model: { type: "string", description: "the model's file", default: "mask_decoder.onnx" },
} as const satisfies OptionSchema;

/**
 * Runs an ONNX model in the style of Mask2Former: `features` [1, D, H/8, W/8], `pyramid4`
 * [1, c, H/4, W/4], `pyramid8` [1, c', H/8, W/8] → `mask_logits` [1, N, H/4, W/4] and
 * `query_embeddings` [1, N, D], projected into the joint space.
 */
export const maskDecoder: StagePlugin<
  ["features", "pyramid"],
  ["maskLogits", "queryEmbeddings"],
  typeof maskDecoderOptions
> = {
  role: "decoder",
  name: "onnx",
  description: "masks and query embeddings, from an ONNX model in the style of Mask2Former",
  needs: ["features", "pyramid"],
  gives: ["maskLogits", "queryEmbeddings"],
  options: maskDecoderOptions,
  async create({ model }, environment) {
    const session = await loadNetwork(environment, model, {
      inputs: ["features", "pyramid4", "pyramid8"],
      outputs: ["mask_logits", "query_embeddings"],
    });
    return {
      async run({ features, pyramid }) {
        const loans: Record<string, Tensor> = { features: lend(features, [1, ...features.shape]) };
        try {
          for (const stride of [4, 8]) {
            const level = pyramid.find((level) => level.stride === stride);
            if (level === undefined) {
              throw new ModelError(
                `model ${model} takes a pyramid level of stride ${stride}; the encoder gives ${
                  pyramid.map((level) => level.stride).join(", ")
                }`,
              );
            }
            loans[`pyramid${stride}`] = lend(level.features, [1, ...level.features.shape]);
          }
          const outputs = await session.run(loans);
          const { mask_logits, query_embeddings, ...others } = outputs;
          for (const other of Object.values(others)) other.dispose();
          return {
            maskLogits: unbatched(mask_logits!, "mask_logits"),
            queryEmbeddings: unbatched(query_embeddings!, "query_embeddings"),
          };
        } finally {
          for (const loan of Object.values(loans)) loan.dispose();
        }
      },
      dispose: () => session.dispose(),
    };
  },
};
