import assert from "node:assert/strict";
import fc from "fast-check";
import { gradients, Graph, ops } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import {
  choosePoints,
  pointCounts,
  sampleAt,
  sampleDifferentiably,
  uniformPoints,
} from "../../../plugins/training/point_sampling.ts";
import type { HostTensor } from "../../../lib/tensor.ts";

const engine = await ortNodeEngine({ threads: 2 });
const read = async (graph: Graph, inputs: Record<string, HostTensor>, name: string) => {
  const session = await engine.load(graph.toOnnx());
  const outputs = await session.run(inputs);
  const values = await outputs[name]!.read() as Float32Array;
  await session.dispose();
  return values.slice();
};

Deno.test("point counts: they add up, and there are candidates for all that are chosen", () => {
  assert.deepEqual(pointCounts({ count: 100, oversample: 3, importance: 0.75 }), {
    candidates: 300,
    uncertain: 75,
    random: 25,
  });
  fc.assert(fc.property(
    fc.integer({ min: 4, max: 500 }),
    fc.double({ min: 1, max: 5, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    (count, oversample, importance) => {
      const { candidates, uncertain, random } = pointCounts({ count, oversample, importance });
      assert.equal(uncertain + random, count);
      assert.ok(candidates >= uncertain && random >= 0);
    },
  ));
});

Deno.test("sampling: by hand and by GridSample the same values, at the borders too", async () => {
  const [maps, height, width, samples] = [3, 5, 4, 200];
  const rng = new Rng(4);
  const graph = new Graph("sampling");
  const x = graph.input("x", [maps, height, width]);
  const points = graph.input("points", [maps, samples, 1, 2]);
  const mine = sampleDifferentiably(x, points);
  graph.output("mine", mine);
  const theirs = sampleAt(ops.reshape(x, [maps, 1, height, width]), points);
  graph.output("theirs", theirs);
  const loss = (y: typeof mine) => ops.reduceSum(ops.mul(y, y));
  graph.output("mine_gradient", gradients(loss(mine), [x])[0]!);
  graph.output("theirs_gradient", gradients(loss(theirs), [x])[0]!);
  const inputs = {
    x: float32(
      [maps, height, width],
      Float32Array.from({ length: maps * height * width }, () => rng.normal()),
    ),
    points: uniformPoints(rng, maps, samples),
  };
  // Corners, centres and what lies on the very border.
  inputs.points.data.set([-1, -1, 1, 1, 0, 0, -1, 1, 0.75, -0.8]);
  for (const suffix of ["", "_gradient"]) {
    const [a, b] = [
      await read(graph, inputs, `mine${suffix}`),
      await read(graph, inputs, `theirs${suffix}`),
    ];
    a.forEach((value, i) => assert.ok(Math.abs(value - b[i]!) < 1e-4, `${i}: ${value}, ${b[i]}`));
  }
});

Deno.test("choosing points: the most uncertain candidates, then the random ones", async () => {
  const [maps, side, candidates, uncertain] = [4, 8, 60, 15];
  const rng = new Rng(6);
  const graph = new Graph("choosing");
  const logits = graph.input("logits", [maps, 1, side, side]);
  const offered = graph.input("candidates", [maps, candidates, 1, 2]);
  const random = graph.input("random", [maps, 5, 1, 2]);
  graph.output("points", choosePoints(logits, offered, random, uncertain));
  graph.output("values", sampleAt(logits, offered));
  const inputs = {
    logits: float32(
      [maps, 1, side, side],
      Float32Array.from({ length: maps * side * side }, () => 3 * rng.normal()),
    ),
    candidates: uniformPoints(rng, maps, candidates),
    random: uniformPoints(rng, maps, 5),
  };
  const points = await read(graph, inputs, "points");
  const values = await read(graph, inputs, "values");
  const pair = (data: Float32Array, at: number) => `${data[2 * at]},${data[2 * at + 1]}`;
  for (let m = 0; m < maps; m++) {
    const order = Array.from({ length: candidates }, (_, i) => i).sort((i, j) =>
      Math.abs(values[m * candidates + i]!) - Math.abs(values[m * candidates + j]!)
    );
    const wanted = order.slice(0, uncertain).map((i) =>
      pair(inputs.candidates.data, m * candidates + i)
    );
    const chosen = Array.from({ length: 20 }, (_, i) => pair(points, 20 * m + i));
    assert.deepEqual(chosen.slice(0, uncertain).sort(), wanted.sort());
    const rest = Array.from({ length: 5 }, (_, i) => pair(inputs.random.data, 5 * m + i));
    assert.deepEqual(chosen.slice(uncertain), rest);
  }
});
