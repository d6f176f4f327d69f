import assert from "node:assert/strict";
import { ModelError, OptionError } from "../../../lib/errors.ts";
import { Graph, ParameterLayout } from "../../../lib/graph/mod.ts";
import { float32 } from "../../../lib/tensor.ts";
import {
  bytesSource,
  formatWeightReport,
  mapWeights,
  openSafetensors,
  openWeights,
  type WeightFile,
  type WeightRule,
  writeSafetensors,
} from "../../../lib/weights/mod.ts";
import { expected, fixture } from "./fixtures.ts";

function fileOf(tensors: Record<string, number[]>): Promise<WeightFile> {
  const bytes = writeSafetensors(
    Object.entries(tensors).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, float32(shape, Float32Array.from({ length: size }, (_, i) => i))];
    }),
  );
  return openSafetensors(bytesSource("foreign", bytes));
}

/** PyTorch's attention under this project's names. */
const attention: WeightRule[] = [
  { strip: "model." },
  { match: /^attn\./, to: "attention." },
  {
    match: /in_proj_(weight|bias)$/,
    split: { axis: 0, to: ["query.$1", "key.$1", "value.$1"] },
  },
  { match: /^attention\.out_proj\./, to: "attention.output." },
  { match: /attention\.\w+\.weight$/, transpose: [1, 0] },
  { match: /^view\.|^float\.|^integer\./, drop: "not of the network" },
];

Deno.test("mapping: a fused in_proj of a PyTorch checkpoint becomes query, key and value", async () => {
  const file = await openWeights(await fixture("checkpoint.pth"));
  const names = ["query", "key", "value", "output"];
  const wanted = names.flatMap((name) => [
    { name: `attention.${name}.weight`, shape: [4, 4] },
    { name: `attention.${name}.bias`, shape: [4] },
  ]);
  const mapped = mapWeights(file, wanted, attention).requireAll();
  const fused = (await file.read("model.attn.in_proj_weight")).data as Float32Array;
  const tensors = await mapped.readAll();
  assert.equal(tensors.size, 8);
  for (const [part, name] of names.slice(0, 3).entries()) {
    const { data, shape } = tensors.get(`attention.${name}.weight`)!;
    assert.deepEqual(shape, [4, 4]);
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) assert.equal(data[j * 4 + i], fused[(part * 4 + i) * 4 + j]);
    }
  }
  const { report } = mapped;
  assert.deepEqual(report.used[0], {
    name: "attention.query.weight",
    from: "model.attn.in_proj_weight",
    dtype: "float32",
    shape: [4, 4],
  });
  // Everything in the file is accounted for, the fused weights and biases of both copies as three.
  assert.equal(report.used.length + report.unused.length, expected["checkpoint.pth"]!.length + 8);
  const dropped = report.unused.filter(({ reason }) => reason === "not of the network");
  assert.equal(dropped.length, 4 + 8 + 5);
});

Deno.test("mapping: the report tells what is used, unused, missing and of wrong shape", async () => {
  const file = await fileOf({ "net.a": [2, 3], "net.b": [4], extra: [1] });
  const mapped = mapWeights(
    file,
    [{ name: "a", shape: [2, 3] }, { name: "b", shape: [5] }, { name: "c", shape: [] }],
    [{ strip: "net." }],
  );
  assert.deepEqual(mapped.report, {
    file: "foreign",
    used: [{ name: "a", from: "net.a", dtype: "float32", shape: [2, 3] }],
    unused: [{ name: "extra", from: "extra", shape: [1], reason: null }],
    missing: [{ name: "c", shape: [] }],
    mismatched: [{ name: "b", from: "net.b", wanted: [5], found: [4] }],
  });
  assert.equal(
    formatWeightReport(mapped.report),
    "foreign: 1 tensors used, 1 unused, 1 missing, 1 of wrong shape\n" +
      "  missing: c scalar\n  wrong shape: b (from net.b) is 4, wanted 5\n  unused: extra 1",
  );
  assert.throws(() => mapped.requireAll(), /missing: c scalar/);
  await assert.rejects(mapped.read("b"), /nothing in it becomes "b"/);
});

Deno.test("mapping: transpose, reshape and uneven splits move elements where they belong", async () => {
  const file = await fileOf({ w: [2, 3, 4] });
  const read = async (name: string, shape: number[], rules: WeightRule[]) => [
    ...(await mapWeights(file, [{ name, shape }], rules).requireAll().read(name)).data,
  ];
  const at = (a: number, b: number, c: number) => a * 12 + b * 4 + c;
  const moved = await read("w", [4, 2, 3], [{ match: /w/, transpose: [2, 0, 1] }]);
  moved.forEach((x, i) => assert.equal(x, at(Math.floor(i / 3) % 2, i % 3, Math.floor(i / 6))));
  assert.deepEqual(
    await read("w", [6, 4], [{ match: /w/, reshape: [-1, 4] }]),
    Array.from({ length: 24 }, (_, i) => i),
  );
  const split: WeightRule = { match: /w/, split: { axis: 1, to: ["p", "q"], sizes: [1, 2] } };
  assert.deepEqual(await read("p", [2, 1, 4], [split]), [0, 1, 2, 3, 12, 13, 14, 15]);
  assert.deepEqual(
    await read("q", [2, 4, 2], [split, { match: /q/, transpose: [0, 2, 1] }]),
    [4, 8, 5, 9, 6, 10, 7, 11, 16, 20, 17, 21, 18, 22, 19, 23],
  );
});

Deno.test("mapping: rules that don't fit say so", async () => {
  const file = await fileOf({ w: [2, 3], v: [2] });
  const fails = (rule: WeightRule, message: RegExp, kind = ModelError) =>
    assert.throws(() => mapWeights(file, [], [rule]), (error) => {
      assert.ok(error instanceof kind);
      assert.match((error as Error).message, message);
      return true;
    });
  fails({ match: /^w/, transpose: [0] }, /matches "w" \(2×3\); it can't be transposed by \[0\]/);
  fails({ match: /^w/, reshape: [4, -1] }, /reshaped to \[4,-1\]/);
  fails({ match: /^w/, reshape: [-1, -1] }, /reshaped/);
  fails({ match: /^w/, split: { axis: 1, to: ["a", "b"] } }, /axis 1 can't be split into 2 parts/);
  fails({ match: /^w/, split: { axis: 2, to: ["a"] } }, /axis 2/);
  fails({ match: /^w/, split: { axis: 0, to: ["a"], sizes: [1, 1] } }, /each part/, OptionError);
  fails({ match: /^./, to: "x" }, /"w" and "v" both become "x"|"v" and "w" both become "x"/);
});

Deno.test("mapping: a network's flat vector is filled, and what is missing keeps its values", async () => {
  const graph = new Graph("trial");
  const layout = ParameterLayout.of(graph, (scope) => {
    scope.scope("a").parameter("weight", [2, 2], { constant: 9 });
    scope.scope("b").parameter("bias", [3], { constant: 9 });
    scope.parameter("scale", [], { constant: 9 });
  });
  const flat = new Float32Array(layout.size).fill(9);
  const file = await fileOf({ "a.weight": [2, 2], "b.bias": [3] });
  await mapWeights(file, layout.entries).fill(layout.entries, flat);
  assert.deepEqual([...flat], [0, 1, 2, 3, 0, 1, 2, 9]);
});
