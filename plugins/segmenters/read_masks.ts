/**
 * Masks and their classes in host memory.
 *
 * @module
 */
import { isThing, type SlotsOf } from "../../lib/stages/slots.ts";
import type { MaskLogits } from "./mask_logits.ts";
import type { ClassLogits } from "./softmax_row.ts";

/**
 * Reads what panoptic and instance inference need, each tensor once.
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
  return {
    maskLogits: await maskLogits.read(),
    classLogits: await classLogits.logits.read(),
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
