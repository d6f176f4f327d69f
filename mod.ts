/**
 * Open-vocabulary segmentation as typed, swappable stages: an image and words in, labelled pixels
 * out. `docs/stages.md` explains the contract; `@ovstage/ovstage/graph` builds networks.
 *
 * ```ts ignore
 * import { acquireDevice, openOvsnet, vocabulary } from "@ovstage/ovstage";
 * await using ovsnet = await openOvsnet({ device: await acquireDevice("auto") });
 * using result = await ovsnet.run({ image, vocabulary: vocabulary(["dog", "guitar"]) });
 * const labels = await result.outputs.segmentation.labels.read();
 * ```
 *
 * @module
 */

// Tensors, devices, errors, randomness.
export * from "./lib/errors.ts";
export * from "./lib/tensor.ts";
export * from "./lib/runtime.ts";
export { Rng } from "./lib/rng.ts";
export { GpuTensor, liveBuffers, type ReadCheck } from "./kernels/dispatch/gpu_tensor.ts";
export { type ElementsOf, readAll } from "./kernels/dispatch/read_all.ts";
export { acquireDevice, type AcquireOptions, type OwnedDevice } from "./plugins/runtimes/mod.ts";

// Stages and pipelines.
export * from "./lib/stages/slots.ts";
export * from "./lib/stages/stage.ts";
export * from "./lib/stages/pipeline.ts";
export * from "./lib/stages/options.ts";
export * from "./lib/stages/plugin.ts";
export * from "./lib/stages/registry.ts";
export * from "./lib/stages/document.ts";
export * from "./lib/stages/models.ts";
export * from "./lib/stages/network.ts";
export { loadPlugin } from "./lib/stages/load_plugin.ts";
export { lend, reshape } from "./lib/stages/reshape.ts";
export * from "./lib/stages/synonyms.ts";
export { vocabulary } from "./lib/stages/vocabulary.ts";

// The stages that come with the package, and methods made of them.
export { builtinRegistry } from "./plugins/builtin.ts";
export { imageEncoder, imageEncoderOptions } from "./plugins/encoders/image_encoder.ts";
export { textEncoder, textEncoderOptions } from "./plugins/encoders/text_encoder.ts";
export { encoderSize, resizeImage } from "./plugins/encoders/resize_image.ts";
export { maskDecoder, maskDecoderOptions } from "./plugins/decoders/mask_decoder.ts";
export { maskPooling, maskPoolingOptions } from "./plugins/poolers/mask_pooling.ts";
export {
  type AttentionFuser,
  crossAttentionFuser,
  type LearnedFuserOptions,
  selfAttentionFuser,
} from "./plugins/fusers/attention.ts";
export { clipFuser } from "./plugins/fusers/clip.ts";
export { gfaFuser, gfaFuserOptions } from "./plugins/fusers/gfa.ts";
export { meanFuser } from "./plugins/fusers/mean.ts";
export { queryFuser } from "./plugins/fusers/query.ts";
export { cosineClassifierOptions } from "./plugins/classifiers/cosine_model.ts";
export { cosineClassifier } from "./plugins/classifiers/cosine.ts";
export {
  geometricEnsembleClassifier,
  geometricEnsembleClassifierOptions,
} from "./plugins/classifiers/geometric_ensemble.ts";
export { queryVoidClassifier } from "./plugins/classifiers/query_void.ts";
export {
  trainedWordsClassifier,
  trainedWordsClassifierOptions,
} from "./plugins/classifiers/trained_words.ts";
export { instanceSegmenter, instanceSegmenterOptions } from "./plugins/segmenters/instance.ts";
export { panopticSegmenter, panopticSegmenterOptions } from "./plugins/segmenters/panoptic.ts";
export { semanticSegmenter, semanticSegmenterOptions } from "./plugins/segmenters/semantic.ts";
export type { InferenceOptions } from "./plugins/segmenters/in_slices.ts";
export * from "./plugins/segmenters/instance_inference.ts";
export type { MaskLogits } from "./plugins/segmenters/mask_logits.ts";
export * from "./plugins/segmenters/panoptic_inference.ts";
export * from "./plugins/segmenters/semantic_inference.ts";
export type { ClassLogits } from "./plugins/segmenters/softmax_row.ts";
export { modelSource, type OpenOptions, openPipeline } from "./plugins/methods/open_pipeline.ts";
export * from "./plugins/methods/ovsnet.ts";

// Names of public benchmarks, and sentences to put them into.
export * from "./plugins/vocabularies/builtin_vocabularies.ts";
export * from "./plugins/vocabularies/prompt_templates.ts";
export { synonymPooling, synonymPoolingOptions } from "./plugins/vocabularies/synonym_pooling.ts";

// How similar vocabularies are.
export * from "./lib/similarity/choose_distinct.ts";
export { type CosineOptions, CosineRows } from "./lib/similarity/cosine_blocks.ts";
export * from "./lib/similarity/nearest_rows.ts";
export * from "./lib/similarity/similar_pairs.ts";
export {
  type EmbeddedVocabulary,
  type HistogramBin,
  type NearestCategory,
  type SimilarityOptions,
  type VocabularySimilarity,
  vocabularySimilarity,
} from "./plugins/evaluation/similarity.ts";

// Text, images, data sets, metrics, optimisation.
export * from "./lib/text/bpe.ts";
export { ClipTokenizer, type ClipVocabulary } from "./lib/text/clip_tokenizer.ts";
export * from "./lib/data/dataset.ts";
export * from "./lib/image/image.ts";
export * from "./lib/image/segments.ts";
export * from "./lib/image/coco_rle.ts";
export * from "./lib/image/mask_runs.ts";
export * from "./lib/image/overlay.ts";
export * from "./lib/image/palette.ts";
export * from "./lib/image/indexed_png.ts";
export * from "./lib/image/panoptic_png.ts";
export * from "./lib/image/label_places.ts";
export * from "./lib/metrics/confusion_matrix.ts";
export { reduceZeroLabel } from "./lib/metrics/reduce_zero_label.ts";
export { instanceTruths } from "./lib/metrics/instance_truths.ts";
export * from "./lib/metrics/mask_average_precision.ts";
export * from "./lib/metrics/panoptic_quality.ts";
export type { LabelledSegment, SegmentMap } from "./lib/metrics/segment_map.ts";
export { assign } from "./lib/matching/hungarian.ts";
export * from "./lib/optim/adamw.ts";
export * from "./lib/optim/ema.ts";
export * from "./lib/optim/gradient_accumulator.ts";
export * from "./lib/optim/schedules.ts";
