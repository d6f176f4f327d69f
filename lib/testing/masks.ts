/**
 * Generated masks.
 *
 * @module
 */
import fc from "fast-check";
import { Rng } from "../rng.ts";
import { float32, type HostTensor } from "../tensor.ts";
import { edges, seeds, sizes } from "./sizes.ts";

/**
 * What is special about masks: `integers` hit 0 exactly, of `some empty` half cover nothing, all of
 * `empty` do, all of `full` cover everything, `saturated` logits leave sigmoid no room, `identical`
 * masks are one mask.
 */
export const maskKinds = [
  "normal",
  "integers",
  "some empty",
  "empty",
  "full",
  "saturated",
  "identical",
  "huge",
  "tiny",
] as const;

/** One of {@linkcode maskKinds}. */
export type MaskKind = typeof maskKinds[number];

/** The masks of one image, in a few numbers. */
export interface MaskCase {
  /** N */
  readonly masks: number;
  /** h' */
  readonly height: number;
  /** w' */
  readonly width: number;
  /** What is special about them. */
  readonly kind: MaskKind;
  /** Of the logits. */
  readonly seed: number;
}

/** Cases of masks: N = 1, one pixel, empty, saturated and identical ones among them. */
export const maskCases: fc.Arbitrary<MaskCase> = fc.record({
  masks: sizes(),
  height: edges(),
  width: edges(),
  kind: fc.constantFrom(...maskKinds),
  seed: seeds,
});

/**
 * Draws mask logits.
 *
 * @param c The case.
 * @param rng For several tensors of one case.
 * @returns float32 N×h'×w'.
 */
export function drawMasks(c: MaskCase, rng: Rng = new Rng(c.seed)): HostTensor<"float32"> {
  const { masks, height, width, kind } = c;
  const plane = height * width;
  const data = new Float32Array(masks * plane);
  for (let n = 0; n < masks; n++) {
    const isEmpty = kind === "empty" || kind === "some empty" && rng.integer(2) === 0;
    for (let p = 0; p < plane; p++) {
      const value = kind === "integers" ? rng.integer(5) - 2 : rng.normal();
      data[n * plane + p] = isEmpty
        ? -Math.abs(value) - 1
        : kind === "full"
        ? Math.abs(value) + 1
        : kind === "identical" && n > 0
        ? data[p]!
        : kind === "saturated"
        ? 1e4 * value
        : kind === "huge"
        ? 1e20 * value
        : kind === "tiny"
        ? 1e-20 * value
        : value;
    }
  }
  return float32([masks, height, width], data);
}
