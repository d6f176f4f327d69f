import assert from "node:assert/strict";
import { ModelError, ShapeError } from "../../../lib/errors.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { ParameterLayout, type ParameterScope } from "../../../lib/graph/parameters.ts";
import { AdamW, clipByGlobalNorm } from "../../../lib/optim/adamw.ts";
import { cosineSchedule } from "../../../lib/optim/schedules.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { arrayOf, interpret } from "./interpreter.ts";

const engine = await ortNodeEngine({ threads: 1 });

/** B×2 → B×1 through eight hidden units. */
function perceptron(scope: ParameterScope, x: Value): Value {
  const layer = (s: ParameterScope, y: Value, from: number, to: number) =>
    ops.add(
      ops.matMul(y, s.parameter("weight", [from, to], { normal: 0.7 })),
      s.parameter("bias", [to], { constant: 0 }),
    );
  return layer(scope.scope("out"), ops.tanh(layer(scope.scope("hidden"), x, 2, 8)), 8, 1);
}

const trial = new Graph("trial");
const trialInput = trial.input("x", ["B", 2]);
const layout = ParameterLayout.of(trial, (scope) => perceptron(scope, trialInput));

Deno.test("a layout lists what a network asks for, one after another", () => {
  assert.deepEqual(
    layout.entries.map(({ name, shape, offset }) => [name, shape, offset]),
    [
      ["hidden.weight", [2, 8], 0],
      ["hidden.bias", [8], 16],
      ["out.weight", [8, 1], 24],
      ["out.bias", [1], 32],
    ],
  );
  assert.equal(layout.size, 33);
  const decays = layout.entries.map(({ shape }) => shape.length > 1);
  const mask = layout.decayMask();
  layout.entries.forEach(({ offset }, i) => assert.equal(mask[offset], Number(decays[i])));
});

Deno.test("a layout knows the places of parameters by their names, and prints their tree", () => {
  assert.deepEqual(layout.ranges(({ name }) => name.startsWith("hidden.")), [[0, 24]]);
  assert.deepEqual(layout.ranges(({ name }) => name.endsWith("bias")), [[16, 24], [32, 33]]);
  assert.deepEqual(layout.ranges(() => false), []);
  assert.equal(
    String(layout),
    ["hidden", "  weight 2×8", "  bias 8", "out", "  weight 8×1", "  bias 1"].join("\n"),
  );
  const graph = new Graph("inputs");
  perceptron(layout.scopeOfInputs(graph), graph.input("x", ["B", 2]));
  assert.deepEqual(
    graph.inputs.slice(1).map(({ name }) => name),
    layout.entries.map((e) => e.name),
  );
  assert.throws(
    () => layout.scopeOfInputs(graph).parameter("nose", [1], { constant: 0 }),
    ModelError,
  );
});

Deno.test("parameters start from the generator alone, within two deviations", () => {
  const flat = layout.initialize(new Rng(5));
  assert.deepEqual(layout.initialize(new Rng(5)), flat);
  assert.notDeepEqual(layout.initialize(new Rng(6)), flat);
  const { offset } = layout.find("hidden.bias", [8]);
  assert.deepEqual(flat.slice(offset, offset + 8), new Float32Array(8));
  assert.ok(flat.every((x) => Math.abs(x) <= 1.4));
});

Deno.test("a parameter asked for twice is one parameter", () => {
  const graph = new Graph("shared");
  const shared = ParameterLayout.of(graph, (scope) => {
    const first = scope.scope("a").parameter("w", [2], { constant: 1 });
    assert.equal(scope.scope("a").parameter("w", [2], { constant: 1 }), first);
    assert.throws(() => scope.scope("a").parameter("w", [3], { constant: 1 }), ShapeError);
  });
  assert.equal(shared.entries.length, 1);
});

Deno.test("weights that don't fit the network are refused by name", () => {
  const graph = new Graph("export");
  assert.throws(() => layout.scopeWith(graph, new Float32Array(3)), /33 parameters, the weights 3/);
  const scope = layout.scopeWith(graph, new Float32Array(33));
  assert.throws(() => scope.parameter("nose", [1], { constant: 0 }), /no parameter "nose"/);
  assert.throws(() => scope.parameter("out.bias", [2], { constant: 0 }), ModelError);
});

Deno.test("a network learns XOR on ONNX Runtime, and its export computes the same", async () => {
  const graph = new Graph("training");
  const x = graph.input("x", [4, 2]);
  const target = graph.input("target", [4, 1]);
  const flat = graph.input("parameters", [layout.size]);
  const parameters = layout.scopeOver(flat);
  const error = ops.sub(perceptron(parameters.scope, x), target);
  const loss = graph.output("loss", ops.reduceMean(ops.mul(error, error)));
  const grads = parameters.flatten(gradients(loss, parameters.pieces));
  graph.output("grads", grads);
  const session = await engine.load(graph.toOnnx());

  const inputs = Float32Array.of(-1, -1, -1, 1, 1, -1, 1, 1);
  const targets = Float32Array.of(-1, 1, 1, -1);
  const weights = layout.initialize(new Rng(1));
  const run = async () => {
    const given = await session.run({
      x: float32([4, 2], inputs),
      target: float32([4, 1], targets),
      parameters: float32([layout.size], weights),
    });
    return [await given["loss"]!.read(), await given["grads"]!.read()] as [
      Float32Array,
      Float32Array,
    ];
  };

  // One step's gradient in the flat vector's own order.
  const feeds = { x: arrayOf(inputs, [4, 2]), target: arrayOf(targets, [4, 1]) };
  const [, first] = await run();
  for (let i = 0; i < layout.size; i++) {
    const at = (by: number) => {
      const moved = arrayOf(Array.from(weights, (w, k) => k === i ? w + by : w));
      return interpret(graph, { ...feeds, parameters: moved }, [loss])[0]!.data[0]!;
    };
    assert.ok(Math.abs(first[i]! - (at(1e-5) - at(-1e-5)) / 2e-5) < 1e-5);
  }

  const steps = 300;
  const rate = cosineSchedule({ peak: 0.05, totalSteps: steps, warmupSteps: 10 });
  const optimizer = new AdamW({ size: layout.size, decayMask: layout.decayMask() });
  for (let step = 0; step < steps; step++) {
    const [, gradient] = await run();
    clipByGlobalNorm(gradient, 1);
    optimizer.step(weights, gradient, rate(step));
  }
  const [[final]] = await run();
  assert.ok(final! < 1e-3, `loss ${final}`);
  await session.dispose();

  const exported = new Graph("exported");
  const input = exported.input("x", ["B", 2]);
  exported.output("y", perceptron(layout.scopeWith(exported, weights), input));
  const net = await engine.load(exported.toOnnx());
  const { y } = await net.run({ x: float32([4, 2], inputs) });
  (await y!.read()).forEach((v, i) => assert.equal(Math.sign(Number(v)), targets[i]));
  await net.dispose();
});
