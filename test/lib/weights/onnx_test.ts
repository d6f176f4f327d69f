import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { ModelError } from "../../../lib/errors.ts";
import { Graph, ops } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { bytesSource, openOnnx, openWeights, writeOnnx } from "../../../lib/weights/mod.ts";
import { bytesOf } from "../../../lib/weights/weight_file.ts";
import { assertTensors, expected, fixture, fixtureBytes } from "./fixtures.ts";
import { concat } from "./zip_writer.ts";

const sibling = (path: string) => fixture(path);

Deno.test("ONNX: initialisers of every type, as the onnx package reads them", async () => {
  const file = await openWeights(await fixture("foreign.onnx"), { sibling });
  await assertTensors(file, expected["foreign.onnx"]!);
});

Deno.test("ONNX: operators, attributes, subgraphs, inputs and outputs", async () => {
  const file = await openOnnx(await fixture("foreign.onnx"), { sibling });
  const { graph, opsets, irVersion } = file.model;
  assert.deepEqual([irVersion, opsets.get(""), graph.name], [9, 20, "foreign"]);
  assert.deepEqual([...file.metadata], [["author", "a test"]]);
  assert.deepEqual(
    graph.nodes.map(({ op, name, inputs, outputs }) => [op, name, inputs, outputs]),
    [
      ["MatMul", "project", ["x", "large"], ["h"]],
      ["LeakyRelu", "", ["h"], ["a"]],
      ["Transpose", "", ["a"], ["t"]],
      ["If", "", ["flag"], ["s"]],
      ["Mul", "", ["t", "s"], ["y"]],
    ],
  );
  assert.deepEqual([...graph.nodes[1]!.attributes], [["alpha", { float: 0.25 }]]);
  assert.deepEqual([...graph.nodes[2]!.attributes], [["perm", { ints: [1, 0] }]]);
  const branch = graph.nodes[3]!.attributes.get("then_branch")!;
  assert.ok("graph" in branch);
  const value = branch.graph.nodes[0]!.attributes.get("value")!;
  assert.ok("tensor" in value);
  assert.deepEqual((await file.readTensor(value.tensor)).data, Float32Array.of(2));
  assert.deepEqual(graph.inputs, [
    { name: "x", dtype: "float32", shape: ["N", 16] },
    { name: "flag", dtype: "bool", shape: [] },
  ]);
  assert.deepEqual(graph.outputs, [{ name: "y", dtype: "float32", shape: [16, "N"] }]);
});

/** y = (x·W + b) · V with parameters of 4 kB, 128 bytes and 2 kB. */
function network(): Graph {
  const rng = new Rng(3);
  const random = (...shape: number[]) =>
    float32(
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => rng.normal()),
    );
  const graph = new Graph("network");
  const x = graph.input("x", ["N", 32]);
  const hidden = ops.add(
    ops.matMul(x, graph.parameter("first.weight", random(32, 32))),
    graph.parameter("first.bias", random(32)),
  );
  graph.output("y", ops.matMul(hidden, graph.parameter("second.weight", random(32, 16))));
  return graph;
}

for (const parameterStorage of ["float32", "float16"] as const) {
  Deno.test(`ONNX: external data (${parameterStorage}) reads back and runs the same`, async () => {
    const graph = network();
    const { model, external } = writeOnnx(graph, { parameterStorage, location: "n.bin" });
    assert.ok(external !== null && model.length < 1500);
    const data = concat(external.pieces);
    assert.equal(data.length, external.size);

    const whole = graph.toOnnx({ parameterStorage });
    const inside = await openOnnx(bytesSource("whole", whole));
    const split = await openOnnx(bytesSource("split", model), {
      sibling: (path) => Promise.resolve(bytesSource(path, data)),
    });
    assert.deepEqual([...split.entries.keys()], [...inside.entries.keys()]);
    for (const name of inside.entries.keys()) {
      assert.deepEqual(bytesOf(await split.read(name)), bytesOf(await inside.read(name)));
    }
    const outside = [...split.model.graph.initializers.values()].filter((t) => t.external);
    assert.equal(outside.length, 2);
    for (const { external } of outside) assert.equal(external!.offset % 64, 0);

    const folder = await mkdtemp(join(tmpdir(), "ovstage-"));
    try {
      await writeFile(join(folder, "n.onnx"), model);
      await writeFile(join(folder, "n.bin"), data);
      const x = new ort.Tensor("float32", Float32Array.from({ length: 64 }, (_, i) => i / 9), [
        2,
        32,
      ]);
      const results = [];
      for (const source of [join(folder, "n.onnx"), whole]) {
        const session = await ort.InferenceSession.create(source as string);
        results.push((await session.run({ x })).y!.data);
        await session.release();
      }
      assert.deepEqual(results[0], results[1]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

Deno.test("ONNX: without large tensors there is no second file", () => {
  const { model, external } = writeOnnx(network(), { minBytes: 1e6 });
  assert.equal(external, null);
  assert.deepEqual(model, network().toOnnx());
});

Deno.test("ONNX: the threshold bounds what stays inside", async () => {
  const { model } = writeOnnx(network(), { minBytes: 0 });
  const file = await openOnnx(bytesSource("all", model));
  for (const tensor of file.model.graph.initializers.values()) assert.equal(tensor.bytes, null);
});

Deno.test("ONNX: external data out of reach is refused, with the tensor", async () => {
  const source = await fixture("foreign.onnx");
  const refuses = (promise: Promise<unknown>, message: RegExp) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof ModelError, String(error));
      assert.match(error.message, message);
      return true;
    });
  await refuses((await openOnnx(source)).read("large"), /"large" is in the file "foreign\.bin"/);
  const short = await openOnnx(source, {
    sibling: (path) => Promise.resolve(bytesSource(path, new Uint8Array(9))),
  });
  await refuses(short.read("large"), /foreign\.bin: tensor "large".*has 9/);

  const bytes = Uint8Array.from(await fixtureBytes("foreign.onnx"));
  const at = new TextDecoder("latin1").decode(bytes).indexOf("foreign.bin");
  bytes.set(new TextEncoder().encode("../gn.bin"), at);
  await refuses(openOnnx(bytesSource("escape", bytes)), /tensor "large" names the file/);
  assert.throws(() => writeOnnx(network(), { location: "/tmp/x" }), ModelError);
});

Deno.test("ONNX: what isn't an ONNX file is refused", async () => {
  for (
    const bytes of [[], [8], [8, 9], [8, 9, 0x3a, 200], [0x0b], [255, 255, 255, 255, 255, 255]]
  ) {
    await assert.rejects(
      openOnnx(bytesSource("bad.onnx", Uint8Array.from(bytes))),
      (error) => error instanceof ModelError && /^bad\.onnx: not a readable/.test(error.message),
    );
  }
  await assert.rejects(
    openWeights(bytesSource("x.txt", new TextEncoder().encode("weights"))),
    /known are/,
  );
  await assert.rejects(openWeights(bytesSource("x", new Uint8Array(0))), /empty/);
  const large = { ...bytesSource("l.onnx", new Uint8Array(0)), size: 2 ** 31 };
  await assert.rejects(openOnnx(large), /l\.onnx: 2147483648 bytes/);
});
