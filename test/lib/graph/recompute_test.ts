import assert from "node:assert/strict";
import { customGradient } from "../../../lib/graph/custom_gradient.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import { liveNodes } from "../../../lib/graph/onnx.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { recompute } from "../../../lib/graph/recompute.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32, sizeOf } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { arrayOf, interpret } from "./interpreter.ts";

const [depth, width] = [6, 4];

/** Residual blocks with many intermediate values each. */
function network(rows: number | string, marked: boolean): Graph {
  const graph = new Graph("blocks");
  let x = graph.input("x", [rows, width]);
  const weights: Value[] = [];
  for (let i = 0; i < depth; i++) {
    const weight = graph.input(`weight${i}`, [width, width]);
    weights.push(weight);
    const body = ([y]: readonly Value[]) => {
      let z = ops.layerNorm(y!, graph.constant([1, 2, 1, 0.5]), null);
      for (let k = 0; k < 4; k++) z = ops.tanh(ops.matMul(z, weight));
      return ops.add(y!, ops.gelu(z));
    };
    x = marked ? recompute([x], body) : body([x]);
  }
  const loss = graph.output("loss", ops.reduceSum(ops.mul(x, x)));
  gradients(loss, [...weights, graph.inputs[0]!]).forEach((grad, i) => {
    graph.output(`grad${i}`, grad);
  });
  return graph;
}

function feedsOf(graph: Graph, rows: number) {
  const rng = new Rng(8);
  return Object.fromEntries(graph.inputs.map(({ name, shape }) => {
    const dims = shape.map((dim) => typeof dim === "number" ? dim : rows);
    return [name, float32(dims, Float32Array.from({ length: sizeOf(dims) }, () => rng.normal()))];
  }));
}

/** The most elements alive at once, values being freed after their last use, inputs left aside. */
function peak(graph: Graph): number {
  const nodes = liveNodes(graph);
  const last = new Map<Value, number>();
  nodes.forEach((node, i) => node.inputs.forEach((value) => value && last.set(value, i)));
  for (const value of graph.outputs.values()) last.set(value, Infinity);
  const alive = new Map<Value, number>();
  let most = 0;
  nodes.forEach((node, i) => {
    for (const value of node.outputs) alive.set(value, sizeOf(value.staticShape()));
    most = Math.max(most, [...alive.values()].reduce((a, b) => a + b, 0));
    for (const value of alive.keys()) if ((last.get(value) ?? -1) <= i) alive.delete(value);
  });
  return most;
}

Deno.test("recomputed blocks give the same gradients bit for bit, from less memory", () => {
  const [plain, marked] = [network(50, false), network(50, true)];
  const feeds = Object.fromEntries(
    Object.entries(feedsOf(plain, 50)).map((
      [name, { data, shape }],
    ) => [name, arrayOf(data, shape)]),
  );
  const results = [plain, marked].map((graph) =>
    interpret(graph, feeds, [...graph.outputs.values()])
  );
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(liveNodes(marked), marked.nodes);
  // One block's values and the blocks' inputs in place of the values of all.
  const perBlock = peak(plain) / depth;
  assert.ok(peak(marked) < 3 * perBlock, `${peak(marked)} against ${peak(plain)}`);
});

Deno.test("the backward pass uses nothing of a marked block but what the block was given", () => {
  const graph = network(3, true);
  const forward = graph.nodes.findIndex((node) => node.op === "ReduceSum");
  const own = new Set<Value>();
  const given = new Set<Value>();
  for (const node of graph.nodes.slice(0, forward)) {
    if (node.block === null) continue;
    node.outputs.forEach((value) => own.add(value));
    node.block.inputs.forEach((value) => given.add(value));
  }
  const loss = graph.outputs.get("loss")!.node!.inputs[0]!.node!.inputs[0]!;
  for (const node of graph.nodes.slice(forward + 1)) {
    for (const value of node.inputs) {
      const taken = value !== null && own.has(value) && !given.has(value) && value !== loss;
      assert.equal(taken, false, `${node.op} takes ${value?.name}`);
    }
  }
});

Deno.test("ONNX Runtime agrees bit for bit, symbolic batch included", async () => {
  const engine = await ortNodeEngine({ threads: 1 });
  const feeds = feedsOf(network(5, false), 5);
  const all = await Promise.all([
    network(5, false),
    network(5, true),
    network("B", true),
  ].map(async (graph) => {
    const session = await engine.load(graph.toOnnx());
    const given = await session.run(feeds);
    const values = await Promise.all([...graph.outputs.keys()].map((name) => given[name]!.read()));
    await session.dispose();
    return values;
  }));
  assert.deepEqual(all[1], all[0]);
  assert.deepEqual(all[2], all[0]);
});

Deno.test("a part with a gradient of its own keeps it inside of a block", () => {
  const build = (marked: boolean) => {
    const graph = new Graph("custom");
    const x = graph.input("x", [3]);
    const body = ([z]: readonly Value[]) => {
      const inner = ops.mul(z!, 2);
      const [step] = customGradient([inner], [ops.sign(inner)], ([g]) => [ops.mul(g!, inner)]);
      return ops.mul(ops.sin(step!), ops.exp(inner));
    };
    const y = marked ? recompute([x], body) : body([x]);
    const grads = gradients(ops.reduceSum(ops.mul(y, y)), [x]);
    return interpret(graph, { x: arrayOf([0.1, -2, 0.3]) }, grads)[0]!.data;
  };
  assert.deepEqual(build(true), build(false));
});

Deno.test("a block inside of another is computed again with it; one without inputs is just built", () => {
  const build = (nested: boolean) => {
    const graph = new Graph("nested");
    const x = graph.input("x", [3]);
    const inner = ([z]: readonly Value[]) => ops.exp(ops.tanh(z!));
    const outer = ([z]: readonly Value[]) =>
      ops.sin(nested ? recompute([ops.mul(z!, 2)], inner) : inner([ops.mul(z!, 2)]));
    const y = recompute([x], outer);
    assert.equal(recompute([], () => 7), 7);
    const grads = gradients(ops.reduceSum(y), [x]);
    return interpret(graph, { x: arrayOf([0.1, -2, 3]) }, grads)[0]!.data;
  };
  assert.deepEqual(build(true), build(false));
});
