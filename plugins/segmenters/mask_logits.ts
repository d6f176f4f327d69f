/**
 * Mask logits, and the size that they are brought to.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";

/** Mask logits of N masks, to be resized bilinearly (align_corners = false). */
export interface MaskLogits {
  /** N × h × w mask logits, row-major; finite. */
  readonly maskLogits: ArrayLike<number>;
  /** N. */
  readonly numMasks: number;
  /** h. */
  readonly maskHeight: number;
  /** w. */
  readonly maskWidth: number;
  /** H, rows of the result. */
  readonly height: number;
  /** W, columns of the result. */
  readonly width: number;
}

/**
 * Looks at every mask logit.
 *
 * @throws {ModelError} If one is not finite; names its mask.
 */
export function refuseNonFinite({ maskLogits, numMasks, maskHeight, maskWidth }: MaskLogits): void {
  for (let i = 0; i < numMasks * maskHeight * maskWidth; i++) {
    if (Number.isFinite(maskLogits[i])) continue;
    const mask = Math.floor(i / (maskHeight * maskWidth));
    throw new ModelError(`mask logits of mask ${mask} hold ${maskLogits[i]}; must be finite`);
  }
}
