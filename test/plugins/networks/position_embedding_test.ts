import assert from "node:assert/strict";
import fc from "fast-check";
import { Graph, ops, type Value } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32, type HostTensor, sizeOf } from "../../../lib/tensor.ts";
import {
  interpolatePositions,
  sinePositions,
} from "../../../plugins/networks/position_embedding.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

const engine = await ortNodeEngine({ threads: 1 });
const side = fc.integer({ min: 1, max: 5 });
const runs = { numRuns: 30 };

async function evaluate(
  build: (graph: Graph) => Value,
  feeds: Record<string, HostTensor> = {},
): Promise<Float32Array> {
  const graph = new Graph("positions");
  graph.output("y", build(graph));
  const session = await engine.load(graph.toOnnx());
  try {
    return await (await session.run(feeds))["y"]!.read() as Float32Array;
  } finally {
    await session.dispose();
  }
}

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) => assert.ok(Math.abs(x - expected[i]!) <= 2e-6, `${x}, ${expected[i]}`));
}

function randomTensor(rng: Rng, shape: number[]): HostTensor<"float32"> {
  return float32(shape, Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()));
}

Deno.test("positions: a table of equal rows stays one at any size", () =>
  fc.assert(
    fc.asyncProperty(
      ...[side, side, side, side] as const,
      fc.constantFrom("bicubic", "bilinear"),
      async (rows, columns, height, width, method) => {
        const y = await evaluate((graph) => {
          const table = ops.expand(graph.constant([0.5, -2]), [rows * columns, 2]);
          return interpolatePositions(table, [rows, columns], [height, width], method);
        });
        const row = Float32Array.from({ length: 2 * height * width }, (_, i) => i % 2 ? -2 : 0.5);
        assertClose(y, row);
      },
    ),
    runs,
  ));

Deno.test("positions: sizes known only at run time give the same", () =>
  fc.assert(
    fc.asyncProperty(
      ...[side, side, side, side] as const,
      fc.integer(),
      async (rows, columns, height, width, seed) => {
        const table = randomTensor(new Rng(seed), [rows * columns, 4]);
        const map = float32([height, width]);
        const both = (known: boolean) => (graph: Graph) => {
          const like = graph.input("map", known ? [height, width] : ["H", "W"]);
          const [h, w] = [ops.dimOf(like, 0), ops.dimOf(like, 1)];
          const learned = interpolatePositions(
            graph.input("table", table.shape),
            [rows, columns],
            [h, w],
            "bilinear",
          );
          return ops.add(learned, sinePositions(graph, h, w, 4));
        };
        const feeds = { table, map };
        assertClose(await evaluate(both(false), feeds), await evaluate(both(true), feeds));
      },
    ),
    runs,
  ));

Deno.test("positions: what can't be is refused", () => {
  const graph = new Graph("refused");
  const table = graph.input("table", [4, 8]);
  const image = graph.input("image", ["H", "W"]);
  const size = [ops.dimOf(image, 0), ops.dimOf(image, 1)] as const;
  assert.throws(
    () => interpolatePositions(table, [2, 2], size),
    /ShapeError: .*bicubic.*needs a known size/,
  );
  assert.throws(() => sinePositions(graph, 2, 2, 6), /ShapeError: .*6 channels.*multiple of 4/);
});
