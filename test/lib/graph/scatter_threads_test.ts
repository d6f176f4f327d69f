import assert from "node:assert/strict";
import { type Dim, gradients, Graph, ops, type Value } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32, HostTensor, sizeOf, type Tensor } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

/** Sums over repeated places that are large enough for several threads. */
const sums: Record<string, (graph: Graph, count: Dim) => Value> = {
  "the gradient of gather"(graph, count) {
    const table = graph.input("table", [40, 128]);
    const indices = graph.input("indices", [count], "int64");
    const updates = graph.input("updates", [count, 128]);
    return gradients(ops.reduceSum(ops.mul(ops.gather(table, indices), updates)), [table])[0]!;
  },
  "the gradient of gatherND"(graph, count) {
    const table = graph.input("table", [40, 128]);
    const indices = graph.input("indices", [count], "int64");
    const updates = graph.input("updates", [count, 128]);
    const rows = ops.gatherND(table, ops.unsqueeze(indices, [1]));
    return gradients(ops.reduceSum(ops.mul(rows, updates)), [table])[0]!;
  },
  "the gradient of gridSample"(graph, count) {
    const table = graph.input("table", [40, 128]);
    const indices = graph.input("indices", [count], "int64");
    const updates = graph.input("updates", [count, 128]);
    const image = ops.reshape(ops.transpose(table, [1, 0]), [1, 128, 1, 40]);
    const x = ops.sub(ops.mul(ops.add(ops.cast(indices, "float32"), 0.5), 2 / 40), 1);
    const places = ops.concat([ops.unsqueeze(x, [1]), ops.unsqueeze(ops.mul(x, 0), [1])], 1);
    const seen = ops.gridSample(image, ops.reshape(places, [1, 1, -1, 2]));
    const rows = ops.transpose(ops.reshape(seen, [128, -1]), [1, 0]);
    return gradients(ops.reduceSum(ops.mul(rows, updates)), [table])[0]!;
  },
  "scatterAdd"(graph, count) {
    const zeros = ops.mul(graph.input("table", [40, 128]), 0);
    const indices = graph.input("indices", [count], "int64");
    return ops.scatterAdd(zeros, indices, graph.input("updates", [count, 128]));
  },
};

async function judge(name: string, count: number, dim: Dim): Promise<void> {
  const graph = new Graph("sums");
  graph.output("sum", sums[name]!(graph, dim));
  const rng = new Rng(9);
  const places = Array.from({ length: count }, () => rng.integer(9));
  const updates = Float32Array.from({ length: count * 128 }, () => rng.normal());
  const expected = new Float64Array(40 * 128);
  updates.forEach((x, i) => expected[places[Math.floor(i / 128)]! * 128 + i % 128]! += x);
  const inputs: Record<string, Tensor> = {
    table: float32([40, 128], new Float32Array(sizeOf([40, 128])).fill(1)),
    indices: new HostTensor("int64", [count], BigInt64Array.from(places, BigInt)),
    updates: float32([count, 128], updates),
  };
  const engine = await ortNodeEngine({ threads: 2 });
  const session = await engine.load(graph.toOnnx());
  for (let round = 0; round < 20; round++) {
    const { sum } = await session.run(inputs);
    const worst = (await sum!.read() as Float32Array).reduce(
      (most, x, i) => Math.max(most, Math.abs(x - expected[i]!)),
      0,
    );
    assert.ok(worst < 1e-3, `round ${round}: off by ${worst}`);
  }
  await session.dispose();
}

for (const name of Object.keys(sums)) {
  Deno.test(`${name}: two threads lose none of the sums at one place`, async () => {
    await judge(name, 4000, 4000);
  });
}

Deno.test("scatterAdd of an unknown number of rows: two threads lose none of the sums", async () => {
  await judge("scatterAdd", 4000, "N");
});
