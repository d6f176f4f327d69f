/**
 * Recomputation: memory for time.
 *
 * @module
 */
import type { GraphNode, Value } from "./graph.ts";
import * as ops from "./ops.ts";

/**
 * Marks a part of a graph whose intermediate values are not kept for the backward pass: gradients
 * compute them again from what the part was given (Chen et al., 2016). The gradients are the same,
 * bit for bit. A block inside of another is computed again with the whole of it.
 *
 * @param inputs What the part is given; what else it uses, weights say, it takes as it is.
 * @param body Builds the part.
 * @returns What `body` returns.
 *
 * @example
 * ```ts
 * import { Graph, ops, recompute } from "@ovstage/ovstage/graph";
 * const graph = new Graph("blocks");
 * let x = graph.input("x", ["B", 8]);
 * for (let i = 0; i < 4; i++) x = recompute([x], ([y]) => ops.add(y!, ops.gelu(y!)));
 * graph.output("y", x);
 * ```
 */
export function recompute<T>(inputs: readonly Value[], body: (inputs: readonly Value[]) => T): T {
  const [first] = inputs;
  if (first === undefined) return body(inputs);
  return first.graph.inBlock({ inputs }, () => body(inputs));
}

/**
 * Computes blocks again while a backward pass is built.
 */
export class Recomputation {
  readonly #nodes: readonly GraphNode[];
  readonly #copies = new Map<GraphNode, GraphNode>();
  readonly #done = new Set<unknown>();

  /** @param nodes The forward pass. */
  constructor(nodes: readonly GraphNode[]) {
    this.#nodes = nodes;
  }

  /**
   * The node that a rule shall look at: for a node of a block its copy.
   *
   * @param grad The gradient that arrives at the node. The copies of its block wait for the first
   * one, so that a runtime neither merges them with the originals nor runs them ahead of time.
   */
  current(node: GraphNode, grad: Value): GraphNode {
    if (node.block !== null && !this.#done.has(node.block)) {
      this.#done.add(node.block);
      this.#copy(node.block, grad);
    }
    return this.#copies.get(node) ?? node;
  }

  #copy(block: NonNullable<GraphNode["block"]>, grad: Value): void {
    const values = new Map<Value, Value>();
    const wait = waiting(grad);
    // Inputs and constants take no memory that could be given back, but copies must differ.
    for (const input of block.inputs) values.set(input, wait(input));
    for (const node of this.#nodes) {
      if (node.block !== block) continue;
      // What doesn't depend on the inputs is the same again.
      if (!node.inputs.some((value) => value !== null && values.has(value))) continue;
      const { graph } = node.outputs[0]!;
      const inputs = node.inputs.map((value) => value && (values.get(value) ?? value));
      const outputs = graph.at(
        node.origin,
        () => graph.add(node.op, inputs, node.outputs, node.attributes),
      );
      node.outputs.forEach((value, i) => values.set(value, outputs[i]!));
      this.#copies.set(node, outputs[0]!.node!);
    }
  }
}

/** Reshapes values to their own shape, in a way that takes until `grad` is there. */
function waiting(grad: Value): (value: Value) => Value {
  const { graph } = grad;
  const sizes = (value: Value) => {
    if (value.shape.every((dim) => typeof dim === "number")) {
      return graph.constant(value.staticShape(), [value.rank], "int64");
    }
    return graph.add("Shape", [value], [{ dtype: "int64", shape: [value.rank] }], {
      start: { int: 0 },
      end: { int: value.rank },
    })[0]!;
  };
  let zero: Value | null = null;
  return (value) => {
    if (zero === null) {
      // One element of the gradient, times 0 once it is an integer: no NaN comes of it.
      const first = ops.slice(ops.reshape(grad, [-1]), 0, 0, 1);
      zero = ops.mul(ops.cast(first, "int64"), 0);
    }
    const shape = ops.add(sizes(value), zero);
    return graph.add("Reshape", [value, shape], [value], { allowzero: { int: 0 } })[0]!;
  };
}
