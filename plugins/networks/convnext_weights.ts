/**
 * How published ConvNeXts call their weights: rules for `mapWeights`.
 *
 * @module
 */
import type { WeightRule } from "../../lib/weights/mod.ts";
import { normScales, transposed } from "./weight_rules.ts";

/** Names only; after them come `normScales` and the transposition of linear layers. */
export const convnextFromTimm: readonly WeightRule[] = [
  { match: /stem\.0\./, to: "stem.convolution." },
  { match: /stem\.1\./, to: "stem.norm." },
  { match: /downsample\.0\./, to: "downsample.norm." },
  { match: /downsample\.1\./, to: "downsample.convolution." },
  { match: /(blocks\.\d+)\.conv_dw\./, to: "$1.depthwise." },
  { match: /(blocks\.\d+)\.gamma$/, to: "$1.layerScale" },
  { match: /(blocks\.\d+)\.mlp\.fc1\./, to: "$1.feedForward.expand." },
  { match: /(blocks\.\d+)\.mlp\.fc2\./, to: "$1.feedForward.contract." },
];

/** Hugging Face's `ConvNextModel`, alone or inside of a classifier. */
export const convnextFromTransformers: readonly WeightRule[] = [
  { strip: "convnext." },
  { match: /^classifier\./, drop: "a classifier of other classes" },
  { match: /^embeddings\.patch_embeddings\./, to: "stem.convolution." },
  { match: /^embeddings\.layernorm\./, to: "stem.norm." },
  { match: /^layernorm\./, to: "norm." },
  { match: /^encoder\.stages\./, to: "stages." },
  { match: /downsampling_layer\.0\./, to: "downsample.norm." },
  { match: /downsampling_layer\.1\./, to: "downsample.convolution." },
  { match: /^(stages\.\d+)\.layers\./, to: "$1.blocks." },
  { match: /\.dwconv\./, to: ".depthwise." },
  { match: /\.layernorm\./, to: ".norm." },
  { match: /\.layer_scale_parameter$/, to: ".layerScale" },
  { match: /\.pwconv1\./, to: ".feedForward.expand." },
  { match: /\.pwconv2\./, to: ".feedForward.contract." },
  normScales,
  transposed("expand", "contract"),
];
