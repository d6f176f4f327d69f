/**
 * Sizes of axes as values: constants where they are known, worked out in the graph where not.
 *
 * @module
 */
import type { DimOf, Graph, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";

/** The size of an axis: a number, or what `ops.dimOf` gives. */
export type Size = number | DimOf;

/** The whole numbers 1 … `size`, as float32. */
export function counting(graph: Graph, size: Size): Value {
  if (typeof size === "number") {
    return graph.constant(Array.from({ length: size }, (_, i) => i + 1));
  }
  return ops.cumSum(ops.expand(graph.constant(1), [size]), 0);
}

/** The size as float32, one element. */
export function sizeValue(graph: Graph, size: Size): Value {
  if (typeof size === "number") return graph.constant([size]);
  return ops.reduceMax(counting(graph, size), [0], true);
}
