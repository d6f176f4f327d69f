import assert from "node:assert/strict";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { Rng } from "../../../lib/rng.ts";
import { HostTensor, sizeOf } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { type Array64, arrayOf, interpret } from "./interpreter.ts";

const engine = await ortNodeEngine({ threads: 1 });

const numbers = (values: Array64[]) => values.map(({ data }) => [...data]);

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) {
  assert.equal(actual.length, expected.length);
  Array.from(expected).forEach((value, i) => {
    const error = Math.abs(actual[i]! - value);
    assert.ok(error <= tolerance * Math.max(1, Math.abs(value)), `[${i}] ${actual[i]} ≠ ${value}`);
  });
}

/** One step of a random program: an operator and which earlier values it takes. */
interface Step {
  op: number;
  a: number;
  b: number;
}

// Tame functions, so that programs of any length stay in range.
const steps: ((a: Value, b: Value) => Value)[] = [
  (a, b) => ops.add(a, b),
  (a, b) => ops.sub(a, b),
  (a, b) => ops.mul(ops.tanh(a), ops.sigmoid(b)),
  (a) => ops.softmax(a, -1),
  (a, b) => ops.matMul(ops.matMul(ops.tanh(a), ops.transpose(b, [1, 0])), a),
  (a, b) => ops.concat([ops.slice(a, 1, 0, 1), ops.slice(b, 1, -2)], 1),
  (a, b) => {
    const [top] = ops.split(a, [1, 1], 0);
    return ops.add(top!, b);
  },
  (a) => ops.mul(a, ops.reduceMean(a, [0], true)),
  (a) => ops.stopGradient(a),
  (a, b) => ops.div(a, ops.add(ops.mul(b, b), 1)),
];

const program = fc.array(
  fc.record({ op: fc.nat(steps.length - 1), a: fc.nat(), b: fc.nat() }),
  { maxLength: 9 },
);

/** Runs a program on 2×3 values; `stopped` replaces what the stopGradient steps give. */
function execute(inputs: Value[], list: Step[], stopped?: Value[]): { all: Value[]; loss: Value } {
  const all = [...inputs];
  let stops = 0;
  for (const { op, a, b } of list) {
    const value = op === 8 && stopped
      ? stopped[stops++]!
      : steps[op]!(all[a % all.length]!, all[b % all.length]!);
    all.push(value);
  }
  const loss = ops.reduceSum(ops.tanh(all.reduce((x, y) => ops.add(ops.mul(x, 0.7), y))));
  return { all, loss };
}

const feedsFor = (names: string[], seed: number) => {
  const rng = new Rng(seed);
  return Object.fromEntries(
    names.map((name) => [name, arrayOf(Array.from({ length: 6 }, () => rng.normal()), [2, 3])]),
  );
};

Deno.test("programs that use values many times: gradients are the slopes", () => {
  fc.assert(
    fc.property(program, fc.nat(1000), (list, seed) => {
      const graph = new Graph("program");
      const inputs = ["x", "y"].map((name) => graph.input(name, [2, 3], "float64"));
      const feeds = feedsFor(["x", "y"], seed);
      const { all, loss } = execute(inputs, list);
      const grads = interpret(graph, feeds, gradients(loss, inputs));

      // For the slopes, what was stopped is held fast at its value.
      const stops = list.flatMap(({ op }, i) => op === 8 ? [all[i + 2]!] : []);
      const held = interpret(graph, feeds, stops);
      const twin = new Graph("twin");
      const twins = ["x", "y"].map((name) => twin.input(name, [2, 3], "float64"));
      const constants = held.map(({ data }) => twin.constant([...data], [2, 3], "float64"));
      const same = execute(twins, list, constants).loss;
      const step = 1e-5;
      for (const [k, name] of ["x", "y"].entries()) {
        const x = feeds[name]!;
        const at = (i: number, by: number) => {
          const moved = { shape: x.shape, data: x.data.with(i, x.data[i]! + by) };
          return interpret(twin, { ...feeds, [name]: moved }, [same])[0]!.data[0]!;
        };
        const slopes = x.data.map((_, i) => (at(i, step) - at(i, -step)) / (2 * step));
        const scale = slopes.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
        assertClose(grads[k]!.data.map((v) => v / scale), slopes.map((v) => v / scale), 1e-4);
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("the gradient by a value inside the graph is that by a zero added to it", () => {
  fc.assert(
    fc.property(program, fc.nat(), fc.nat(1000), (list, at, seed) => {
      const graph = new Graph("inside");
      const inputs = ["x", "y"].map((name) => graph.input(name, [2, 3], "float64"));
      const zero = graph.input("zero", [2, 3], "float64");
      const before = execute(inputs, list.slice(0, at % (list.length + 1))).all;
      const target = ops.add(before.at(-1)!, zero);
      const { loss } = execute([...before, target], list.slice(at % (list.length + 1)));
      const feeds = { ...feedsFor(["x", "y"], seed), zero: arrayOf(new Float64Array(6), [2, 3]) };
      const [inside, added] = interpret(graph, feeds, gradients(loss, [target, zero]));
      assertClose(inside!.data, added!.data, 1e-12);
    }),
    { numRuns: 50 },
  );
});

Deno.test("values that the loss doesn't depend on have zeros of their shape", () => {
  const graph = new Graph("apart");
  const x = graph.input("x", [2]);
  const other = graph.input("other", [3, 1]);
  const after = ops.exp(x);
  const loss = ops.reduceSum(ops.mul(x, x));
  const grads = gradients(loss, [other, after, x, loss]);
  assert.deepEqual(grads.map((g) => g.shape), [[3, 1], [2], [2], []]);
  const values = interpret(graph, { x: arrayOf([2, -3]) }, grads);
  assert.deepEqual(numbers(values), [[0, 0, 0], [0, 0], [4, -6], [1]]);
});

Deno.test("nothing is computed for values that nobody asked about", () => {
  const graph = new Graph("lazy");
  const x = graph.input("x", [2, 3]);
  const weight = graph.input("weight", [3, 4]);
  const loss = ops.reduceSum(ops.matMul(ops.exp(x), weight));
  const [dWeight] = gradients(loss, [weight]);
  graph.output("dWeight", dWeight!);
  const before = graph.nodes.length;
  assert.deepEqual(gradients(loss, []), []);
  assert.ok(graph.nodes.length <= before + 1);
  // The gradient by the weight needs no value of the weight.
  const values = interpret(graph, { x: arrayOf(new Float64Array(6), [2, 3]) }, [dWeight!]);
  assert.deepEqual([...values[0]!.data], new Array(12).fill(2));
});

Deno.test("stopGradient makes a constant of a value", () => {
  const graph = new Graph("stop");
  const x = graph.input("x", [3]);
  const stopped = ops.stopGradient(ops.mul(x, 2));
  const loss = ops.reduceSum(ops.mul(x, stopped));
  const feeds = { x: arrayOf([1, 2, 3]) };
  const grads = gradients(loss, [x, stopped]);
  assert.deepEqual(numbers(interpret(graph, feeds, grads)), [[2, 4, 6], [1, 2, 3]]);
});

Deno.test("at ties: the first operand takes all, the largest elements share, relu has none", () => {
  const graph = new Graph("ties");
  const a = graph.input("a", [3]);
  const b = graph.input("b", [3]);
  const feeds = { a: arrayOf([1, 5, 0]), b: arrayOf([1, 5, 0]) };
  const by = (loss: Value) => numbers(interpret(graph, feeds, gradients(loss, [a, b])));
  assert.deepEqual(by(ops.reduceSum(ops.max(a, b))), [[1, 1, 1], [0, 0, 0]]);
  assert.deepEqual(by(ops.reduceSum(ops.min(a, b))), [[1, 1, 1], [0, 0, 0]]);
  assert.deepEqual(by(ops.reduceSum(ops.relu(a))), [[1, 1, 0], [0, 0, 0]]);
  const both = ops.concat([a, b], 0);
  assert.deepEqual(by(ops.reduceMax(both)), [[0, 0.5, 0], [0, 0.5, 0]]);
});

Deno.test("at zeros, bounds and ties gradients are finite, and one of the slopes beside them", () => {
  const by = (f: (x: Value) => Value, at: readonly number[]) => {
    const graph = new Graph("edge");
    const x = graph.input("x", [at.length], "float64");
    const grads = gradients(ops.reduceSum(f(x)), [x]);
    return [...interpret(graph, { x: arrayOf(at) }, grads)[0]!.data].map((value) => value + 0);
  };
  const exponent = (...values: number[]) => (x: Value) =>
    ops.pow(x, x.graph.constant(values, [values.length], "float64"));
  assert.deepEqual(by((x) => ops.pow(x, 0), [0, 2, -1]), [0, 0, 0]);
  assert.deepEqual(by((x) => ops.pow(x, 1), [0, 2, -1]), [1, 1, 1]);
  assert.deepEqual(by((x) => ops.pow(x, 2), [0, 2, -1]), [0, 4, -2]);
  assert.deepEqual(by(exponent(0, 1, 2, 0, 3), [0, 0, 0, 5, -2]), [0, 1, 0, 0, 12]);
  assert.deepEqual(by((x) => ops.pow(ops.mul(x, 0), x), [1, 2, 3]), [0, 0, 0]);
  assert.deepEqual(by(ops.abs, [-2, 0, 3]), [-1, 0, 1]);
  assert.deepEqual(by((x) => ops.clip(x, -1, 1), [-2, -1, 0, 1, 2]), [0, 1, 1, 1, 0]);
  assert.deepEqual(by((x) => ops.reduceL2(x), [0, 0]), [0, 0]);
  assert.deepEqual(by((x) => ops.reduceL2(x), [0, -5]), [0, -1]);
  assert.deepEqual(by((x) => ops.reduceMin(x), [1, 0, 0]), [0, 0.5, 0.5]);
  assert.deepEqual(by((x) => ops.reduceMax(x), [2, 2, 2]), [1 / 3, 1 / 3, 1 / 3]);
  assert.deepEqual(by((x) => ops.max(x, x), [2, 0]), [1, 1]);
  assert.deepEqual(by((x) => ops.topK(x, 2).values, [5, 5, 5]), [1, 1, 0]);
  assert.deepEqual(by((x) => ops.l2Normalize(x), [0, 0]).map(Number.isFinite), [true, true]);
});

Deno.test("parts of symbolic sizes: joined, cut, walked backwards and rolled", async () => {
  const build = (rows: number | string) => {
    const graph = new Graph("parts");
    const x = graph.input("x", [rows, 3]);
    const token = graph.input("token", [1, 3]);
    const table = graph.input("table", [5, 3]);
    const all = ops.concat([token, x, ops.mul(x, x)], 0);
    const pieces = [
      ops.slice(all, 0, 1),
      ops.slice(all, 0, 0, -2),
      ops.slice(all, 0, -1),
      ops.slice(all, 0, 1, 3),
      ops.slice(all, 0, Infinity, -Infinity, -1),
      ops.roll(all, [1], [0]),
      ops.roll(all, [-2], [0]),
      ops.pad(all, [1, 0], [0, 2]),
      ops.tile(all, [2, 1]),
      // A table of known length, cut to the input's.
      ops.slice(table, 0, 0, ops.dimOf(x, 0)),
    ];
    const terms = pieces.map((piece, i) =>
      ops.reduceSum(ops.tanh(ops.mul(ops.cumSum(piece, 0), 0.1 * (i + 1))))
    );
    const loss = terms.reduce((a, b) => ops.add(a, b));
    const grads = gradients(loss, [x, token, table]);
    assert.deepEqual(grads.map((grad) => grad.shape), [x, token, table].map((v) => v.shape));
    pieces.forEach((piece, i) => graph.output(`piece${i}`, piece));
    grads.forEach((grad, i) => graph.output(`grad${i}`, grad));
    return graph;
  };
  const open = build("N");
  assert.deepEqual(
    [...open.outputs.values()].slice(0, 6).map(({ shape }) => shape[0]),
    ["2*N", "(2*N+-1)", 1, 2, "(2*N+1)", "(2*N+1)"],
  );
  const session = await engine.load(open.toOnnx());
  const rng = new Rng(6);
  for (const rows of [1, 4]) {
    const data = Float32Array.from({ length: rows * 3 }, () => rng.normal());
    const token = Float32Array.of(1, -2, 0.5);
    const table = Float32Array.from({ length: 15 }, () => rng.normal());
    const given = await session.run({
      x: new HostTensor("float32", [rows, 3], data),
      token: new HostTensor("float32", [1, 3], token),
      table: new HostTensor("float32", [5, 3], table),
    });
    const closed = build(rows);
    const feeds = {
      x: arrayOf(data, [rows, 3]),
      token: arrayOf(token, [1, 3]),
      table: arrayOf(table, [5, 3]),
    };
    const expected = interpret(closed, feeds, [...closed.outputs.values()]);
    for (const [i, name] of [...closed.outputs.keys()].entries()) {
      assert.deepEqual(given[name]!.shape, expected[i]!.shape, name);
      assertClose(arrayOf(await given[name]!.read()).data, expected[i]!.data, 2e-5);
    }
  }
  await session.dispose();
});

Deno.test("losses and rules that can't be are refused by name", () => {
  const graph = new Graph("refused");
  const x = graph.input("x", [2, 3]);
  const open = graph.input("open", ["N", 3]);
  const image = graph.input("image", [1, 1, "H", 4]);
  const refuse = (loss: Value, target: Value, pattern: RegExp) =>
    assert.throws(
      () => gradients(loss, [target]),
      (error) => error instanceof ShapeError && pattern.test(error.message),
    );
  refuse(x, x, /loss is 2×3, not a scalar/);
  const [, mean] = ops.layerNorm(x, graph.input("scale", [3]), null).node!.outputs;
  refuse(ops.reduceSum(mean!), x, /LayerNormalization: only its first result/);
  refuse(ops.reduceMean(open), open, /ReduceMean: N×3: .*axis 0/);
  refuse(ops.reduceSum(ops.resizeBilinear(image, 8, 8)), image, /Resize: 1×1×H×4: .*axis 2/);
  const one = ops.reduceSum(x, null, true);
  assert.deepEqual(gradients(one, [x])[0]!.shape, [2, 3]);
});

Deno.test("a batch of symbolic size differentiates like one of a known size", async () => {
  const rng = new Rng(3);
  const normal = (...shape: number[]) =>
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal() / 2);
  const weights = {
    conv: normal(4, 2, 3, 3),
    depthwise: normal(4, 1, 3, 3),
    pointwise: normal(4, 4, 1, 1),
    dense: normal(4, 6),
    table: normal(5, 6),
  };
  const network = (graph: Graph, batch: number | string) => {
    const image = graph.input("image", [batch, 2, 4, 4]);
    const tokens = graph.input("tokens", [batch, 3], "int64");
    const conv = graph.parameter("conv", new HostTensor("float32", [4, 2, 3, 3], weights.conv));
    const dense = graph.parameter("dense", new HostTensor("float32", [4, 6], weights.dense));
    const table = graph.parameter("table", new HostTensor("float32", [5, 6], weights.table));
    const [depthwise, pointwise] = (["depthwise", "pointwise"] as const).map((name) => {
      const shape = name === "depthwise" ? [4, 1, 3, 3] : [4, 4, 1, 1];
      return graph.parameter(name, new HostTensor("float32", shape, weights[name]));
    }) as [Value, Value];
    const stem = ops.gelu(ops.conv(image, conv, null, { strides: [2, 2], pads: [1, 1, 1, 1] }));
    const mixed = ops.conv(stem, depthwise, null, { pads: [1, 1, 1, 1], groups: 4 });
    const ones = graph.constant([1, 2, 0.5, 1]);
    const normed = ops.groupNorm(ops.conv(mixed, pointwise, null), 2, ones, ones);
    const features = ops.add(stem, normed);
    const rows = ops.transpose(ops.reshape(features, [ops.dimOf(image, 0), 4, -1]), [0, 2, 1]);
    const scale = graph.constant([1, 2, 1, 0.5, 1, 1]);
    const bias = graph.constant([0, 0, 0.5, 0, 0, 1]);
    const joint = ops.layerNorm(ops.matMul(rows, dense), scale, bias);
    const text = ops.gather(table, tokens);
    const scores = ops.einsum("bnd,btd->bnt", ops.l2Normalize(joint), text);
    const { values, indices } = ops.topK(ops.reduceLogSumExp(scores, [2]), 2);
    const best = ops.gatherElements(ops.reduceMax(scores, [2]), indices, 1);
    const chosen = ops.gather(joint, graph.constant([2, 0], [2], "int64"), 1);
    const loss = [values, best, ops.logSoftmax(scores, -1), ops.cumSum(chosen, 1)]
      .map((value) => ops.reduceSum(ops.tanh(value))).reduce((a, b) => ops.sub(a, b));
    const targets = [conv, depthwise, pointwise, dense, table, image];
    graph.output("loss", loss);
    gradients(loss, targets).forEach((grad, i) => {
      assert.deepEqual(grad.shape, targets[i]!.shape);
      graph.output(`d${i}`, grad);
    });
    return graph;
  };
  const session = await engine.load(network(new Graph("open"), "B").toOnnx());
  for (const batch of [1, 3]) {
    const image = normal(batch, 2, 4, 4);
    const tokens = Array.from({ length: batch * 3 }, () => rng.integer(5));
    const given = await session.run({
      image: new HostTensor("float32", [batch, 2, 4, 4], image),
      tokens: new HostTensor("int64", [batch, 3], BigInt64Array.from(tokens, BigInt)),
    });
    const known = network(new Graph("known"), batch);
    const feeds = { image: arrayOf(image, [batch, 2, 4, 4]), tokens: arrayOf(tokens, [batch, 3]) };
    const expected = interpret(known, feeds, [...known.outputs.values()]);
    for (const [i, name] of [...known.outputs.keys()].entries()) {
      assert.deepEqual(given[name]!.shape, expected[i]!.shape);
      const scale = expected[i]!.data.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-6);
      const actual = arrayOf(await given[name]!.read()).data.map((v) => v / scale);
      assertClose(actual, expected[i]!.data.map((v) => v / scale), 2e-5);
    }
  }
  await session.dispose();
});
