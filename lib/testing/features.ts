/**
 * Generated dense features.
 *
 * @module
 */
import fc from "fast-check";
import { Rng } from "../rng.ts";
import { float32, type HostTensor } from "../tensor.ts";
import { edges, seeds, sizes } from "./sizes.ts";

/** What is special about a map: `constant` is one vector at all pixels, of `zero pixels` a third. */
export const featureKinds = ["normal", "constant", "zero pixels", "huge", "tiny"] as const;

/** One of {@linkcode featureKinds}. */
export type FeatureKind = typeof featureKinds[number];

/** One map of dense features, in a few numbers. */
export interface FeatureCase {
  /** D */
  readonly channels: number;
  /** h */
  readonly height: number;
  /** w */
  readonly width: number;
  /** What is special about it. */
  readonly kind: FeatureKind;
  /** Of the entries. */
  readonly seed: number;
}

/** Cases of dense features: D = 1, one pixel, constant maps, huge and tiny ones among them. */
export const featureCases: fc.Arbitrary<FeatureCase> = fc.record({
  channels: sizes(),
  height: edges(),
  width: edges(),
  kind: fc.constantFrom(...featureKinds),
  seed: seeds,
});

/**
 * Draws dense features.
 *
 * @param c The case.
 * @param rng For several tensors of one case.
 * @param extreme Decades to `huge` and `tiny`.
 * @returns float32 D×h×w.
 */
export function drawFeatures(
  c: FeatureCase,
  rng: Rng = new Rng(c.seed),
  extreme = 30,
): HostTensor<"float32"> {
  const { channels, height, width, kind } = c;
  const pixels = height * width;
  const scale = kind === "huge" ? 10 ** extreme : kind === "tiny" ? 10 ** -extreme : 1;
  const data = Float32Array.from({ length: channels * pixels }, () => scale * rng.normal());
  for (let p = 0; p < pixels; p++) {
    const isZero = kind === "zero pixels" && rng.integer(3) === 0;
    for (let d = 0; d < channels; d++) {
      if (isZero) data[d * pixels + p] = 0;
      else if (kind === "constant") data[d * pixels + p] = data[d * pixels]!;
    }
  }
  return float32([channels, height, width], data);
}
