/**
 * Sentences that names are put into before they are encoded.
 *
 * @module
 */

/** The one sentence of CLIP's zero-shot classifier. */
export const photoTemplate = "a photo of a {}.";

/**
 * The 14 templates of ViLD (Gu et al., "Open-vocabulary Object Detection via Vision and Language
 * Knowledge Distillation", 2022), as FC-CLIP and those after it use them for segmentation.
 */
export const vildTemplates: readonly string[] = [
  photoTemplate,
  "This is a photo of a {}",
  "There is a {} in the scene",
  "There is the {} in the scene",
  "a photo of a {} in the scene",
  "a photo of a small {}.",
  "a photo of a medium {}.",
  "a photo of a large {}.",
  "This is a photo of a small {}.",
  "This is a photo of a medium {}.",
  "This is a photo of a large {}.",
  "There is a small {} in the scene.",
  "There is a medium {} in the scene.",
  "There is a large {} in the scene.",
];
