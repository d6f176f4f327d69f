/**
 * The laws of all kernels, and what they have in common.
 *
 * @module
 */
import {
  type GfaImplementation,
  type LawOf,
  lawsOfGfa,
  lawsOfMaskPooling,
  type MaskPoolingImplementation,
} from "../../kernels/testing.ts";

export { float32Tolerance, type LawResult } from "../../kernels/testing.ts";

/** Something that claims to compute the kernels. */
export interface Implementation extends GfaImplementation, MaskPoolingImplementation {
  /** What computes them anew, where results are remembered from one law to the next. */
  readonly fresh?: Implementation;
}

/** A law of the kernels. */
export type Law = LawOf<Implementation>;

/** All laws. */
export const laws: readonly Law[] = [...lawsOfMaskPooling, ...lawsOfGfa];
