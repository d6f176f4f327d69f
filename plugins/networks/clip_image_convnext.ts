/**
 * CLIP's image tower as a ConvNeXt, as open_clip has it and FC-CLIP uses it (Yu et al., 2023).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import type { ClipImageOutputs } from "./clip_image_transformer.ts";
import { convnext, type ConvnextConfig, convnextEpsilon } from "./convnext.ts";
import { layerNorm, linear, projection } from "./layers.ts";

/** Sizes of the tower; see `clipSizes` for the published ones. */
export interface ClipImageConvnextConfig extends ConvnextConfig {
  /** One linear layer into the joint space, or two with a GELU between them. */
  head: "linear" | "mlp";
  /** D, the size of the joint space. */
  jointSize: number;
}

/** What the tower gives, not normalised. */
export interface ClipImageConvnextOutputs extends ClipImageOutputs {
  /** The stages' feature maps at strides 4, 8, 16 and 32. */
  pyramid: Value[];
}

/**
 * From the last stage's channels to the joint space. What is pooled from the last feature map, the
 * whole image or one mask of it, comes here.
 *
 * @param x …×C.
 * @returns …×D, not normalised.
 */
export function clipConvnextHead(
  scope: ParameterScope,
  x: Value,
  { head, jointSize }: ClipImageConvnextConfig,
): Value {
  const normal = layerNorm(scope.scope("norm"), x, convnextEpsilon);
  const part = scope.scope("projection");
  if (head === "linear") return projection(part, normal, jointSize);
  const hidden = ops.gelu(linear(part.scope("expand"), normal, 2 * jointSize));
  return projection(part.scope("contract"), hidden, jointSize);
}

/**
 * Builds the tower: `embedding` is the head on the mean of the last feature map, `features` the head
 * on each of its places.
 *
 * @param image B×3×H×W, normalised by the mean and deviation that the weights were trained with.
 *
 * @example
 * ```ts
 * import { Graph, ParameterLayout } from "@ovstage/ovstage/graph";
 * import { clipConvnextSizes, clipImageConvnext } from "@ovstage/ovstage/networks";
 * const { image } = clipConvnextSizes.convnext_base_w_320;
 * const graph = new Graph("image");
 * const layout = ParameterLayout.of(graph, (scope) => {
 *   const { features } = clipImageConvnext(scope, graph.input("image", ["B", 3, "H", "W"]), image);
 *   graph.output("features", features); // B×640×(H/32)×(W/32)
 * });
 * console.log(layout.size); // 88221824
 * ```
 */
export function clipImageConvnext(
  scope: ParameterScope,
  image: Value,
  config: ClipImageConvnextConfig,
): ClipImageConvnextOutputs {
  const pyramid = convnext(scope.scope("trunk"), image, config);
  const last = pyramid.at(-1)!;
  const dense = clipConvnextHead(scope, ops.transpose(last, [0, 2, 3, 1]), config);
  return {
    pyramid,
    embedding: clipConvnextHead(scope, ops.reduceMean(last, [2, 3]), config),
    features: ops.transpose(dense, [0, 3, 1, 2]),
  };
}
