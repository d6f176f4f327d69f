/**
 * This project's side of `bench graphs`: networks run as a user of the library would run them.
 *
 * @module
 */
import { gradients, Graph, type ParameterLayout } from "../../lib/graph/mod.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import type { Engine } from "../../lib/runtime.ts";
import { float32, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { joined } from "./contest.ts";
import type { Side } from "./harness.ts";
import type { NetworkTask } from "./network_task.ts";
import { type BenchNetwork, declare } from "./networks.ts";

/** Puts a pass of a network in place. */
export function networkSide(
  engine: Engine,
  network: BenchNetwork,
  layout: ParameterLayout,
  task: NetworkTask,
): Promise<Side> {
  const open = task.pass === "forward" ? forwardSide : trainingSide;
  return open(engine, network, layout, task);
}

async function forwardSide(
  engine: Engine,
  network: BenchNetwork,
  layout: ParameterLayout,
  task: NetworkTask,
): Promise<Side> {
  const graph = new Graph("forward");
  const scope = layout.scopeWith(graph, task.parameters.data);
  const { outputs } = network.forward(scope, declare(graph, network.inputs));
  outputs.forEach((value, i) => graph.output(`output${i}`, value));
  const session = await engine.load(graph.toOnnx());
  const inputs = Object.fromEntries(
    network.inputs.map(({ name }, i) => [name, task.inputs[i]!]),
  );
  return {
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) await session.run(inputs);
      return performance.now() - begin;
    },
    async result() {
      const results = await session.run(inputs);
      const parts = outputs.map((_, i) => results[`output${i}`]!.read());
      return joined(await Promise.all(parts) as Float32Array[]);
    },
    dispose: () => session.dispose(),
  };
}

/**
 * Forward and backward pass as one graph, whose parameters and gradients are parts of two vectors on
 * the host; AdamW goes over these.
 */
async function trainingSide(
  engine: Engine,
  network: BenchNetwork,
  layout: ParameterLayout,
  task: NetworkTask,
): Promise<Side> {
  const session = await engine.load(trainingGraph(network, layout));
  const { learningRate, inputs: tensors } = task;
  const weights = task.parameters.data.slice();
  const gradient = new Float32Array(layout.size);
  const optimizer = new AdamW({ size: layout.size });
  const inputs: Record<string, Tensor> = {};
  const results: Record<string, Tensor> = {};
  for (const { name, shape, offset } of layout.entries) {
    const end = offset + sizeOf(shape);
    inputs[name] = float32(shape, weights.subarray(offset, end));
    results[`gradient.${name}`] = float32(shape, gradient.subarray(offset, end));
  }
  [...network.inputs, ...network.targets].forEach(({ name }, i) => inputs[name] = tensors[i]!);
  const losses: number[] = [];
  const step = async () => {
    const { loss } = await session.run(inputs, results);
    optimizer.step(weights, gradient, learningRate);
    losses.push(Number((await loss!.read())[0]));
  };
  return {
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) await step();
      return performance.now() - begin;
    },
    async result() {
      while (losses.length < 3) await step();
      return losses.slice(0, 3);
    },
    dispose: () => session.dispose(),
  };
}

/** The loss, and its gradient by every parameter. */
function trainingGraph(network: BenchNetwork, layout: ParameterLayout): Uint8Array {
  const graph = new Graph("training_step");
  const scope = layout.scopeOfInputs(graph);
  const outputs = network.forward(scope, declare(graph, network.inputs));
  const loss = network.loss(outputs, declare(graph, network.targets));
  graph.output("loss", loss);
  const parameters = layout.entries.map(({ name, shape, init }) =>
    scope.parameter(name, shape, init)
  );
  gradients(loss, parameters).forEach((gradient, i) => {
    graph.output(`gradient.${layout.entries[i]!.name}`, gradient);
  });
  return graph.toOnnx();
}
