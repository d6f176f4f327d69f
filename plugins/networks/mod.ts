/**
 * The networks of this field as graphs, in the field's names: layers, blocks, CLIP's towers and
 * Mask2Former's decoders, with the sizes and the weights' names of published ones.
 *
 * @module
 */
export {
  attention,
  type AttentionOptions,
  causalMask,
  maskBias,
  maskedAttentionMask,
  unlessEmpty,
} from "./attention.ts";
export * from "./attention_fuser.ts";
export * from "./clip_image_convnext.ts";
export * from "./clip_image_transformer.ts";
export * from "./clip_text_transformer.ts";
export * from "./clip_weights.ts";
export * from "./convnext.ts";
export * from "./convnext_block.ts";
export { convnextFromTransformers } from "./convnext_weights.ts";
export * from "./deformable_attention.ts";
export * from "./feed_forward.ts";
export * from "./image_encoder.ts";
export * from "./layers.ts";
export * from "./mask2former_pixel_decoder.ts";
export * from "./mask2former_transformer_decoder.ts";
export * from "./mask2former_weights.ts";
export * from "./mask_decoder.ts";
export * from "./patch_embedding.ts";
export * from "./position_embedding.ts";
export * from "./published_sizes.ts";
export type { Size } from "./sizes.ts";
export * from "./text_encoder.ts";
export * from "./transformer_block.ts";
