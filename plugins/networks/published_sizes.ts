/**
 * The sizes of published networks, so that their weights fit.
 *
 * @module
 */
import type { ClipImageConvnextConfig } from "./clip_image_convnext.ts";
import type { ClipImageTransformerConfig } from "./clip_image_transformer.ts";
import type { ClipTextTransformerConfig } from "./clip_text_transformer.ts";
import type { ConvnextConfig } from "./convnext.ts";
import type { PixelDecoderConfig } from "./mask2former_pixel_decoder.ts";
import type { TransformerDecoderConfig } from "./mask2former_transformer_decoder.ts";

const openAiText = {
  vocabularySize: 49408,
  maxLength: 77,
  depth: 12,
  activation: "quickGelu",
} as const;

const openClipText = { vocabularySize: 49408, maxLength: 77, activation: "gelu" } as const;

/**
 * Towers as vision transformers: OpenAI's (Radford et al., 2021). LAION's and most others of these sizes
 * have `activation: "gelu"`.
 */
export const clipTransformerSizes: Readonly<
  Record<
    "ViT-B/16" | "ViT-L/14" | "ViT-L/14@336",
    { image: ClipImageTransformerConfig; text: ClipTextTransformerConfig }
  >
> = {
  "ViT-B/16": {
    image: {
      patchSize: 16,
      grid: 14,
      width: 768,
      depth: 12,
      heads: 12,
      activation: "quickGelu",
      jointSize: 512,
    },
    text: { ...openAiText, width: 512, heads: 8, jointSize: 512 },
  },
  "ViT-L/14": {
    image: {
      patchSize: 14,
      grid: 16,
      width: 1024,
      depth: 24,
      heads: 16,
      activation: "quickGelu",
      jointSize: 768,
    },
    text: { ...openAiText, width: 768, heads: 12, jointSize: 768 },
  },
  "ViT-L/14@336": {
    image: {
      patchSize: 14,
      grid: 24,
      width: 1024,
      depth: 24,
      heads: 16,
      activation: "quickGelu",
      jointSize: 768,
    },
    text: { ...openAiText, width: 768, heads: 12, jointSize: 768 },
  },
};

/** ConvNeXt (Liu et al., 2022, section 2.7). */
export const convnextSizes: Readonly<Record<"tiny" | "base" | "large", ConvnextConfig>> = {
  tiny: { widths: [96, 192, 384, 768], depths: [3, 3, 9, 3] },
  base: { widths: [128, 256, 512, 1024], depths: [3, 3, 27, 3] },
  large: { widths: [192, 384, 768, 1536], depths: [3, 3, 27, 3] },
};

/** Towers as ConvNeXts: open_clip's, by its names; FC-CLIP (Yu et al., 2023) has the large one. */
export const clipConvnextSizes: Readonly<
  Record<
    "convnext_base_w_320" | "convnext_large_d_320",
    { image: ClipImageConvnextConfig; text: ClipTextTransformerConfig }
  >
> = {
  convnext_base_w_320: {
    image: { ...convnextSizes.base, head: "linear", jointSize: 640 },
    text: { ...openClipText, width: 640, depth: 12, heads: 10, jointSize: 640 },
  },
  convnext_large_d_320: {
    image: { ...convnextSizes.large, head: "mlp", jointSize: 768 },
    text: { ...openClipText, width: 768, depth: 16, heads: 12, jointSize: 768 },
  },
};

/** Mask2Former's decoders (Cheng et al., 2022, section 4.1); the queries are 100, or 200 of Swin-L. */
export const mask2FormerSizes: Readonly<{
  pixelDecoder: PixelDecoderConfig;
  transformerDecoder: TransformerDecoderConfig;
}> = {
  pixelDecoder: { width: 256, maskWidth: 256, heads: 8, depth: 6, hiddenWidth: 1024 },
  transformerDecoder: { numQueries: 100, width: 256, heads: 8, depth: 9, hiddenWidth: 2048 },
};
