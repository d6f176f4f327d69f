/**
 * Networks of learned fusers that have learned nothing.
 *
 * @module
 */
import { Graph, ParameterLayout } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import {
  attentionFuser,
  type AttentionFuserConfig,
} from "../../../plugins/networks/attention_fuser.ts";

/** A fuser's network with random weights, far from those that it would start with. */
export function fuserModel(config: AttentionFuserConfig, size: number): Uint8Array {
  const build = (graph: Graph) => ({
    pooled: graph.input("pooled", ["B", "N", size]),
    empty: graph.input("empty", ["B", "N"]),
    query: graph.input("query", ["B", "N", size]),
  });
  const trial = new Graph("trial");
  const inputs = build(trial);
  const layout = ParameterLayout.of(trial, (scope) => attentionFuser(scope, inputs, config));
  const weights = layout.initialize(new Rng(size)).map((x) => 4 * x);
  const graph = new Graph("fuser");
  graph.output("fused", attentionFuser(layout.scopeWith(graph, weights), build(graph), config));
  return graph.toOnnx();
}
