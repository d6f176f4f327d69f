/**
 * How published Mask2Formers call their weights: rules for `mapWeights`, towards a network whose
 * decoders lie in the scopes `pixelDecoder` and `transformerDecoder`.
 *
 * @module
 */
import type { WeightRule } from "../../lib/weights/mod.ts";
import { normScales, transposed } from "./weight_rules.ts";

/** Hugging Face's `Mask2FormerForUniversalSegmentation`; its backbone is left out. */
export const mask2FormerFromTransformers: readonly WeightRule[] = [
  { match: /^model\.pixel_level_module\.encoder\./, drop: "the backbone, a network of its own" },
  { match: /^criterion\./, drop: "the loss's, not the network's" },
  { match: /^model\.pixel_level_module\.decoder\./, to: "pixelDecoder." },
  { match: /^model\.transformer_module\./, to: "transformerDecoder." },
  { match: /^class_predictor\./, to: "transformerDecoder.classHead." },

  { match: /^(\w+\.)input_projections\.(\d+)\.0\./, to: "$1inputs.$2.convolution." },
  { match: /^(\w+\.)input_projections\.(\d+)\.1\./, to: "$1inputs.$2.norm." },
  { match: /^(\w+\.)input_projections\.(\d+)\./, to: "$1inputs.$2." },
  { match: /\.level_embed(\.weight)?$/, to: ".levelEmbedding" },
  { match: /^pixelDecoder\.encoder\.layers\./, to: "pixelDecoder.layers." },
  { match: /\.self_attn\.sampling_offsets\./, to: ".attention.offsets." },
  { match: /\.self_attn\.attention_weights\./, to: ".attention.weights." },
  { match: /\.self_attn\.value_proj\./, to: ".attention.value." },
  { match: /\.self_attn\.output_proj\./, to: ".attention.output." },
  { match: /^(pixelDecoder\..*)\.self_attn_layer_norm\./, to: "$1.attentionNorm." },
  // The published ones have one map that is finer than what the deformable layers see.
  { match: /^pixelDecoder\.adapter_1\.0\./, to: "pixelDecoder.lateral.0.convolution." },
  { match: /^pixelDecoder\.adapter_1\.1\./, to: "pixelDecoder.lateral.0.norm." },
  { match: /^pixelDecoder\.layer_1\.0\./, to: "pixelDecoder.merge.0.convolution." },
  { match: /^pixelDecoder\.layer_1\.1\./, to: "pixelDecoder.merge.0.norm." },
  { match: /^pixelDecoder\.mask_projection\./, to: "pixelDecoder.maskFeatures." },

  { match: /\.queries_features\.weight$/, to: ".queries" },
  { match: /\.queries_embedder\.weight$/, to: ".queryPosition" },
  { match: /^transformerDecoder\.decoder\./, to: "transformerDecoder." },
  { match: /\.layernorm\./, to: ".norm." },
  { match: /\.mask_predictor\.mask_embedder\.(\d+)\.0\./, to: ".maskHead.layers.$1." },
  {
    match: /\.cross_attn\.in_proj_(weight|bias)$/,
    split: {
      axis: 0,
      to: [".crossAttention.query.$1", ".crossAttention.key.$1", ".crossAttention.value.$1"],
    },
  },
  { match: /\.cross_attn\.out_proj\./, to: ".crossAttention.output." },
  { match: /\.cross_attn_layer_norm\./, to: ".crossNorm." },
  { match: /\.self_attn\.q_proj\./, to: ".selfAttention.query." },
  { match: /\.self_attn\.k_proj\./, to: ".selfAttention.key." },
  { match: /\.self_attn\.v_proj\./, to: ".selfAttention.value." },
  { match: /\.self_attn\.out_proj\./, to: ".selfAttention.output." },
  { match: /\.self_attn_layer_norm\./, to: ".selfNorm." },
  { match: /\.final_layer_norm\./, to: ".feedForwardNorm." },
  { match: /\.fc1\./, to: ".feedForward.expand." },
  { match: /\.fc2\./, to: ".feedForward.contract." },
  normScales,
  transposed(
    "query",
    "key",
    "value",
    "output",
    "offsets",
    "weights",
    "expand",
    "contract",
    "classHead",
    String.raw`maskHead\.layers\.\d+`,
  ),
];
