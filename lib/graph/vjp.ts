/**
 * Vector-Jacobian rules: for each operator, how the gradient of its result becomes gradients of its
 * operands. Rules only add operators of `ops.ts`, so that gradients are graphs like any other.
 *
 * @module
 */
import { convolutionRules } from "./vjp/convolution.ts";
import { elementwiseRules } from "./vjp/elementwise.ts";
import { indexingRules } from "./vjp/indexing.ts";
import type { VjpRule } from "./vjp/lean.ts";
import { normalisationRules } from "./vjp/normalisation.ts";
import { productRules } from "./vjp/products.ts";
import { reductionRules } from "./vjp/reductions.ts";
import { samplingRules } from "./vjp/sampling.ts";
import { shapeRules } from "./vjp/shape.ts";

/** The rule of every differentiable operator, by its ONNX name. */
export const vjpRules: Readonly<Record<string, VjpRule>> = {
  ...elementwiseRules,
  ...reductionRules,
  ...productRules,
  ...convolutionRules,
  ...normalisationRules,
  ...shapeRules,
  ...indexingRules,
  ...samplingRules,
};
