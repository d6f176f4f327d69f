/**
 * Parts of a graph with a gradient of their own.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import type { GraphNode, Value } from "./graph.ts";
import { stopGradient } from "./ops.ts";

/**
 * The vector-Jacobian product of a part of a graph, as values of the same graph.
 *
 * @param cotangents The loss's gradient by each result; null where the loss doesn't depend on it.
 * @param wants Whether the gradient of input `i` is wanted.
 * @returns The gradient of each input, null where there is none or it isn't wanted.
 */
export type GradientRule = (
  cotangents: readonly (Value | null)[],
  wants: (i: number) => boolean,
) => (Value | null)[];

/** A part of a graph with a gradient of its own. */
export interface CustomGradient {
  /** What it takes. */
  readonly inputs: readonly Value[];
  /** What it gives. */
  readonly outputs: readonly Value[];
  /** Its gradient. */
  readonly rule: GradientRule;
}

const parts = new WeakMap<GraphNode, CustomGradient>();

/**
 * Gives a part of a graph a gradient of its own, in place of the chain rule over its operators:
 * where that is cheaper or exact (an implicit function, an iteration to its limit), or where none
 * shall pass.
 *
 * @param inputs What the part takes. Gradients pass to nothing else.
 * @param outputs What it computes from them.
 * @param rule Its vector-Jacobian product.
 * @returns The outputs, to be used in place of those given.
 *
 * @example
 * ```ts
 * import { customGradient, Graph, ops } from "@ovstage/ovstage/graph";
 * const graph = new Graph("straight_through");
 * const x = graph.input("x", [3]);
 * // A step whose gradient is that of the identity.
 * const [step] = customGradient([x], [ops.sign(x)], ([g]) => [g!]);
 * graph.output("step", step!);
 * ```
 */
export function customGradient(
  inputs: readonly Value[],
  outputs: readonly Value[],
  rule: GradientRule,
): Value[] {
  const results = outputs.map(stopGradient);
  const part = { inputs, outputs: results, rule };
  for (const { node } of results) {
    // What follows from constants alone is a constant itself.
    if (node !== null) parts.set(node, part);
  }
  return results;
}

/** The part that a node ends, if it ends one. */
export function customGradientOf(node: GraphNode): CustomGradient | null {
  return parts.get(node) ?? null;
}

/**
 * Applies a part's rule.
 *
 * @returns The gradient of each input, null where there is none.
 * @throws {ShapeError} If the rule gives too few or too many, or one that doesn't fit.
 */
export function applyRule(
  { inputs, rule }: CustomGradient,
  cotangents: readonly (Value | null)[],
  wants: (i: number) => boolean,
): (Value | null)[] {
  const results = rule(cotangents, wants);
  if (results.length !== inputs.length) {
    throw new ShapeError(
      `customGradient: the rule gives ${results.length} gradients for ${inputs.length} inputs`,
    );
  }
  for (const [i, result] of results.entries()) {
    const { name, shape } = inputs[i]!;
    if (result !== null && formatShape(result.shape) !== formatShape(shape)) {
      throw new ShapeError(
        `customGradient: the gradient of "${name}" is ${formatShape(result.shape)}; must be ${
          formatShape(shape)
        }`,
      );
    }
  }
  return results;
}
