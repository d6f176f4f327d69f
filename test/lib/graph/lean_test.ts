import assert from "node:assert/strict";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type GraphNode, type Value } from "../../../lib/graph/graph.ts";
import { liveNodes } from "../../../lib/graph/onnx.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { Rng } from "../../../lib/rng.ts";
import { sizeOf } from "../../../lib/tensor.ts";
import { arrayOf, interpret } from "./interpreter.ts";

const [batch, tokens, width, heads] = [2, 5, 8, 2];
const size = width / heads;
const shapes: Record<string, number[]> = {
  x: [batch, tokens, width],
  scale: [width],
  shift: [width],
  ...Object.fromEntries(["query", "key", "value", "out"].flatMap((name) => [
    [`${name}.weight`, [width, width]],
    [`${name}.bias`, [width]],
  ])),
  "hidden.weight": [width, 3 * width],
  "hidden.bias": [3 * width],
};

/** Layer norm, attention with a residual, a linear layer, GELU, and the mean of squares. */
function block() {
  const graph = new Graph("block");
  const p = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, graph.input(name, shape, "float64")]),
  );
  const linear = (name: string, x: Value) =>
    ops.add(ops.matMul(x, p[`${name}.weight`]!), p[`${name}.bias`]!);
  const split = (x: Value, permutation: number[]) =>
    ops.transpose(ops.reshape(x, [batch, tokens, heads, size]), permutation);
  const normal = ops.layerNorm(p["x"]!, p["scale"]!, p["shift"]!, 1e-5);
  const query = split(ops.mul(linear("query", normal), 1 / Math.sqrt(size)), [0, 2, 1, 3]);
  const key = split(linear("key", normal), [0, 2, 3, 1]);
  const value = split(linear("value", normal), [0, 2, 1, 3]);
  const attention = ops.softmax(ops.matMul(query, key));
  const mixed = ops.transpose(ops.matMul(attention, value), [0, 2, 1, 3]);
  const joined = ops.reshape(mixed, [batch, tokens, width]);
  const residual = ops.add(p["x"]!, linear("out", joined));
  const hidden = linear("hidden", residual);
  const y = ops.gelu(hidden);
  const loss = ops.reduceMean(ops.mul(y, y));
  const mid = { normal, query, key, value, attention, mixed, residual, hidden, y };
  return { graph, p, loss, mid };
}

/** The same backward pass as one would write it. */
function byHand({ p, mid }: ReturnType<typeof block>): Record<string, Value> {
  const grads: Record<string, Value> = {};
  const { normal, query, key, value, attention, mixed, residual, hidden, y } = mid;
  const rows = (x: Value) => ops.reshape(x, [-1, x.shape.at(-1) as number]);
  const swap = (x: Value) => ops.transpose(x, [0, 1, 3, 2]);
  /** Gradients of a linear layer's parameters, and of its input's rows. */
  const linear = (name: string, input: Value, grad: Value) => {
    grads[`${name}.bias`] = ops.reduceSum(grad, [0]);
    grads[`${name}.weight`] = ops.gemm(input, grad, { transposeA: true });
    return ops.gemm(grad, p[`${name}.weight`]!, { transposeB: true });
  };

  const dy = ops.mul(y, 2 / sizeOf(y.shape as number[]));
  const u = ops.mul(hidden, Math.SQRT1_2);
  const bell = ops.exp(ops.sub(-Math.log(Math.PI) / 2, ops.mul(u, u)));
  const distribution = ops.mul(ops.add(ops.erf(u), 1), 0.5);
  const dHidden = ops.mul(dy, ops.add(distribution, ops.mul(u, bell)));
  const dResidual = linear("hidden", rows(residual), rows(dHidden));
  const dMixed = ops.transpose(
    ops.reshape(linear("out", ops.reshape(mixed, [-1, width]), dResidual), [
      batch,
      tokens,
      heads,
      size,
    ]),
    [0, 2, 1, 3],
  );
  const dAttention = ops.matMul(dMixed, swap(value));
  const dValue = ops.matMul(swap(attention), dMixed);
  const sum = ops.reduceSum(ops.mul(dAttention, attention), [3], true);
  const dScores = ops.mul(attention, ops.sub(dAttention, sum));
  const dQuery = ops.matMul(dScores, swap(key));
  const dKey = ops.matMul(swap(query), dScores);
  const flat = (x: Value, permutation: number[]) =>
    ops.reshape(ops.transpose(x, permutation), [-1, width]);
  const source = rows(normal);
  const scaled = ops.mul(ops.transpose(dQuery, [0, 2, 1, 3]), 1 / Math.sqrt(size));
  const dNormal = ops.reshape(
    ops.add(
      ops.add(
        linear("value", source, flat(dValue, [0, 2, 1, 3])),
        linear("key", source, flat(dKey, [0, 3, 1, 2])),
      ),
      linear("query", source, ops.reshape(scaled, [-1, width])),
    ),
    [batch, tokens, width],
  );
  const [, mean, inverse] = normal.node!.outputs as [Value, Value, Value];
  const unit = ops.mul(ops.sub(p["x"]!, mean), inverse);
  const g = ops.mul(dNormal, p["scale"]!);
  const centred = ops.sub(g, ops.reduceMean(g, [2], true));
  const along = ops.mul(unit, ops.reduceMean(ops.mul(g, unit), [2], true));
  grads["scale"] = ops.reduceSum(ops.mul(dNormal, unit), [0, 1]);
  grads["shift"] = ops.reduceSum(dNormal, [0, 1]);
  grads["x"] = ops.add(
    ops.reshape(dResidual, [batch, tokens, width]),
    ops.mul(ops.sub(centred, along), inverse),
  );
  return grads;
}

const isNumber = (value: Value | null | undefined, number: number) =>
  value?.data != null && Array.from(value.data.data, Number).every((x) => x === number);

/** Why a node could go; null where it couldn't. */
function removable(node: GraphNode): string | null {
  const [a, b] = node.inputs;
  const same = a !== null && node.outputs[0]!.shape.join() === a!.shape.join();
  switch (node.op) {
    case "Mul":
      if ([a, b].some((x) => isNumber(x, 0) || isNumber(x, 1))) return "a product with 0 or 1";
      break;
    case "Add":
      if ([a, b].some((x) => isNumber(x, 0))) return "a sum with 0";
      break;
    case "Expand":
      return "an operand that broadcasts";
    case "Identity":
      return "nothing happens";
    case "Reshape":
      if (same) return "the same shape";
      if (["Reshape", "Squeeze", "Unsqueeze"].includes(a!.node?.op ?? "")) {
        return "a view of a view";
      }
      break;
    case "Transpose": {
      const { ints } = node.attributes["perm"] as { ints: readonly number[] };
      if (ints.every((axis, i) => axis === i)) return "the same order";
      break;
    }
  }
  return node.inputs.every((value) => value?.data) ? "constants alone" : null;
}

Deno.test("a transformer block's backward pass is as short as one written by hand", () => {
  const automatic = block();
  const first = automatic.graph.nodes.length;
  const targets = Object.values(automatic.p);
  const grads = gradients(automatic.loss, targets);
  const written = automatic.graph.nodes.slice(first);

  const manual = block();
  const before = manual.graph.nodes.length;
  const expected = byHand(manual);
  const count = (nodes: readonly GraphNode[]) => {
    const counts: Record<string, number> = {};
    for (const { op } of nodes) counts[op] = (counts[op] ?? 0) + 1;
    return counts;
  };
  assert.deepEqual(count(written), count(manual.graph.nodes.slice(before)));
  assert.equal(written.length, 69);

  const rng = new Rng(4);
  const feeds = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      arrayOf(Array.from({ length: sizeOf(shape) }, () => rng.normal()), shape),
    ]),
  );
  const actual = interpret(automatic.graph, feeds, grads);
  const wanted = interpret(manual.graph, feeds, Object.keys(shapes).map((name) => expected[name]!));
  for (const [i, name] of Object.keys(shapes).entries()) {
    wanted[i]!.data.forEach((value, k) => {
      const error = Math.abs(actual[i]!.data[k]! - value);
      assert.ok(error <= 1e-12 * Math.max(1, Math.abs(value)), `${name}[${k}]`);
    });
  }
});

Deno.test("no node of a backward pass could be removed", () => {
  const { graph, p, loss } = block();
  const grads = gradients(loss, Object.values(p));
  grads.forEach((grad, i) => graph.output(`grad${i}`, grad));
  graph.output("loss", loss);
  assert.deepEqual(liveNodes(graph), graph.nodes);
  const seen = new Map<string, GraphNode>();
  for (const node of graph.nodes) {
    assert.equal(removable(node), null, `${node.op} ${node.outputs[0]!.name}`);
    const key = `${node.op}(${node.inputs.map((v) => v?.name)})${JSON.stringify(node.attributes)}`;
    assert.equal(seen.has(key), false, `${key} twice`);
    seen.set(key, node);
  }
});

Deno.test("convolutions, group norm and cuts: nothing that could be removed", () => {
  const graph = new Graph("convolutions");
  const x = graph.input("x", [2, 4, 6, 6]);
  const input = (name: string, ...shape: number[]) => graph.input(name, shape);
  let y = ops.conv(x, input("depthwise", 4, 1, 3, 3), input("b0", 4), {
    pads: [1, 1, 1, 1],
    groups: 4,
  });
  y = ops.groupNorm(y, 2, input("scale", 4), input("shift", 4));
  y = ops.relu(ops.conv(y, input("pointwise", 6, 4, 1, 1), input("b1", 6)));
  const [left, right] = ops.split(y, [2, 4], 1);
  const top = ops.roll(left!, [1, 2], [2, 3]);
  const some = ops.concat([top, ops.slice(right!, 1, 0, 2)], 3);
  const loss = ops.reduceSum(ops.tanh(some));
  const grads = gradients(loss, graph.inputs);
  grads.forEach((grad, i) => graph.output(`grad${i}`, grad));
  const live = new Set(liveNodes(graph));
  // The forward pass may end in what only the loss needs; gradients may not.
  const dead = graph.nodes.filter((node) => !live.has(node)).map((node) => node.op);
  assert.deepEqual(dead, ["ReduceSum"]);
  const forward = graph.nodes.indexOf(loss.node!);
  for (const node of graph.nodes.slice(forward + 1)) {
    assert.equal(removable(node), null, `${node.op} ${node.outputs[0]!.name}`);
  }
  // A convolution for each input, a matrix product for each weight: one per channel where depthwise.
  const names = graph.nodes.slice(forward + 1).map((node) => node.op);
  assert.deepEqual(
    ["Conv", "MatMul", "Gemm"].map((op) => names.filter((name) => name === op).length),
    [2, 1, 1],
  );
});
