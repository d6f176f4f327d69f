import assert from "node:assert/strict";
import fc from "fast-check";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { vjpRules } from "../../../lib/graph/vjp.ts";
import { Rng } from "../../../lib/rng.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { type Built, graphOf } from "./case_graph.ts";
import { type Array64, arrayOf, interpret } from "./interpreter.ts";
import { helpers, type OperatorCase, operatorCases } from "./operator_cases.ts";

const engine = await ortNodeEngine({ threads: 1 });

function assertClose(actual: Array64, expected: Array64, tolerance: number, what: string): void {
  assert.deepEqual([...actual.shape], [...expected.shape], `${what}: shape`);
  const scale = expected.data.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
  expected.data.forEach((value, i) => {
    const error = Math.abs(actual.data[i]! - value);
    assert.ok(error <= tolerance * scale, `${what}[${i}]: ${actual.data[i]} is not ${value}`);
  });
}

const describe = (c: OperatorCase) =>
  `${c.operands.map((o) => `[${o.shape}]`).join(" ")} ${c.note ?? ""}`;

/** Central differences of the loss by elements of one input, at most 16 of them. */
function differences({ graph, loss, feeds }: Built, name: string, seed: number) {
  const x = feeds[name]!;
  const step = 1e-5;
  const at = (i: number, value: number) => {
    const moved = { shape: x.shape, data: x.data.with(i, value) };
    return interpret(graph, { ...feeds, [name]: moved }, [loss])[0]!.data[0]!;
  };
  const positions = new Rng(seed).shuffle(Array.from(x.data, (_, i) => i)).slice(0, 16);
  return positions.map((i) => {
    const value = x.data[i]!;
    return { i, slope: (at(i, value + step) - at(i, value - step)) / (2 * step) };
  });
}

Deno.test("every operator has cases", () => {
  const operators = Object.entries(ops).filter(([name, f]) =>
    typeof f === "function" && !helpers.includes(name)
  );
  assert.deepEqual(
    operators.map(([name]) => name).sort(),
    Object.keys(operatorCases).sort(),
    "an operator without a case in operator_cases.ts, or a case without an operator",
  );
});

for (const [name, cases] of Object.entries(operatorCases)) {
  Deno.test(`${name}: declared shapes, and ONNX Runtime's values and gradients`, async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(1e6), async (c, seed) => {
        const built = graphOf(c, seed, "float32");
        const { graph, inputs, results, loss, wants, feeds } = built;
        const targets = inputs.filter((_, i) => wants[i]);
        const values = [...results, ...gradients(loss, targets)];
        values.forEach((value, i) => graph.output(`y${i}`, value));
        const expected = interpret(graph, feeds, values);
        values.forEach((value, i) => {
          assert.deepEqual([...value.shape], [...expected[i]!.shape], describe(c));
        });
        const session = await engine.load(graph.toOnnx());
        const given = await session.run(
          Object.fromEntries(inputs.map((x) => {
            const { shape, data } = feeds[x.name]!;
            const tensor = x.dtype === "int64"
              ? new HostTensor("int64", shape, BigInt64Array.from(data, BigInt))
              : new HostTensor("float32", shape, Float32Array.from(data));
            return [x.name, tensor];
          })),
        );
        for (const [i, value] of values.entries()) {
          const tensor = given[`y${i}`]!;
          assert.equal(tensor.dtype, value.dtype, describe(c));
          const what = `${i < results.length ? "result" : "gradient"} ${i} of ${describe(c)}`;
          const array = arrayOf(await tensor.read(), tensor.shape);
          assertClose(array, expected[i]!, i < results.length ? 1e-5 : 5e-5, what);
        }
        await session.dispose();
      }),
      { numRuns: 12 },
    );
  });

  Deno.test(`${name}: gradients are the slopes of the interpreter`, () => {
    fc.assert(
      fc.property(cases, fc.nat(1e6), (c, seed) => {
        const built = graphOf(c, seed, "float64");
        const { graph, inputs, loss, wants, feeds } = built;
        const targets = inputs.filter((_, i) => wants[i]);
        const grads = gradients(loss, targets);
        const values = interpret(graph, feeds, grads);
        targets.forEach((target, i) => {
          assert.deepEqual(grads[i]!.shape, target.shape, describe(c));
          assert.equal(grads[i]!.dtype, target.dtype);
          const { shape, data } = values[i]!;
          assert.deepEqual([...shape], target.shape, describe(c));
          const scale = data.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
          for (const { i, slope } of differences(built, target.name, seed)) {
            const wanted = c.stops ? 0 : slope;
            const what = `gradient by ${target.name}[${i}] of ${describe(c)} is ${data[i]}`;
            assert.ok(Math.abs(data[i]! - wanted) <= 1e-7 * scale, `${what}, not ${wanted}`);
          }
        });
      }),
      { numRuns: 20 },
    );
  });
}

Deno.test("every vector-Jacobian rule is met by some case", () => {
  const met = new Set<string>();
  for (const cases of Object.values(operatorCases)) {
    for (const c of fc.sample(cases, { numRuns: 10, seed: 7 })) {
      const { graph, inputs, loss, wants } = graphOf(c, 1, "float64");
      gradients(loss, inputs.filter((_, i) => wants[i]));
      for (const node of graph.nodes) met.add(node.op);
    }
  }
  assert.deepEqual(Object.keys(vjpRules).filter((op) => !met.has(op) && op !== "Shape"), []);
});

Deno.test("huge, tiny and zero elements come out as they should", async () => {
  const edges = Float32Array.of(
    ...[-1e30, -1e4, -100, -20, -5, -1, -1e-4, -1e-30, 0],
    ...[1e-30, 1e-4, 1, 5, 20, 100, 1e4, 1e30],
  );
  const list = (f: (x: Value) => Value) => f;
  const functions = {
    sigmoid: list(ops.sigmoid),
    softplus: list(ops.softplus),
    tanh: list(ops.tanh),
    relu: list(ops.relu),
    erf: list(ops.erf),
    gelu: list(ops.gelu),
    quickGelu: list(ops.quickGelu),
    softmax: list(ops.softmax),
    logSoftmax: list(ops.logSoftmax),
    exp: list((x) => ops.exp(ops.min(x, 50))),
    l2Normalize: list((x) => ops.l2Normalize(ops.mul(ops.min(ops.max(x, -1e4), 1e4), 1e-8))),
    zeroVector: list((x) => ops.l2Normalize(ops.mul(x, 0))),
  };
  const graph = new Graph("edges");
  const x = graph.input("x", [edges.length]);
  for (const [name, f] of Object.entries(functions)) graph.output(name, f(x));
  const session = await engine.load(graph.toOnnx());
  const given = await session.run({ x: new HostTensor("float32", [edges.length], edges) });
  for (const [name, value] of graph.outputs) {
    const expected = interpret(graph, { x: arrayOf(edges) }, [value])[0]!;
    const actual = await given[name]!.read();
    expected.data.forEach((wanted, i) => {
      const error = Math.abs(Number(actual[i]) - wanted);
      const what = `${name}(${edges[i]}) is ${actual[i]}, not ${wanted}`;
      assert.ok(error <= 1e-5 * Math.abs(wanted) + 1e-6, what);
    });
  }
  await session.dispose();
});
