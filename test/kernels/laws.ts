/**
 * The laws of all kernels, and what they have in common.
 *
 * @module
 */
import {
  type ClassificationImplementation,
  type GfaImplementation,
  type LawOf,
  lawsOfClassification,
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

/** The laws of mask pooling and GFA. */
export const laws: readonly Law[] = [...lawsOfMaskPooling, ...lawsOfGfa];

/** The laws of all kernels. */
export const allLaws: readonly LawOf<Implementation & ClassificationImplementation>[] = [
  ...laws,
  ...lawsOfClassification,
];
