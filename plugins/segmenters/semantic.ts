/**
 * Semantic segmentation from masks.
 *
 * @module
 */
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { semanticInference } from "./semantic_inference.ts";

const options = {
  threshold: {
    type: "number",
    description: "pixels whose winning score is below it become void",
    default: 0,
    minimum: 0,
    maximum: 1,
  },
} as const satisfies OptionSchema;

/**
 * Labels every pixel of the image, at its own size, with the category whose masks together cover it
 * best; see {@linkcode semanticInference}. The score is the winner's sum.
 */
export const semanticSegmenter: StagePlugin<
  ["image", "vocabulary", "maskLogits", "classLogits"],
  ["segmentation"],
  typeof options
> = {
  role: "segmenter",
  name: "semantic",
  description: "one label per pixel: Mask2Former's semantic inference at the image's own size",
  needs: ["image", "vocabulary", "maskLogits", "classLogits"],
  gives: ["segmentation"],
  options,
  create({ threshold }) {
    return {
      async run({ image, vocabulary, maskLogits, classLogits }, { signal, progress }) {
        const [numMasks, maskHeight, maskWidth] = maskLogits.shape as [number, number, number];
        const { width, height } = image;
        const { labels, scores } = await semanticInference({
          maskLogits: await maskLogits.read(),
          classLogits: await classLogits.logits.read(),
          numMasks,
          numClasses: vocabulary.active.length,
          hasVoid: classLogits.hasVoid,
          maskHeight,
          maskWidth,
          width,
          height,
          threshold,
        }, { signal, progress });
        const { active, names } = vocabulary;
        // Without early rejection, a class already is the index of its name.
        if (active.length < names.length) {
          for (let i = 0; i < labels.length; i++) {
            if (labels[i]! >= 0) labels[i] = active[labels[i]!]!;
          }
        }
        return {
          segmentation: {
            labels: new HostTensor("int32", [height, width], labels),
            scores: float32([height, width], scores),
          },
        };
      },
    };
  },
};
