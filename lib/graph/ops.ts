/**
 * The operators: each checks its operands' shapes, works out its result's, and adds one ONNX node
 * (some add a few). Plain numbers stand for scalar constants. Vector-Jacobian rules are in `vjp/`.
 *
 * @module
 */
export { broadcastShapes, type DimOf, dimOf, normalizeAxis, type Operand } from "./ops/core.ts";
export * from "./ops/convolution.ts";
export * from "./ops/elementwise.ts";
export * from "./ops/indexing.ts";
export * from "./ops/normalisation.ts";
export * from "./ops/products.ts";
export * from "./ops/reductions.ts";
export * from "./ops/sampling.ts";
export {
  concat,
  depthToSpace,
  expand,
  pad,
  reshape,
  roll,
  slice,
  spaceToDepth,
  split,
  squeeze,
  tile,
  transpose,
  unsqueeze,
} from "./ops/shape.ts";
