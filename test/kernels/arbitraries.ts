/**
 * Generated inputs of the kernels, by the names that these tests use, and two small cases.
 *
 * @module
 */
export {
  drawGfaInput as gfaInput,
  drawMaskPoolingInput as maskPoolingInput,
  type GfaCase,
  gfaCases,
  type MaskPoolingCase,
  maskPoolingCases,
} from "../../kernels/testing.ts";

/** A small case of GFA. */
export const gfaCase = {
  clips: 5,
  queries: 4,
  channels: 8,
  kind: "normal",
  seed: 3,
  omega: 0.5,
  lambda: 5,
} as const;
/** A small case of mask pooling. */
export const poolingCase = {
  mode: "soft",
  channels: 8,
  height: 6,
  width: 7,
  masks: 5,
  maskHeight: 12,
  maskWidth: 14,
  kind: "normal",
  seed: 4,
} as const;
