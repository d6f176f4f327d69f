/**
 * Reverse-mode differentiation as a transformation of the graph.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import { applyRule, customGradientOf } from "./custom_gradient.ts";
import type { GraphNode, Value } from "./graph.ts";
import { concat, expand, pad } from "./ops.ts";
import { Recomputation } from "./recompute.ts";
import { vjpRules } from "./vjp.ts";
import { add, full, type Gradient, Padded, sizesOf, zerosLike } from "./vjp/lean.ts";

/**
 * The gradients of a scalar with respect to some values, as values of the same graph. Only nodes
 * between the two are differentiated, so that nothing is computed for inputs that nobody asked for,
 * and what is added to the graph is needed for the result. Constants have no gradient: what follows
 * from them alone is worked out when the graph is built.
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
  const { graph } = loss;
  if (loss.shape.some((dim) => dim !== 1)) {
    throw new ShapeError(
      `gradients: the loss is ${formatShape(loss.shape)}, not a scalar${graph.here()}`,
    );
  }
  return graph.lean(() => backward(loss, targets));
}

function backward(loss: Value, targets: readonly Value[]): Value[] {
  const { graph } = loss;
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

  const parts = new Map<Value, (Value | Padded)[]>();
  const total = (value: Value): Value | null => {
    const list = parts.get(value);
    if (list === undefined) return null;
    const sum = joined(list).reduce(add);
    parts.set(value, [sum]);
    return sum;
  };
  const whole = (value: Value): Value | null => {
    const grad = total(value);
    if (grad === null) return null;
    const wide = full(grad, value);
    parts.set(value, [wide]);
    return wide;
  };
  const pass = (inputs: readonly (Value | null)[], results: readonly Gradient[]) => {
    for (const [j, result] of results.entries()) {
      const input = inputs[j];
      if (result === null || input == null || !dependent.has(input)) continue;
      const list = parts.get(input);
      if (list === undefined) parts.set(input, [result]);
      else list.push(result);
    }
  };
  parts.set(loss, [graph.constant(1, [], loss.dtype)]);

  const recomputation = new Recomputation(nodes);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    const custom = customGradientOf(node);
    if (custom !== null) {
      // The results are made side by side: at the last one, all their uses have been visited.
      if (custom.outputs.findLast((v) => v.node !== null)!.node !== node) continue;
      const cotangents = custom.outputs.map(whole);
      const wants = (j: number) => dependent.has(custom.inputs[j]!);
      if (cotangents.every((grad) => grad === null) || !custom.inputs.some((_, j) => wants(j))) {
        continue;
      }
      graph.at(node.origin, () => pass(custom.inputs, applyRule(custom, cotangents, wants)));
      continue;
    }
    if (!node.inputs.some((v) => v !== null && dependent.has(v))) continue;
    const [result] = node.outputs as [Value];
    if (node.outputs.every((v) => !parts.has(v))) continue;
    graph.at(node.origin, () => {
      if (node.op === "Split") {
        for (const part of splitGradients(node, whole)) pass(node.inputs, [part]);
        return;
      }
      const other = node.outputs.slice(1).find((v) => parts.has(v));
      if (other !== undefined) {
        throw new ShapeError(
          `${node.op}: only its first result can be differentiated${graph.here()}`,
        );
      }
      const rule = vjpRules[node.op];
      if (rule === undefined) {
        throw new ShapeError(`${node.op}: has no vector-Jacobian rule${graph.here()}`);
      }
      const lean = total(result)!;
      const context = {
        node: recomputation.current(node, lean),
        lean,
        get grad() {
          return whole(result)!;
        },
        wants: (j: number) => node.inputs[j] != null && dependent.has(node.inputs[j]!),
      };
      pass(node.inputs, rule(context));
    });
  }
  return targets.map((target) => whole(target) ?? zerosLike(target));
}

/** The gradients that a `Split` hands on: all of them side by side, or each where it belongs. */
function splitGradients(
  node: GraphNode,
  whole: (value: Value) => Value | null,
): (Value | Padded)[] {
  const axis = (node.attributes["axis"] as { int: number }).int;
  const grads = node.outputs.map(whole);
  if (grads.every((grad) => grad !== null)) return [concat(grads, axis)];
  const sizes = node.outputs.map((value) => Number(value.shape[axis]));
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  return grads.flatMap((grad, i) =>
    grad === null ? [] : [new Padded(grad, axis, sum(sizes.slice(0, i)), sum(sizes.slice(i + 1)))]
  );
}

/** Puts gradients of cuts that don't overlap side by side, so that no zeros are added. */
function joined(list: readonly (Value | Padded)[]): Value[] {
  const values: Value[] = [];
  const same = new Map<string, Padded>();
  for (const part of list) {
    if (!(part instanceof Padded)) {
      values.push(part);
      continue;
    }
    const { value, axis, before, after } = part;
    const key = `${axis},${before},${after}`;
    const known = same.get(key);
    same.set(key, known ? new Padded(add(known.value, value), axis, before, after) : part);
  }
  let cuts = [...same.values()].sort((a, b) => a.before - b.before);
  while (cuts.length > 0) {
    const { axis, before, value, after } = cuts[0]!;
    const size = before + Number(value.shape[axis]) + after;
    const row: Value[] = [];
    const rest: Padded[] = [];
    let end = before;
    for (const cut of cuts) {
      if (cut.axis !== axis || cut.before < end) {
        rest.push(cut);
        continue;
      }
      if (cut.before > end) row.push(gap(cut.value, axis, cut.before - end));
      row.push(cut.value);
      end = size - cut.after;
    }
    const inner = concat(row, axis);
    const widths = inner.shape.map(() => 0);
    values.push(
      before === 0 && end === size
        ? inner
        : pad(inner, widths.with(axis, before), widths.with(axis, size - end)),
    );
    cuts = rest;
  }
  return values;
}

/** Zeros between two cuts. */
function gap(like: Value, axis: number, size: number): Value {
  const zero = like.graph.constant(0, [], like.dtype);
  return expand(zero, sizesOf(like).with(axis, size));
}
