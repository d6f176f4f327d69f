/**
 * The stages that come with this package.
 *
 * @module
 */
import { Registry } from "../lib/stages/registry.ts";
import { cosineClassifier } from "./classifiers/cosine.ts";
import { geometricEnsembleClassifier } from "./classifiers/geometric_ensemble.ts";
import { queryVoidClassifier } from "./classifiers/query_void.ts";
import { trainedWordsClassifier } from "./classifiers/trained_words.ts";
import { maskDecoder } from "./decoders/mask_decoder.ts";
import { imageEncoder } from "./encoders/image_encoder.ts";
import { textEncoder } from "./encoders/text_encoder.ts";
import { crossAttentionFuser, selfAttentionFuser } from "./fusers/attention.ts";
import { clipFuser } from "./fusers/clip.ts";
import { gfaFuser } from "./fusers/gfa.ts";
import { meanFuser } from "./fusers/mean.ts";
import { queryFuser } from "./fusers/query.ts";
import { maskPooling } from "./poolers/mask_pooling.ts";
import { instanceSegmenter } from "./segmenters/instance.ts";
import { panopticSegmenter } from "./segmenters/panoptic.ts";
import { semanticSegmenter } from "./segmenters/semantic.ts";
import { synonymPooling } from "./vocabularies/synonym_pooling.ts";

/**
 * A new registry with all stages of this package; plugins of third parties may be added to it.
 *
 * @example
 * ```ts
 * import { builtinRegistry } from "@ovstage/ovstage";
 * console.log(builtinRegistry().names("fuser").join(" "));
 * // gfa mean clip query self_attention cross_attention
 * ```
 */
export function builtinRegistry(): Registry {
  return new Registry([
    synonymPooling,
    imageEncoder,
    textEncoder,
    maskDecoder,
    maskPooling,
    gfaFuser,
    meanFuser,
    clipFuser,
    queryFuser,
    selfAttentionFuser,
    crossAttentionFuser,
    cosineClassifier,
    queryVoidClassifier,
    trainedWordsClassifier,
    geometricEnsembleClassifier,
    semanticSegmenter,
    panopticSegmenter,
    instanceSegmenter,
  ]);
}
