/**
 * Mask pooling, Gradient-Free Aggregation and per-pixel classification, in WGSL and as ONNX subgraphs.
 *
 * @module
 */
export {
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  PixelClassification,
  PixelLabels,
} from "./classification/classification.ts";
export {
  classificationGraph,
  type ClassificationGraphOptions,
} from "./classification/cpu_graph.ts";
export {
  type ClassificationReference,
  classificationReference,
} from "./classification/reference.ts";
export { GpuTensor, liveBuffers } from "./dispatch/gpu_tensor.ts";
export type { WalkNorms } from "./gfa/contract.ts";
export { gfaGraph } from "./gfa/cpu_graph.ts";
export {
  FusedEmbeddings,
  Gfa,
  gfa,
  type GfaAffinity,
  type GfaCotangent,
  GfaGradients,
  type GfaInput,
  type GfaMethod,
  type GfaOptions,
} from "./gfa/gfa.ts";
export {
  gfaGradients,
  gfaIteration,
  type GfaPair,
  type GfaReference,
  gfaReference,
  gfaSeries,
} from "./gfa/reference.ts";
export { maskPoolingGraph } from "./mask_pooling/cpu_graph.ts";
export {
  MaskPooling,
  maskPooling,
  type MaskPoolingCotangent,
  MaskPoolingGradients,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  PooledMasks,
} from "./mask_pooling/mask_pooling.ts";
export {
  maskPoolingGradients,
  type MaskPoolingReference,
  maskPoolingReference,
  type MaskPoolingReferenceGradients,
} from "./mask_pooling/reference.ts";
