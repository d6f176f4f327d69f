/**
 * Graphs as text.
 *
 * @module
 */
import { formatShape } from "../tensor.ts";
import type { Attribute, Graph, Value } from "./graph.ts";

/** One line per input, parameter, operator and output; see {@linkcode Graph.toString}. */
export function formatGraph(graph: Graph): string {
  const lines = [`graph ${graph.name}`];
  for (const value of graph.inputs) lines.push(`  input ${declare(value)}`);
  for (const value of graph.parameters.values()) lines.push(`  parameter ${declare(value)}`);
  for (const node of graph.nodes) {
    const results = node.outputs.map(declare).join(", ");
    const inputs = node.inputs.map((value) => value === null ? "–" : refer(value)).join(", ");
    const attributes = Object.entries(node.attributes).map(([k, v]) =>
      `${k}=${formatAttribute(v)}`
    );
    const braces = attributes.length === 0 ? "" : ` {${attributes.join(", ")}}`;
    lines.push(`  ${results} = ${node.op}(${inputs})${braces}`);
  }
  for (const [name, value] of graph.outputs) lines.push(`  output ${name} = ${refer(value)}`);
  return lines.join("\n");
}

function declare(value: Value): string {
  return `${value.name}: ${value.dtype}[${value.rank === 0 ? "" : formatShape(value.shape)}]`;
}

/** A name; small constants by their elements. */
function refer(value: Value): string {
  if (value.data === null || value.graph.parameters.has(value.name)) return value.name;
  const { data } = value.data;
  if (data.length > 8) return `constant[${formatShape(value.shape)}]`;
  const elements = Array.from(data as ArrayLike<number | bigint>, String).join(" ");
  return value.rank === 0 ? elements : `[${elements}]`;
}

function formatAttribute(attribute: Attribute): string {
  const [value] = Object.values(attribute) as [number | string | readonly number[]];
  return Array.isArray(value) ? `[${value.join(" ")}]` : String(value);
}
