import assert from "node:assert/strict";
import fc from "fast-check";
import * as ort from "onnxruntime-node";
import { ModelError } from "../../../lib/errors.ts";
import { gradients, Graph, ops, type Value } from "../../../lib/graph/mod.ts";
import { liveNodes } from "../../../lib/graph/onnx.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { bytesSource, graphFromOnnx, openOnnx } from "../../../lib/weights/mod.ts";
import { arrayOf, interpret } from "../graph/interpreter.ts";
import { dtypeOf, fill, type OperatorCase, operatorCases } from "../graph/operator_cases.ts";
import exported from "../../fixtures/weights/exported.json" with { type: "json" };
import { type ExpectedTensor, fixture } from "./fixtures.ts";

async function reread(graph: Graph, options = {}): Promise<Graph> {
  return graphFromOnnx(await openOnnx(bytesSource("again.onnx", graph.toOnnx(options))));
}

/** How often the graph's outputs need each operator. */
function operators(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op } of liveNodes(graph)) {
    if (op !== "Identity") counts[op] = (counts[op] ?? 0) + 1;
  }
  return counts;
}

/** The operator and its gradient by every operand. */
function withGradient(c: OperatorCase, seed: number): Graph {
  const graph = new Graph("case");
  const inputs = c.operands.map(({ shape, domain }, i) =>
    graph.input(`x${i}`, shape, dtypeOf(domain, "float64"))
  );
  const applied = c.apply(inputs, graph);
  const results = Array.isArray(applied) ? applied : [applied];
  const terms: Value[] = [];
  results.forEach((y, i) => {
    graph.output(`y${i}`, y);
    if (y.dtype === "float64") terms.push(ops.reduceSum(ops.mul(ops.mul(y, y), seed)));
  });
  const wants = inputs.filter((x, i) => x.dtype === "float64" && (c.wants?.[i] ?? true));
  if (terms.length > 0 && wants.length > 0 && !c.stops) {
    const loss = terms.reduce((a, b) => ops.add(a, b));
    gradients(loss, wants).forEach((g, i) => graph.output(`g${i}`, g));
  }
  return graph;
}

for (const [name, cases] of Object.entries(operatorCases)) {
  Deno.test(`ONNX to graph: ${name} and its gradient`, () =>
    fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 1, max: 9 }), async (c, seed) => {
        const graph = withGradient(c, seed);
        const again = await reread(graph);
        assert.deepEqual([...again.outputs.keys()], [...graph.outputs.keys()]);
        assert.deepEqual(operators(again), operators(graph));
        const elements = fill(c.operands, seed);
        const feeds = Object.fromEntries(
          c.operands.map(({ shape }, i) => [`x${i}`, arrayOf(elements[i]!, shape)]),
        );
        const expected = interpret(graph, feeds, [...graph.outputs.values()]);
        const found = interpret(again, feeds, [...again.outputs.values()]);
        expected.forEach(({ shape, data }, i) => {
          assert.deepEqual(found[i]!.shape, shape);
          // Files keep an epsilon as float32.
          const scale = Math.max(1, ...data.map(Math.abs));
          const near = (x: number, y: number) => Object.is(x, y) || Math.abs(x - y) <= 1e-6 * scale;
          assert.ok(data.every((x, j) => near(x, found[i]!.data[j]!)), `${found[i]!.data}`);
        });
        for (const [key, value] of graph.outputs) {
          assert.deepEqual(again.outputs.get(key)!.shape, value.shape);
        }
      }),
      { numRuns: 6 },
    ));
}

Deno.test("ONNX to graph: a network of symbolic sizes, with its parameters, to the byte", async () => {
  const rng = new Rng(4);
  const random = (...shape: number[]) =>
    float32(
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => rng.normal()),
    );
  const graph = new Graph("attention");
  const x = graph.input("x", ["B", "T", 8]);
  const width = graph.parameter("qkv.weight", random(8, 24));
  const fused = ops.reshape(ops.matMul(x, width), [ops.dimOf(x, 0), ops.dimOf(x, 1), 3, 2, 4]);
  const [q, k, v] = [0, 1, 2].map((i) =>
    ops.transpose(ops.squeeze(ops.slice(fused, 2, i, i + 1), [2]), [0, 2, 1, 3])
  ) as [Value, Value, Value];
  const weights = ops.softmax(ops.matMul(q, ops.transpose(k, [0, 1, 3, 2])));
  const joined = ops.transpose(ops.matMul(weights, v), [0, 2, 1, 3]);
  const flat = ops.reshape(joined, [ops.dimOf(x, 0), ops.dimOf(x, 1), 8]);
  const scale = graph.parameter("norm.scale", random(8));
  graph.output(
    "y",
    ops.layerNorm(ops.add(flat, x), scale, graph.parameter("norm.bias", random(8))),
  );

  const again = await reread(graph);
  assert.deepEqual([...again.parameters.keys()], [...graph.parameters.keys()]);
  assert.deepEqual(again.inputs[0]!.shape, ["B", "T", 8]);
  assert.deepEqual(again.outputs.get("y")!.shape, ["B", "T", 8]);
  const twice = await reread(again);
  assert.deepEqual(twice.toOnnx(), again.toOnnx());

  const half = await reread(graph, { parameterStorage: "float16" });
  assert.deepEqual([...half.parameters.keys()], [...graph.parameters.keys()]);
  const rounded = half.parameters.get("qkv.weight")!.data!.data as Float32Array;
  const exact = width.data!.data as Float32Array;
  const difference = Math.max(...rounded.map((value, i) => Math.abs(value - exact[i]!)));
  assert.ok(difference > 0 && difference < 1e-3);
  // What came from a file can be trained on.
  const y = again.outputs.get("y")!;
  const [slope] = gradients(ops.reduceSum(y), [again.parameters.get("qkv.weight")!]);
  assert.deepEqual(slope!.shape, [8, 24]);
});

for (const exporter of ["dynamo", "script"]) {
  Deno.test(`ONNX to graph: what PyTorch's ${exporter} exporter wrote computes what PyTorch does`, async () => {
    const elements = ({ shape, data }: ExpectedTensor) => {
      const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
      return { shape, data: new Float32Array(bytes.buffer) };
    };
    const graph = await graphFromOnnx(await openOnnx(await fixture(`exported_${exporter}.onnx`)));
    const [batch, ...sizes] = graph.inputs[0]!.shape;
    assert.deepEqual([batch, sizes], ["batch", [3, 16, 16]]);
    assert.deepEqual(graph.outputs.get("masks")!.shape, ["batch", 8, 12, 12]);
    assert.deepEqual(graph.outputs.get("embedding")!.shape, ["batch", 16]);

    const image = elements(exported.image);
    const session = await ort.InferenceSession.create(graph.toOnnx());
    const results = await session.run({
      image: new ort.Tensor("float32", image.data, image.shape),
    });
    for (const name of ["masks", "embedding"] as const) {
      const expected = elements(exported[name]);
      const found = results[name]!.data as Float32Array;
      assert.deepEqual(results[name]!.dims, expected.shape);
      expected.data.forEach((x, i) => assert.ok(Math.abs(x - found[i]!) <= 1e-5, `${name}[${i}]`));
    }
    await session.release();
  });
}

Deno.test("ONNX to graph: what has no counterpart is refused by name", async () => {
  const file = await openOnnx(await fixture("foreign.onnx"), { sibling: fixture });
  await assert.rejects(graphFromOnnx(file), (error) => {
    assert.ok(error instanceof ModelError);
    assert.match(error.message, /^foreign\.onnx: operator If: the graph builder has no such/);
    return true;
  });
  const graph = new Graph("wrong");
  graph.output("y", ops.relu(graph.input("x", [2])));
  const { model } = await openOnnx(bytesSource("w", graph.toOnnx()));
  const node = { ...model.graph.nodes[0]!, inputs: ["nowhere"] };
  const changed = { ...model, graph: { ...model.graph, nodes: [node] } };
  const opened = await openOnnx(bytesSource("w", graph.toOnnx()));
  await assert.rejects(graphFromOnnx({ ...opened, model: changed }), /nothing gives .*"nowhere"/);
  const old = { ...model, opsets: new Map([["", 9]]) };
  await assert.rejects(graphFromOnnx({ ...opened, model: old }), ModelError);
});
