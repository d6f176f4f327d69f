/**
 * The conformance kit: generated inputs, the laws of fusers, and the laws of the kernels.
 *
 * @module
 */
export * from "../lib/testing/mod.ts";
export {
  type ClassificationCase,
  classificationCases,
  type ClassificationImplementation,
  classificationLaws,
  type ClassificationNumbers,
  type ClassificationSettings,
  type ClassificationTensors,
  drawClassificationInput,
  lawsOfClassification,
  probabilityKinds,
} from "./classification/laws.ts";
export {
  drawGfaCotangent,
  drawGfaInput,
  float16Tolerance,
  float32Tolerance,
  type GfaCase,
  gfaCases,
  type GfaImplementation,
  gfaLaws,
  type GfaLawsOptions,
  type GfaNumbers,
  type GfaTensors,
  lawsOfGfa,
} from "./gfa/laws.ts";
export { kernelsOn, type KernelsOnDevice } from "./kernels_on.ts";
export {
  drawMaskPoolingInput,
  lawsOfMaskPooling,
  type MaskPoolingCase,
  maskPoolingCases,
  type MaskPoolingImplementation,
  maskPoolingLaws,
  type MaskPoolingNumbers,
  type MaskPoolingTensors,
} from "./mask_pooling/laws.ts";
