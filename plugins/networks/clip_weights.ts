/**
 * How published CLIPs call their weights: rules for `mapWeights`, towards a network whose towers lie in
 * the scopes `image` and `text`. The learned temperature's logarithm becomes `logitScale`.
 *
 * @module
 */
import type { WeightRule } from "../../lib/weights/mod.ts";
import { convnextFromTimm } from "./convnext_weights.ts";
import { normScales, transposed } from "./weight_rules.ts";

const linearLayers = transposed("query", "key", "value", "output", "expand", "contract");

const temperature: readonly WeightRule[] = [
  { match: /^logit_scale$/, to: "logitScale" },
  { match: /^logitScale$/, reshape: [1] },
];

/** Hugging Face's `CLIPModel`, `CLIPVisionModelWithProjection` and `CLIPTextModelWithProjection`. */
export const clipFromTransformers: readonly WeightRule[] = [
  { match: /position_ids$/, drop: "counted, not learned" },
  { match: /^vision_model\./, to: "image." },
  { match: /^text_model\./, to: "text." },
  { match: /^visual_projection\./, to: "image.projection." },
  { match: /^text_projection\./, to: "text.projection." },
  { match: /embeddings\.class_embedding$/, to: "classEmbedding" },
  { match: /embeddings\.patch_embedding\./, to: "patchEmbedding." },
  { match: /embeddings\.position_embedding\.weight$/, to: "position" },
  { match: /embeddings\.token_embedding\.weight$/, to: "embedding" },
  { match: /pre_layrnorm\./, to: "preNorm." },
  { match: /(post_layernorm|final_layer_norm)\./, to: "norm." },
  { match: /encoder\.layers\./, to: "blocks." },
  { match: /layer_norm1\./, to: "attentionNorm." },
  { match: /layer_norm2\./, to: "feedForwardNorm." },
  { match: /self_attn\.q_proj\./, to: "attention.query." },
  { match: /self_attn\.k_proj\./, to: "attention.key." },
  { match: /self_attn\.v_proj\./, to: "attention.value." },
  { match: /self_attn\.out_proj\./, to: "attention.output." },
  { match: /mlp\.fc1\./, to: "feedForward.expand." },
  { match: /mlp\.fc2\./, to: "feedForward.contract." },
  normScales,
  linearLayers,
  transposed("projection"),
  ...temperature,
];

/** OpenAI's own and open_clip's `CLIP` and `CustomTextCLIP`, with a transformer or a ConvNeXt. */
export const clipFromOpenClip: readonly WeightRule[] = [
  { match: /attn_mask$/, drop: "counted, not learned" },
  { match: /^(input_resolution|context_length|vocab_size)$/, drop: "a setting, not a weight" },
  ...temperature,
  // CustomTextCLIP has its text tower in a module of its own.
  { match: /^text\./, to: "" },
  { match: /^token_embedding\.weight$/, to: "text.embedding" },
  { match: /^positional_embedding$/, to: "text.position" },
  { match: /^ln_final\./, to: "text.norm." },
  { match: /^text_projection$/, to: "text.projection.weight" },
  { match: /^transformer\./, to: "text.transformer." },
  { match: /^visual\./, to: "image." },
  { match: /^image\.class_embedding$/, to: "image.classEmbedding" },
  { match: /^image\.conv1\./, to: "image.patchEmbedding." },
  { match: /^image\.positional_embedding$/, to: "image.position" },
  { match: /^image\.ln_pre\./, to: "image.preNorm." },
  { match: /^image\.ln_post\./, to: "image.norm." },
  { match: /^image\.proj$/, to: "image.projection.weight" },
  { match: /\.transformer\.resblocks\./, to: ".blocks." },
  { match: /\.ln_1\./, to: ".attentionNorm." },
  { match: /\.ln_2\./, to: ".feedForwardNorm." },
  {
    match: /\.attn\.in_proj_(weight|bias)$/,
    split: {
      axis: 0,
      to: [".attention.query.$1", ".attention.key.$1", ".attention.value.$1"],
    },
  },
  { match: /\.attn\.out_proj\./, to: ".attention.output." },
  { match: /\.mlp\.c_fc\./, to: ".feedForward.expand." },
  { match: /\.mlp\.c_proj\./, to: ".feedForward.contract." },
  // Of a ConvNeXt; the transformers' projections above are kept as inputs×outputs.
  { match: /^image\.trunk\.head\.norm\./, to: "image.norm." },
  { match: /^(image\.head\.proj\.weight)$/, transpose: [1, 0] },
  { match: /^image\.head\.proj\.weight$/, to: "image.projection.weight" },
  { match: /^image\.head\.mlp\.fc1\./, to: "image.projection.expand." },
  { match: /^image\.head\.mlp\.fc2\./, to: "image.projection.contract." },
  ...convnextFromTimm,
  normScales,
  linearLayers,
];
