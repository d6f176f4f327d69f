/**
 * Semantic segmentation from masks.
 *
 * @module
 */
import { gpuClassProbabilities } from "../../kernels/class_logits/gpu.ts";
import {
  PixelClassification,
  type PixelLabels,
} from "../../kernels/classification/classification.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import { ModelError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import type { ClassLogitsSlot } from "../../lib/stages/slots.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
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
    const kernel = new PixelClassification(device, {
      threshold,
      checkFinite: "on read",
      // The numbers come from a model, not from the user.
      nonFinite: (message) => new ModelError(message),
    });
    return {
      async run({ image, vocabulary, maskLogits, classLogits }, { signal, progress }) {
        const numMasks = maskLogits.shape[0]!;
        const { active, names } = vocabulary;
        const { height, width } = image;
        if (numMasks === 0) return { segmentation: nothing(height, width) };
        const probabilities = await probabilitiesOf(device, classLogits, numMasks, active.length);
        let found: PixelLabels;
        try {
          const input = { maskLogits, probabilities, height, width };
          found = await kernel.run(input, { signal, progress });
        } finally {
          probabilities.dispose();
        }
        const { labels, scores } = found;
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

/** Class probabilities, void left out, where the logits are. */
async function probabilitiesOf(
  { gpu }: Device,
  { logits, hasVoid }: ClassLogitsSlot,
  numMasks: number,
  numClasses: number,
): Promise<Tensor<"float32">> {
  if (logits instanceof GpuTensor && logits.gpu === gpu) {
    return await gpuClassProbabilities(logits as GpuTensor<"float32">, numClasses);
  }
  const probabilities = float32([numMasks, numClasses]);
  const classLogits = await logits.read();
  classProbabilities({ classLogits, numMasks, numClasses, hasVoid }, probabilities.data);
  return probabilities;
}

/** What no masks say about an image. */
function nothing(height: number, width: number) {
  return {
    labels: new HostTensor("int32", [height, width], new Int32Array(height * width).fill(-1)),
    scores: float32([height, width]),
  };
}
