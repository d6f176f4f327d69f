/**
 * Graphs around single operators, for the tests of values and gradients.
 *
 * @module
 */
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { Rng } from "../../../lib/rng.ts";
import { sizeOf } from "../../../lib/tensor.ts";
import { type Array64, arrayOf } from "./interpreter.ts";
import { dtypeOf, fill, type OperatorCase } from "./operator_cases.ts";

/** A case as a graph of its own. */
export interface Built {
  /** The graph. */
  graph: Graph;
  /** Its inputs `x0`, `x1`, … */
  inputs: Value[];
  /** What the operator gives. */
  results: Value[];
  /** A sum that weighs every element of every result. */
  loss: Value;
  /** Which inputs have gradients. */
  wants: boolean[];
  /** The inputs' elements. */
  feeds: Record<string, Array64>;
}

/** The case in a graph of its own, with a loss that weighs every element of every result. */
export function graphOf(c: OperatorCase, seed: number, float: "float32" | "float64"): Built {
  const graph = new Graph("case");
  const inputs = c.operands.map(({ shape, domain }, i) =>
    graph.input(`x${i}`, shape, dtypeOf(domain, float))
  );
  const elements = fill(c.operands, seed);
  const feeds = Object.fromEntries(c.operands.map(({ shape }, i) => {
    // What a float32 engine sees is what the interpreter gets.
    const data = float === "float32" ? Float32Array.from(elements[i]!) : elements[i]!;
    return [`x${i}`, arrayOf(data, shape)];
  }));
  const applied = c.apply(inputs, graph);
  const results = Array.isArray(applied) ? applied : [applied];
  const rng = new Rng(seed + 1);
  const terms = results.map((y) => {
    const shape = y.staticShape();
    const weights = Array.from({ length: sizeOf(shape) }, () => rng.normal());
    const wide = y.dtype === float ? y : ops.cast(y, float);
    return ops.reduceSum(ops.mul(wide, graph.constant(weights, shape, float)));
  });
  const loss = terms.reduce((a, b) => ops.add(a, b));
  const wants = inputs.map((x, i) => x.dtype === float && (c.wants?.[i] ?? true));
  return { graph, inputs, results, loss, wants, feeds };
}
