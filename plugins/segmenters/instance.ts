/**
 * Instance segmentation from masks.
 *
 * @module
 */
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { instanceInference } from "./instance_inference.ts";
import { readMasks } from "./read_masks.ts";

/** Options of {@linkcode instanceSegmenter}. */
export const instanceSegmenterOptions = {
  topK: {
    type: "integer",
    description: "how many pairs of a mask and a class are looked at, the most probable first",
    default: 100,
    minimum: 1,
  },
} as const satisfies OptionSchema;

/**
 * Finds objects with masks, classes and scores, at the image's own size; see
 * {@linkcode instanceInference}. Which classes are things, the vocabulary says; where it doesn't,
 * all are. Computes on the host: mask logits are read from a GPU once.
 */
export const instanceSegmenter: StagePlugin<
  ["image", "vocabulary", "maskLogits", "classLogits"],
  ["instances"],
  typeof instanceSegmenterOptions
> = {
  role: "segmenter",
  name: "instance",
  description: "objects, best first: Mask2Former's instance inference at the image's own size",
  needs: ["image", "vocabulary", "maskLogits", "classLogits"],
  gives: ["instances"],
  options: instanceSegmenterOptions,
  create({ topK }) {
    return {
      async run(inputs, { signal, progress }) {
        const { height, width } = inputs.image;
        const { active } = inputs.vocabulary;
        const masks = await readMasks(inputs);
        const found = await instanceInference({ ...masks, topK }, { signal, progress });
        const instances = found.map((one) => ({ ...one, label: active[one.label]! }));
        return { instances: { height, width, instances } };
      },
    };
  },
};
