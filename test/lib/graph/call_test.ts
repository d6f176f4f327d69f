import assert from "node:assert/strict";
import { ShapeError } from "../../../lib/errors.ts";
import { callGraph } from "../../../lib/graph/call.ts";
import { customGradient } from "../../../lib/graph/custom_gradient.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { recompute } from "../../../lib/graph/recompute.ts";
import { float32 } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { arrayOf, interpret } from "./interpreter.ts";

/** B×C×H×W to B×(H·W/4)×O, with sizes of every kind on the way. */
function patches(): Graph {
  const graph = new Graph("patches");
  const image = graph.input("image", ["B", 2, "H", "W"]);
  const weight = graph.parameter(
    "weight",
    float32([3, 2, 2, 2], Float32Array.from({ length: 24 }, (_, i) => Math.sin(i))),
  );
  const grown = ops.conv(image, weight, null, { strides: [2, 2] });
  const rows = ops.transpose(ops.reshape(grown, [ops.dimOf(image, 0), 3, -1]), [0, 2, 1]);
  const soft = recompute([rows], ([x]) => ops.mul(ops.softmax(x!), ops.add(x!, 0.5)));
  graph.output("tokens", soft);
  graph.output("more", ops.concat([soft, ops.slice(soft, 1, 1)], 1));
  graph.output("same", image);
  return graph;
}
const data = Float32Array.from({ length: 2 * 2 * 4 * 6 }, (_, i) => Math.cos(i));

Deno.test("a called graph computes what it computes on its own, with the caller's sizes", async () => {
  const callee = patches();
  const alone = interpret(callee, { image: arrayOf(data, [2, 2, 4, 6]) }, [
    ...callee.outputs.values(),
  ]);
  for (const shape of [[2, 2, 4, 6], ["N", 2, 4, 6], ["N", 2, "rows", "columns"]]) {
    const graph = new Graph("caller");
    const x = graph.input("x", shape);
    const results = callGraph(callee, { image: ops.neg(ops.neg(x)) }, { prefix: "embed" });
    assert.deepEqual([...graph.parameters.keys()], ["embed.weight"]);
    for (const [name, value] of Object.entries(results)) graph.output(name, value);
    const engine = await ortNodeEngine({ threads: 1 });
    const session = await engine.load(graph.toOnnx());
    const given = await session.run({ x: float32([2, 2, 4, 6], data) });
    const inside = interpret(graph, { x: arrayOf(data, [2, 2, 4, 6]) }, Object.values(results));
    for (const [i, name] of Object.keys(results).entries()) {
      assert.deepEqual(inside[i], alone[i]);
      assert.deepEqual(given[name]!.shape, alone[i]!.shape);
    }
    await session.dispose();
    const known: Record<string, number> = { N: 2, rows: 4, columns: 6 };
    if (shape.every((dim) => typeof dim === "number" || dim === "N")) {
      assert.deepEqual(
        results["tokens"]!.shape.map((dim) => known[dim] ?? dim),
        [2, 6, 3],
      );
      assert.deepEqual(results["more"]!.shape.slice(1), [11, 3]);
    }
  }
});

Deno.test("gradients pass through calls; one prefix shares, two don't; trained ones can be given", () => {
  const callee = new Graph("layer");
  const w = callee.parameter("w", float32([2], Float32Array.of(2, 3)));
  callee.output("y", ops.mul(ops.tanh(callee.input("x", ["N", 2])), w));
  const graph = new Graph("caller");
  const x = graph.input("x", [4, 2], "float32");
  const call = (value: Value, prefix: string) => callGraph(callee, { x: value }, { prefix })["y"]!;
  const y = call(call(call(x, "a"), "a"), "b");
  assert.deepEqual([...graph.parameters.keys()], ["a.w", "b.w"]);
  const targets = [...graph.parameters.values(), x];

  const direct = new Graph("direct");
  const z = direct.input("x", [4, 2], "float32");
  const [a, b] = ["a", "b"].map((name) =>
    direct.parameter(name, float32([2], Float32Array.of(2, 3)))
  ) as [Value, Value];
  const layer = (value: Value, weight: Value) => ops.mul(ops.tanh(value), weight);
  const wanted = gradients(ops.reduceSum(layer(layer(layer(z, a), a), b)), [a, b, z]);
  const feeds = { x: arrayOf([1, 2, 3, 4, 5, 6, -7, 0.5], [4, 2]) };
  assert.deepEqual(
    interpret(graph, feeds, gradients(ops.reduceSum(y), targets)),
    interpret(direct, feeds, wanted),
  );

  const own = graph.input("own", [2]);
  const asked: string[] = [];
  const mine = callGraph(callee, { x }, {
    prefix: "c",
    parameter: (name) => {
      asked.push(name);
      return own;
    },
  })["y"]!;
  assert.deepEqual(asked, ["c.w"]);
  assert.equal(mine.node!.inputs[1], own);
});

Deno.test("a marked block stays one; a part with its own gradient can't be called", () => {
  const graph = new Graph("caller");
  const { tokens } = callGraph(patches(), { image: graph.input("x", [1, 2, 4, 4]) });
  assert.equal(tokens!.node!.block!.inputs[0]!.graph, graph);

  const callee = new Graph("custom");
  const x = callee.input("x", [2]);
  callee.output("y", customGradient([x], [ops.sign(x)], ([g]) => [g!])[0]!);
  assert.throws(
    () => callGraph(callee, { x: graph.input("z", [2]) }),
    /"custom": a part of it \(at .*call_test\.ts.*\) has a gradient of its own/,
  );
});

Deno.test("calls that don't fit are refused by name", () => {
  const graph = new Graph("caller");
  const callee = new Graph("pair");
  callee.output("y", ops.add(callee.input("a", ["N", 3]), callee.input("b", ["N", 1])));
  const value = (name: string, ...shape: number[]) => graph.input(name, shape);
  const refuse = (inputs: Record<string, Value>, pattern: RegExp) =>
    assert.throws(
      () => callGraph(callee, inputs),
      (error) => error instanceof ShapeError && pattern.test(error.message),
    );
  const [a, b] = [value("a", 2, 3), value("b", 4, 1)];
  refuse({}, /"pair": called without inputs/);
  refuse({ a }, /"pair": its input "b" is missing/);
  refuse({ a, c: b }, /"pair": has no input "c"/);
  refuse({ a, b }, /"b" is float32 4×1, must be float32 2×1 \(at .*call_test\.ts/);
  refuse({ a: value("wide", 2, 4), b }, /"a" is float32 2×4, must be float32 2×3/);
  refuse({ a: value("flat", 3), b }, /"a" is float32 3, must be float32 3×3/);
  refuse({ a: graph.input("whole", [2, 3], "int64"), b }, /"a" is int64 2×3/);
});
