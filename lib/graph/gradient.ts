/**
 * Reverse-mode differentiation as a transformation of the graph.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import { applyRule, customGradientOf } from "./custom_gradient.ts";
import type { GraphNode, Value } from "./graph.ts";
import { add, concat, expand } from "./ops.ts";
import { vjpRules } from "./vjp.ts";

/**
 * The gradients of a scalar with respect to some values, as values of the same graph. Only nodes
 * between the two are differentiated, so that nothing is computed for inputs that nobody asked for.
 *
 * @param loss A value with one element.
 * @param targets Values that it may depend on.
 * @returns For each target a gradient of its shape; zeros where the loss doesn't depend on it.
 * @throws {ShapeError} If the loss is no scalar, or an operator on the way has no rule.
 *
 * @example
 * ```ts
 * import { gradients, Graph, ops } from "@ovstage/ovstage/graph";
 * const graph = new Graph("square");
 * const x = graph.input("x", [3]);
 * const [dx] = gradients(ops.reduceSum(ops.mul(x, x)), [x]);
 * graph.output("dx", dx!); // 2x
 * ```
 */
export function gradients(loss: Value, targets: readonly Value[]): Value[] {
  if (loss.shape.some((dim) => dim !== 1)) {
    throw new ShapeError(`gradients: the loss is ${formatShape(loss.shape)}, not a scalar`);
  }
  const graph = loss.graph;
  const nodes = [...graph.nodes];
  const dependent = new Set<Value>(targets);
  for (const node of nodes) {
    const custom = customGradientOf(node);
    if (custom?.inputs.some((v) => dependent.has(v))) dependent.add(node.outputs[0]!);
    // stopGradient: what follows doesn't depend on the targets.
    if (node.op === "Identity") continue;
    if (node.inputs.some((v) => v !== null && dependent.has(v))) {
      for (const output of node.outputs) dependent.add(output);
    }
  }

  const parts = new Map<Value, Value[]>();
  const total = (value: Value): Value | null => {
    const list = parts.get(value);
    if (list === undefined) return null;
    const sum = list.reduce((a, b) => add(a, b));
    parts.set(value, [sum]);
    return sum;
  };
  const pass = (inputs: readonly (Value | null)[], results: readonly (Value | null)[]) => {
    for (const [j, result] of results.entries()) {
      const input = inputs[j];
      if (result === null || input == null || !dependent.has(input)) continue;
      const list = parts.get(input);
      if (list === undefined) parts.set(input, [result]);
      else list.push(result);
    }
  };
  parts.set(loss, [expand(graph.constant(1, [], loss.dtype), loss.shape as number[])]);

  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    const custom = customGradientOf(node);
    if (custom !== null) {
      // The results are made side by side: at the last one, all their uses have been visited.
      if (custom.outputs.findLast((v) => v.node !== null)!.node !== node) continue;
      const cotangents = custom.outputs.map(total);
      const wants = (j: number) => dependent.has(custom.inputs[j]!);
      if (cotangents.every((grad) => grad === null) || !custom.inputs.some((_, j) => wants(j))) {
        continue;
      }
      pass(custom.inputs, applyRule(custom, cotangents, wants));
      continue;
    }
    if (!node.inputs.some((v) => v !== null && dependent.has(v))) continue;
    const grad = resultGradient(node, total);
    if (grad === null) continue;
    const rule = vjpRules[node.op];
    if (rule === undefined) throw new ShapeError(`${node.op}: has no vector-Jacobian rule`);
    const wants = (j: number) => node.inputs[j] != null && dependent.has(node.inputs[j]!);
    pass(node.inputs, rule({ node, grad, wants }));
  }
  return targets.map((target) => total(target) ?? zerosLike(target));
}

/** The gradient of a node's result; for `Split`, of all its results side by side. */
function resultGradient(node: GraphNode, total: (value: Value) => Value | null): Value | null {
  const grads = node.outputs.map(total);
  if (node.op === "Split") {
    if (grads.every((grad) => grad === null)) return null;
    const axis = node.attributes["axis"] as { int: number };
    return concat(grads.map((grad, i) => grad ?? zerosLike(node.outputs[i]!)), axis.int);
  }
  if (grads.slice(1).some((grad) => grad !== null)) {
    throw new ShapeError(`${node.op}: only its first result can be differentiated`);
  }
  return grads[0] ?? null;
}

function zerosLike(value: Value): Value {
  return expand(value.graph.constant(0, [], value.dtype), value.staticShape());
}
