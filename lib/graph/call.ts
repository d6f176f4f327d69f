/**
 * Graphs inside of graphs.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { formatShape, type HostTensor } from "../tensor.ts";
import { customGradientOf } from "./custom_gradient.ts";
import { substitute } from "./dims.ts";
import { isConstant } from "./fold.ts";
import type { Dim, Graph, RecomputeBlock, Value } from "./graph.ts";
import { liveNodes } from "./onnx.ts";

/** Options of {@linkcode callGraph}. */
export interface CallOptions {
  /**
   * Put before the parameters' names, with a dot between: `decoder` makes `weight`
   * `decoder.weight`. Calls with the same prefix share their parameters.
   */
  prefix?: string;
  /** Gives the parameters in place of the callee's own ones: those that are trained, say. */
  parameter?: (name: string, tensor: HostTensor) => Value;
}

/**
 * Puts a graph that is already built into another one: its operators are repeated there on other
 * operands, its names of sizes become the sizes of these.
 *
 * @param callee The graph that is called; it stays as it is.
 * @param inputs A value of the calling graph for each of its inputs, by name.
 * @returns Its outputs by name, as values of the calling graph.
 * @throws {ShapeError} If an input is missing or unknown, doesn't fit, or a part of the callee has a
 * gradient of its own, which belongs to its values.
 *
 * @example
 * ```ts
 * import { callGraph, Graph, ops } from "@ovstage/ovstage/graph";
 * import { float32 } from "@ovstage/ovstage";
 * const layer = new Graph("layer");
 * const weight = layer.parameter("weight", float32([8, 8]));
 * layer.output("y", ops.gelu(ops.matMul(layer.input("x", ["N", 8]), weight)));
 * const net = new Graph("net");
 * const first = callGraph(layer, { x: net.input("x", ["B", 8]) }, { prefix: "layers.0" });
 * const second = callGraph(layer, { x: first["y"]! }, { prefix: "layers.1" });
 * net.output("y", second["y"]!);
 * console.log([...net.parameters.keys()]); // ["layers.0.weight", "layers.1.weight"]
 * ```
 */
export function callGraph(
  callee: Graph,
  inputs: Readonly<Record<string, Value>>,
  { prefix = "", parameter }: CallOptions = {},
): Record<string, Value> {
  const [first] = Object.values(inputs);
  if (first === undefined) throw new ShapeError(`graph "${callee.name}": called without inputs`);
  const { graph } = first;
  const fail = (reason: string): never => {
    throw new ShapeError(`graph "${callee.name}": ${reason}${graph.here()}`);
  };
  const unknown = Object.keys(inputs).find((name) => callee.inputs.every((v) => v.name !== name));
  if (unknown !== undefined) fail(`has no input "${unknown}"`);

  const values = new Map<Value, Value>();
  const sizes = new Map<string, Dim>();
  for (const declared of callee.inputs) {
    const given = inputs[declared.name] ?? fail(`its input "${declared.name}" is missing`);
    for (const [axis, dim] of declared.shape.entries()) {
      const plain = typeof dim === "string" && /^[A-Za-z_]\w*$/.test(dim) && !sizes.has(dim);
      if (plain && axis < given.rank) sizes.set(dim, given.shape[axis]!);
    }
    const wanted = declared.shape.map((dim) => substitute(dim, sizes));
    if (formatShape(wanted) !== formatShape(given.shape) || given.dtype !== declared.dtype) {
      const is = `${given.dtype} ${formatShape(given.shape)}`;
      fail(`"${declared.name}" is ${is}, must be ${declared.dtype} ${formatShape(wanted)}`);
    }
    values.set(declared, given);
  }

  const take = parameter ?? ((name: string, tensor: HostTensor) => {
    const known = graph.parameters.get(name);
    if (known !== undefined && known.data === tensor) return known;
    return graph.parameter(name, tensor);
  });
  const here = (value: Value): Value => {
    const known = values.get(value);
    if (known !== undefined) return known;
    const { dtype, data, shape } = value.data!;
    const copy = isConstant(value)
      ? graph.constant(data, shape, dtype)
      : take(prefix === "" ? value.name : `${prefix}.${value.name}`, value.data!);
    values.set(value, copy);
    return copy;
  };
  const blocks = new Map<RecomputeBlock, RecomputeBlock>();
  for (const node of liveNodes(callee)) {
    if (customGradientOf(node) !== null) {
      fail(`a part of it (at ${node.origin}) has a gradient of its own; build it where it is used`);
    }
    const operands = node.inputs.map((value) => value && here(value));
    const results = node.outputs.map(({ dtype, shape }) => ({
      dtype,
      shape: shape.map((dim) => substitute(dim, sizes)),
    }));
    const add = () =>
      graph.at(node.origin, () => graph.add(node.op, operands, results, node.attributes));
    let outputs: Value[];
    if (node.block === null) outputs = add();
    else {
      const block = blocks.get(node.block) ?? { inputs: node.block.inputs.map(here) };
      blocks.set(node.block, block);
      outputs = graph.inBlock(block, add);
    }
    node.outputs.forEach((value, i) => values.set(value, outputs[i]!));
  }
  return Object.fromEntries([...callee.outputs].map(([name, value]) => [name, here(value)]));
}
