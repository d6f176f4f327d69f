/**
 * Vector-Jacobian rules of gathering and scattering.
 *
 * @module
 */
import { sizeOf } from "../../tensor.ts";
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import {
  attribute,
  attributeString,
  knownSize,
  transpose,
  type VjpRule,
  zerosLike,
} from "./lean.ts";

/** Moves axis `from` to the place `to`. */
function moved(rank: number, from: number, count: number, to: number): number[] {
  const axes = [...Array(rank).keys()];
  const taken = axes.splice(from, count);
  axes.splice(to, 0, ...taken);
  return axes;
}

const gather: VjpRule = ({ node, grad }) => {
  const [table, indices] = node.inputs as [Value, Value];
  const axis = attribute(node, "axis");
  const zeros = zerosLike(table);
  if (axis === 0) return [ops.scatterAdd(zeros, indices, grad), null];
  // Rows first.
  const lead = (x: Value, count: number) => transpose(x, moved(x.rank, axis, count, 0));
  const sum = ops.scatterAdd(lead(zeros, 1), indices, lead(grad, indices.rank));
  return [transpose(sum, moved(table.rank, 0, 1, axis)), null];
};

/** Where two-axis and deeper batches begin: an index for each of the leading axes too. */
const gatherND: VjpRule = ({ node, grad }) => {
  const [x, indices] = node.inputs as [Value, Value];
  const batchDims = attribute(node, "batch_dims");
  if (batchDims === 0) return [ops.scatterND(zerosLike(x), indices, grad, "add"), null];
  const lead = indices.shape.slice(0, -1).map((_, axis) => knownSize(node, indices, axis));
  const coordinates: number[] = [];
  for (let i = 0; i < sizeOf(lead); i++) {
    const index: number[] = [];
    for (let axis = lead.length - 1, rest = i; axis >= 0; axis--) {
      index[axis] = rest % lead[axis]!;
      rest = Math.floor(rest / lead[axis]!);
    }
    coordinates.push(...index.slice(0, batchDims));
  }
  const batch = x.graph.constant(coordinates, [...lead, batchDims], "int64");
  return [ops.scatterND(zerosLike(x), ops.concat([batch, indices], -1), grad, "add"), null];
};

/** The rules by ONNX's names. */
export const indexingRules: Readonly<Record<string, VjpRule>> = {
  Gather: gather,
  GatherElements: ({ node, grad }) => {
    const [x, indices] = node.inputs as [Value, Value];
    const axis = attribute(node, "axis");
    return [ops.scatterElements(zerosLike(x), indices, grad, axis, "add"), null];
  },
  GatherND: gatherND,
  ScatterElements: ({ node, grad, wants }) => {
    const [, indices, updates] = node.inputs as [Value, Value, Value];
    const axis = attribute(node, "axis");
    const adds = attributeString(node, "reduction") === "add";
    const byData = () => adds ? grad : ops.scatterElements(grad, indices, zerosLike(updates), axis);
    return [
      wants(0) ? byData() : null,
      null,
      wants(2) ? ops.gatherElements(grad, indices, axis) : null,
    ];
  },
  ScatterND: ({ node, grad, wants }) => {
    const [, indices, updates] = node.inputs as [Value, Value, Value];
    const adds = attributeString(node, "reduction") === "add";
    const byData = () => adds ? grad : ops.scatterND(grad, indices, zerosLike(updates));
    return [wants(0) ? byData() : null, null, wants(2) ? ops.gatherND(grad, indices) : null];
  },
};
