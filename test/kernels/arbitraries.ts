/**
 * Generated inputs of the kernels. A case is a few numbers, so that it shrinks and prints well;
 * the tensors are drawn from its seed.
 *
 * @module
 */
import fc from "fast-check";
import type { GfaOptions } from "../../kernels/gfa/gfa.ts";
import type { MaskPoolingOptions } from "../../kernels/mask_pooling/mask_pooling.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";

/** One run of GFA. */
export interface GfaCase extends GfaOptions {
  clips: number;
  queries: number;
  channels: number;
  kind: "normal" | "identical" | "zero rows" | "close" | "huge" | "tiny" | "mixed scales";
  seed: number;
}

/** One run of mask pooling. */
export interface MaskPoolingCase extends MaskPoolingOptions {
  channels: number;
  height: number;
  width: number;
  masks: number;
  maskHeight: number;
  maskWidth: number;
  kind: "normal" | "integers" | "some empty" | "saturated" | "huge" | "tiny";
  seed: number;
}

const seed = fc.integer({ min: 0, max: 2 ** 31 - 1 });

/** Mostly small, sometimes just around the kernels' tiles of 32 and 64. */
const size = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 1, max: 9 }) },
  { weight: 1, arbitrary: fc.integer({ min: 31, max: 34 }) },
  { weight: 1, arbitrary: fc.integer({ min: 63, max: 66 }) },
);

/** Cases of GFA: N = 1, D = 1, identical and zero rows, huge and tiny magnitudes among them. */
export const gfaCases: fc.Arbitrary<GfaCase> = fc.record({
  clips: size,
  queries: size,
  channels: size,
  kind: fc.constantFrom(
    "normal",
    "identical",
    "zero rows",
    "close",
    "huge",
    "tiny",
    "mixed scales",
  ),
  omega: fc.oneof(
    fc.double({ min: 0.01, max: 0.95, noNaN: true }),
    fc.constantFrom(1e-6, 0.5, 0.99, 0.9999),
  ),
  lambda: fc.double({ min: -2, max: 1, noNaN: true }).map((exponent) => 10 ** exponent),
  seed,
});

const edge = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 9 }) },
  { weight: 1, arbitrary: fc.integer({ min: 16, max: 20 }) },
);

/** Cases of mask pooling: one pixel, D = 1, empty masks and other resolutions among them. */
export const maskPoolingCases: fc.Arbitrary<MaskPoolingCase> = fc.record({
  mode: fc.constantFrom("hard", "soft"),
  channels: size,
  height: edge,
  width: edge,
  masks: size,
  maskHeight: edge,
  maskWidth: edge,
  kind: fc.constantFrom("normal", "integers", "some empty", "saturated", "huge", "tiny"),
  sameSize: fc.boolean(),
  seed,
}).map(({ sameSize, ...rest }) =>
  sameSize ? { ...rest, maskHeight: rest.height, maskWidth: rest.width } : rest
);

/** Draws the tensors of a case. */
export function gfaInput(
  c: GfaCase,
): { clip: HostTensor<"float32">; query: HostTensor<"float32"> } {
  const rng = new Rng(c.seed);
  const shared = Array.from({ length: c.channels }, () => rng.normal());
  const rows = (count: number) => {
    const data = new Float32Array(count * c.channels);
    for (let i = 0; i < count; i++) {
      const scale = c.kind === "huge"
        ? 1e30
        : c.kind === "tiny"
        ? 1e-30
        : c.kind === "mixed scales"
        ? 10 ** rng.uniform(-30, 30)
        : 1;
      const zero = c.kind === "zero rows" && rng.integer(3) === 0;
      for (let d = 0; d < c.channels; d++) {
        const own = rng.normal();
        const value = c.kind === "identical"
          ? shared[d]!
          : c.kind === "close"
          ? shared[d]! + 1e-3 * own
          : own;
        data[i * c.channels + d] = zero ? 0 : scale * value;
      }
    }
    return float32([count, c.channels], data);
  };
  return { clip: rows(c.clips), query: rows(c.queries) };
}

/** Draws the tensors of a case. */
export function maskPoolingInput(
  c: MaskPoolingCase,
): { features: HostTensor<"float32">; maskLogits: HostTensor<"float32"> } {
  const rng = new Rng(c.seed);
  const scale = c.kind === "huge" ? 1e30 : c.kind === "tiny" ? 1e-30 : 1;
  const features = Float32Array.from(
    { length: c.channels * c.height * c.width },
    () => scale * rng.normal(),
  );
  const plane = c.maskHeight * c.maskWidth;
  const maskLogits = new Float32Array(c.masks * plane);
  for (let n = 0; n < c.masks; n++) {
    const empty = c.kind === "some empty" && rng.integer(2) === 0;
    for (let p = 0; p < plane; p++) {
      const value = c.kind === "integers" ? rng.integer(5) - 2 : rng.normal();
      maskLogits[n * plane + p] = empty
        ? -Math.abs(value) - 1
        : c.kind === "saturated"
        ? 1e4 * value
        : c.kind === "huge"
        ? 1e20 * value
        : value;
    }
  }
  return {
    features: float32([c.channels, c.height, c.width], features),
    maskLogits: float32([c.masks, c.maskHeight, c.maskWidth], maskLogits),
  };
}
