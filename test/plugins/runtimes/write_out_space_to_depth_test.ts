import assert from "node:assert/strict";
import { Graph, ops } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { parseOnnx } from "../../../lib/weights/onnx_model.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { writeOutSpaceToDepth } from "../../../plugins/runtimes/write_out_space_to_depth.ts";

/** Two in a row, with operators before, between and behind. */
function model(first: number, second: number): Uint8Array {
  const graph = new Graph("blocks");
  const x = ops.mul(graph.input("x", ["B", 3, "H", "W"]), 2);
  const once = ops.relu(ops.spaceToDepth(x, first));
  graph.output("y", ops.add(ops.spaceToDepth(once, second), 1));
  return graph.toOnnx();
}

Deno.test("SpaceToDepth written out computes the same, bit for bit", async () => {
  await using device = await acquireDevice("cpu");
  const rng = new Rng(7);
  for (const [first, second] of [[1, 2], [2, 2], [2, 3], [4, 1]] as const) {
    const bytes = model(first, second);
    const written = writeOutSpaceToDepth(bytes);
    const ops = readOps(written).filter((op) => op === "SpaceToDepth");
    assert.deepEqual(ops, []);
    const [expected, found] = [await device.engine.load(bytes), await device.engine.load(written)];
    for (const [batch, rows, columns] of [[1, 1, 1], [2, 3, 2], [1, 2, 5]] as const) {
      const side = first * second;
      const x = float32([batch, 3, rows * side, columns * side]);
      for (let i = 0; i < x.data.length; i++) x.data[i] = rng.normal();
      const [a, b] = [(await expected.run({ x })).y!, (await found.run({ x })).y!];
      assert.deepEqual(b.shape, a.shape);
      assert.deepEqual(await b.read(), await a.read());
    }
    await expected.dispose();
    await found.dispose();
  }
});

Deno.test("what has no SpaceToDepth, or is no model, stays as it is", () => {
  const graph = new Graph("none");
  graph.output("y", ops.relu(graph.input("x", ["N"])));
  for (const bytes of [graph.toOnnx(), new Uint8Array(), Uint8Array.of(255, 255, 3, 58, 200)]) {
    assert.equal(writeOutSpaceToDepth(bytes), bytes);
  }
  const cut = model(2, 2).subarray(0, 60);
  assert.equal(writeOutSpaceToDepth(cut), cut);
});

function readOps(bytes: Uint8Array): string[] {
  const { graph } = parseOnnx(bytes, "written");
  return graph.nodes.map(({ op }) => op);
}
