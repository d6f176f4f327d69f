/**
 * The graph builder: networks as ONNX graphs, with reverse-mode differentiation.
 *
 * @module
 */
export { callGraph, type CallOptions } from "./call.ts";
export { customGradient, type GradientRule } from "./custom_gradient.ts";
export * from "./graph.ts";
export { gradients } from "./gradient.ts";
export { type EncodeOptions, type ExternalData, opset } from "./onnx.ts";
export type { Origin } from "./origin.ts";
export * from "./parameters.ts";
export { recompute } from "./recompute.ts";
export * as ops from "./ops.ts";
export type { DimOf } from "./ops.ts";
