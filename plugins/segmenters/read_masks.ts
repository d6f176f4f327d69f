/**
 * Masks and their classes in host memory.
 *
 * @module
 */
import { readAll } from "../../kernels/dispatch/read_all.ts";
import { isThing, type SlotsOf } from "../../lib/stages/slots.ts";
import type { MaskLogits } from "./mask_logits.ts";
import type { ClassLogits } from "./softmax_row.ts";

/**
 * Reads what panoptic and instance inference need, from a GPU by one read-back.
 *
 * @returns Classes count into the vocabulary's `active`.
 */
export async function readMasks(
  { image, vocabulary, maskLogits, classLogits }: SlotsOf<
    ["image", "vocabulary", "maskLogits", "classLogits"]
  >,
): Promise<MaskLogits & ClassLogits & { isThing: boolean[] }> {
  const [numMasks, maskHeight, maskWidth] = maskLogits.shape as readonly [number, number, number];
  const flags = isThing(vocabulary);
  const [ofPixels, ofClasses] = await readAll([maskLogits, classLogits.logits]);
  return {
    maskLogits: ofPixels,
    classLogits: ofClasses,
    numMasks,
    numClasses: vocabulary.active.length,
    hasVoid: classLogits.hasVoid,
    maskHeight,
    maskWidth,
    height: image.height,
    width: image.width,
    isThing: vocabulary.active.map((index) => flags[index]!),
  };
}
