import assert from "node:assert/strict";
import fc from "fast-check";
import { OptionError, ShapeError } from "../../../lib/errors.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { GradientAccumulator } from "../../../lib/optim/gradient_accumulator.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

Deno.test("the mean over micro-batches is the gradient of the whole batch, to rounding", async () => {
  const graph = new Graph("net");
  const x = graph.input("x", ["B", 5]);
  const weight = graph.input("weight", [5, 3]);
  const scores = ops.logSoftmax(ops.gelu(ops.matMul(x, weight)));
  // The mean over a batch whose size only the run knows.
  const count = graph.input("count", []);
  const loss = ops.div(ops.reduceSum(ops.mul(scores, scores)), count);
  graph.output("grad", ops.reshape(gradients(loss, [weight])[0]!, [15]));
  const session = await (await ortNodeEngine({ threads: 1 })).load(graph.toOnnx());
  const rng = new Rng(2);
  const weights = Float32Array.from({ length: 15 }, () => rng.normal());
  const gradient = async (rows: Float32Array) => {
    const given = await session.run({
      x: float32([rows.length / 5, 5], rows),
      weight: float32([5, 3], weights),
      count: float32([], Float32Array.of(rows.length / 5)),
    });
    return await given["grad"]!.read() as Float32Array;
  };
  const accumulator = new GradientAccumulator(15);
  for (const sizes of [[4, 4, 4], [1, 7, 2, 2], [12], [5, 6]]) {
    const total = sizes.reduce((a, b) => a + b);
    const all = Float32Array.from({ length: total * 5 }, () => rng.normal());
    let start = 0;
    for (const size of sizes) {
      accumulator.add(await gradient(all.slice(start * 5, (start + size) * 5)), size);
      start += size;
    }
    assert.equal(accumulator.weight, total);
    const mean = accumulator.take();
    (await gradient(all)).forEach((value, i) => {
      assert.ok(Math.abs(mean[i]! - value) <= 2e-6 * Math.max(1, Math.abs(value)));
    });
    assert.equal(accumulator.weight, 0);
  }
  await session.dispose();
});

Deno.test("one gradient comes back as it is, whatever its weight", () => {
  const finite = fc.float({ min: -1000, max: 1000, noNaN: true });
  fc.assert(fc.property(
    fc.array(finite),
    fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
    (values, weight) => {
      const accumulator = new GradientAccumulator(values.length);
      const grads = Float32Array.from(values);
      accumulator.add(grads, weight);
      accumulator.take().forEach((value, i) => assert.equal(value, grads[i]! + 0));
    },
  ));
});

Deno.test("wrong sizes and weights are named", () => {
  assert.throws(() => new GradientAccumulator(-1), /size is -1/);
  const accumulator = new GradientAccumulator(2);
  assert.throws(() => accumulator.add(new Float32Array(3)), ShapeError);
  assert.throws(() => accumulator.add(new Float32Array(2), 0), /weight is 0/);
  assert.throws(() => accumulator.take(), OptionError);
});
