/**
 * Panoptic segmentation from masks.
 *
 * @module
 */
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { HostTensor } from "../../lib/tensor.ts";
import { panopticInference } from "./panoptic_inference.ts";
import { readMasks } from "./read_masks.ts";

/** Options of {@linkcode panopticSegmenter}. */
export const panopticSegmenterOptions = {
  objectThreshold: {
    type: "number",
    description: "masks count whose best class is more probable than this",
    default: 0.8,
    minimum: 0,
    maximum: 1,
  },
  overlapThreshold: {
    type: "number",
    description: "masks count that keep at least this share of their pixels from other masks",
    default: 0.8,
    minimum: 0,
    maximum: 1,
  },
} as const satisfies OptionSchema;

/**
 * Divides the image, at its own size, into segments that don't overlap: one for each thing, one for
 * all of each stuff; see {@linkcode panopticInference}. Which classes are things, the vocabulary
 * says; where it doesn't, all are. Computes on the host: mask logits are read from a GPU once.
 */
export const panopticSegmenter: StagePlugin<
  ["image", "vocabulary", "maskLogits", "classLogits"],
  ["panoptic"],
  typeof panopticSegmenterOptions
> = {
  role: "segmenter",
  name: "panoptic",
  description: "segments that don't overlap: Mask2Former's panoptic inference at the image's size",
  needs: ["image", "vocabulary", "maskLogits", "classLogits"],
  gives: ["panoptic"],
  options: panopticSegmenterOptions,
  create(thresholds) {
    return {
      async run(inputs, { signal, progress }) {
        const { height, width } = inputs.image;
        const { active } = inputs.vocabulary;
        const masks = await readMasks(inputs);
        const { ids, segments } = await panopticInference({ ...masks, ...thresholds }, {
          signal,
          progress,
        });
        return {
          panoptic: {
            ids: new HostTensor("int32", [height, width], ids),
            segments: segments.map((segment) => ({ ...segment, label: active[segment.label]! })),
          },
        };
      },
    };
  },
};
