/**
 * The stage that lets synonyms count.
 *
 * @module
 */
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";

/** Options of {@linkcode synonymPooling}. */
export const synonymPoolingOptions = {
  pooling: {
    type: "string",
    description: "mean: average a class's text embeddings; max: take the largest of its logits",
    default: "max",
    enum: ["mean", "max"],
  },
} as const satisfies OptionSchema;

/**
 * Says what a vocabulary's synonyms count for; see `VocabularySlot.pooling`. It stands before the
 * text encoder. Where the vocabulary has no synonyms, it changes nothing.
 */
export const synonymPooling: StagePlugin<
  ["vocabulary"],
  ["vocabulary"],
  typeof synonymPoolingOptions
> = {
  role: "vocabulary",
  name: "synonyms",
  description: "classes are known by their synonyms too: by the mean, or by the best of them",
  needs: ["vocabulary"],
  gives: ["vocabulary"],
  options: synonymPoolingOptions,
  create: ({ pooling }) => ({
    run: ({ vocabulary }) => ({ vocabulary: { ...vocabulary, pooling } }),
  }),
};
