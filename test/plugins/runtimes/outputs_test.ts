import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError, OptionError, ShapeError } from "../../../lib/errors.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import type { Engine } from "../../../lib/runtime.ts";
import { type DType, float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { ortWebEngine } from "../../../plugins/runtimes/ort_web.ts";

/** Outputs of every type, whose shapes are known (`y`), known with the inputs, or not at all. */
function model(): Uint8Array {
  const graph = new Graph("outputs");
  const x = graph.input("x", ["N", 3]);
  graph.output("square", ops.mul(x, x));
  graph.output("sum", ops.reduceSum(x));
  graph.output("twice", ops.concat([x, x], 0));
  for (const dtype of ["float16", "int32", "int64", "uint8"] as const) {
    graph.output(dtype, ops.cast(x, dtype));
  }
  graph.output("bool", ops.greater(x, graph.constant(2)));
  return graph.toOnnx();
}

function* numbers(data: HostTensor["data"]): Generator<number> {
  for (const value of data) yield Number(value);
}

const engines: readonly Engine[] = [await ortNodeEngine(), await ortWebEngine({ threads: 2 })];

for (const engine of engines) {
  const kind = engine.name.split(" ")[0];

  Deno.test(`${kind}: results go to the tensors that are given, wherever they lie`, async () => {
    const session = await engine.load(model(), { threads: 1 });
    const names = session.outputNames;
    const shapes = (n: number): Record<string, number[]> => ({
      ...Object.fromEntries(names.map((name) => [name, [n, 3]])),
      sum: [],
      twice: [2 * n, 3],
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 9 }),
        fc.subarray([...names]),
        fc.nat(5),
        async (n, chosen, gap) => {
          const x = float32([n, 3], Float32Array.from({ length: 3 * n }, (_, i) => i % 7));
          const expected = await session.run({ x });
          const given: Record<string, HostTensor> = {};
          const around: HostTensor["data"][] = [];
          for (const name of chosen) {
            const { dtype } = expected[name]!;
            const { data: { length } } = new HostTensor<DType>(dtype, shapes(n)[name]!);
            // Somewhere inside of a longer array, whose other elements must stay.
            const whole = new HostTensor<DType>(dtype, [length + 2 * gap]).data;
            if (whole instanceof BigInt64Array) whole.fill(99n);
            else whole.fill(99);
            around.push(whole);
            const data = whole.subarray(gap, gap + length) as HostTensor["data"];
            given[name] = new HostTensor<DType>(dtype, shapes(n)[name]!, data);
          }
          const got = await session.run({ x }, given);
          assert.deepEqual(Object.keys(got).sort(), [...names].sort());
          for (const name of names) {
            if (given[name]) assert.equal(got[name], given[name]);
            assert.deepEqual(got[name]!.shape, shapes(n)[name]);
            assert.deepEqual(await got[name]!.read(), await expected[name]!.read(), name);
          }
          for (const whole of around) {
            const all = [...numbers(whole)];
            const rest = [...all.slice(0, gap), ...all.slice(all.length - gap || all.length)];
            assert(rest.every((value) => value === 99));
          }
        },
      ),
      { numRuns: 60, seed: 21 },
    );
    await session.dispose();
  });

  Deno.test(`${kind}: outputs that don't fit are refused by name, and the session goes on`, async () => {
    const session = await engine.load(model(), { threads: 1 });
    const x = float32([2, 3]);
    const memory = new Float32Array(12);
    const part = (from: number) => float32([2, 3], memory.subarray(from, from + 6));
    const cases: [Record<string, Tensor>, new (message: string) => Error, RegExp][] = [
      [{ cube: x }, ShapeError, /output "cube": the model gives "square", "sum"/],
      [{ square: float32([3, 3]) }, ShapeError, /output "square" .* 3×3; must be 2×3 \(N×3\)/],
      [{ square: float32([6]) }, ShapeError, /output "square" .* 6; must be 2×3/],
      [{ sum: float32([1]) }, ShapeError, /output "sum" .* 1; must be scalar/],
      [{ twice: float32([3, 3]) }, ShapeError, /output "twice" .* 3×3; must be 4×3/],
      [{ int64: x }, ShapeError, /output "int64" is float32; must be int64/],
      [{ square: x }, OptionError, /output "square" shares memory with input "x"/],
      [
        { square: part(0), twice: float32([4, 3], memory) },
        OptionError,
        /output "twice" shares memory with output "square"/,
      ],
      [
        { square: { ...x, read: () => x.read(), dispose() {} } as Tensor },
        OptionError,
        /output "square" must be a HostTensor/,
      ],
    ];
    for (const [outputs, type, message] of cases) {
      await assert.rejects(session.run({ x }, outputs), (error) => {
        assert(error instanceof type, String(error));
        assert.match((error as Error).message, message);
        return true;
      });
    }
    // Neighbours in one array don't share memory.
    const { square } = await session.run({ x: part(6) }, { square: part(0) });
    assert.deepEqual(await square!.read(), new Float32Array(6));
    await session.dispose();
  });

  Deno.test(`${kind}: a run that fails leaves the session usable`, async () => {
    const graph = new Graph("six");
    graph.output("y", ops.reshape(graph.input("x", ["N"]), [6]));
    const session = await engine.load(graph.toOnnx());
    await assert.rejects(session.run({ x: float32([5]) }), ModelError);
    assert.deepEqual((await session.run({ x: float32([6]) }))["y"]!.shape, [6]);
    await session.dispose();
  });

  Deno.test(`${kind}: what is written to given outputs leaves no copies behind`, async () => {
    const graph = new Graph("big");
    const size = 2 ** 20;
    const x = graph.input("x", [size]);
    graph.output("y", ops.add(x, x));
    const session = await engine.load(graph.toOnnx(), { threads: 1 });
    const [input, y] = [float32([size]), float32([size])];
    await session.run({ x: input }, { y });
    const before = Deno.memoryUsage().external;
    for (let i = 0; i < 10; i++) await session.run({ x: input }, { y });
    const grown = Deno.memoryUsage().external - before;
    assert(grown < 4 * size, `${grown} bytes more after 10 runs with outputs of ${4 * size}`);
    await session.dispose();
  });

  Deno.test(`${kind}: a bound on threads is a positive integer`, async () => {
    for (const threads of [0, -1, 1.5, NaN, Infinity]) {
      await assert.rejects(engine.load(model(), { threads }), OptionError);
      await assert.rejects(ortNodeEngine({ threads }), OptionError);
      await assert.rejects(ortWebEngine({ threads }), OptionError);
    }
    await (await ortWebEngine({ threads: 1 })).load(model()).then((session) => session.dispose());
  });
}

const tasks = "/proc/self/task";

Deno.test({
  name: "onnxruntime-node: a session has as many threads as the bound says",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const graph = new Graph("product");
    const x = graph.input("x", [64, 64]);
    graph.output("y", ops.matMul(x, x));
    const count = () => [...Deno.readDirSync(tasks)].length;
    for (const threads of [1, 2, 5]) {
      const before = count();
      const session = await engines[0]!.load(graph.toOnnx(), { threads });
      await session.run({ x: float32([64, 64]) });
      // The calling thread works, too.
      assert.equal(count() - before, threads - 1);
      await session.dispose();
    }
    const before = count();
    const session = await (await ortNodeEngine({ threads: 3 })).load(graph.toOnnx());
    assert.equal(count() - before, 2);
    await session.dispose();
  },
});
