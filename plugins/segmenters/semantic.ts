/**
 * Semantic segmentation from masks.
 *
 * @module
 */
import { PixelClassification } from "../../kernels/classification/classification.ts";
import { InputError, ModelError } from "../../lib/errors.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { classProbabilities } from "./semantic_inference.ts";

/** Options of {@linkcode semanticSegmenter}. */
export const semanticSegmenterOptions = {
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
 * best; see {@linkcode PixelClassification}. The score is the winner's sum. On WebGPU the WGSL
 * kernels run and the result stays on the device.
 */
export const semanticSegmenter: StagePlugin<
  ["image", "vocabulary", "maskLogits", "classLogits"],
  ["segmentation"],
  typeof semanticSegmenterOptions
> = {
  role: "segmenter",
  name: "semantic",
  description: "one label per pixel: Mask2Former's semantic inference at the image's own size",
  needs: ["image", "vocabulary", "maskLogits", "classLogits"],
  gives: ["segmentation"],
  options: semanticSegmenterOptions,
  create({ threshold }, { device }) {
    const kernel = new PixelClassification(device, { threshold, checkFinite: true });
    return {
      async run({ image, vocabulary, maskLogits, classLogits }, { signal, progress }) {
        const numMasks = maskLogits.shape[0]!;
        const { active, names } = vocabulary;
        const { height, width } = image;
        if (numMasks === 0) return { segmentation: nothing(height, width) };
        const probabilities = classProbabilities({
          classLogits: await classLogits.logits.read(),
          numMasks,
          numClasses: active.length,
          hasVoid: classLogits.hasVoid,
        }, new Float32Array(numMasks * active.length));
        const { labels, scores } = await kernel.run({
          maskLogits,
          probabilities: float32([numMasks, active.length], probabilities),
          height,
          width,
        }, { signal, progress }).catch((error) => {
          // The numbers come from a model, not from the user.
          throw error instanceof InputError ? new ModelError(error.message) : error;
        });
        // Without early rejection, a class already is the index of its name.
        if (active.length === names.length) return { segmentation: { labels, scores } };
        try {
          const named = (await labels.read()).map((label) => label < 0 ? label : active[label]!);
          return {
            segmentation: { labels: new HostTensor("int32", [height, width], named), scores },
          };
        } catch (error) {
          scores.dispose();
          throw error;
        } finally {
          labels.dispose();
        }
      },
      dispose: () => kernel.dispose(),
    };
  },
};

/** What no masks say about an image. */
function nothing(height: number, width: number) {
  return {
    labels: new HostTensor("int32", [height, width], new Int32Array(height * width).fill(-1)),
    scores: float32([height, width]),
  };
}
