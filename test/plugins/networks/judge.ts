/**
 * A network against PyTorch: the fixtures of `test/fixtures/networks/`, whose script says what is in
 * them. With OVS_FIGURES=1 the errors are printed; with OVS_EXPORT_NETWORKS=FOLDER the networks are
 * written there, for `check.py` beside the fixtures.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import {
  type Dim,
  gradients,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
  type Value,
} from "../../../lib/graph/mod.ts";
import { type DType, HostTensor, sizeOf, type Tensor } from "../../../lib/tensor.ts";
import {
  bytesSource,
  formatWeightReport,
  mapWeights,
  openSafetensors,
  type WeightFile,
  type WeightRule,
} from "../../../lib/weights/mod.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

/** Builds a network on named inputs; its named outputs are those of the fixture. */
export type Build = (
  scope: ParameterScope,
  inputs: Record<string, Value>,
) => Record<string, Value>;

const tolerance = 1e-5;
const engine = await ortNodeEngine({ threads: 1 });

/** The part of a file whose names begin with `prefix/`. */
function part(file: WeightFile, prefix: string): WeightFile {
  const start = `${prefix}/`;
  const entries = [...file.entries].filter(([name]) => name.startsWith(start));
  return {
    name: `${file.name}: ${prefix}`,
    metadata: file.metadata,
    entries: new Map(entries.map(([name, entry]) => [name.slice(start.length), entry])),
    read: (name) => file.read(start + name),
  };
}

async function tensorsOf(file: WeightFile): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const name of file.entries.keys()) {
    const { dtype, shape, data } = await file.read(name);
    tensors.set(name, new HostTensor(dtype as DType, shape, data as Float32Array));
  }
  return tensors;
}

/**
 * The largest difference, over the largest magnitude.
 *
 * @param nothing What takes the place of a magnitude that is below its 1e-9th part: the rest that
 * float64 leaves of zero.
 */
function distance(actual: ArrayLike<number>, expected: ArrayLike<number>, nothing = 0): number {
  assert.equal(actual.length, expected.length);
  let [difference, magnitude] = [0, 0];
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Number.isFinite(actual[i]), `element ${i} is ${actual[i]}`);
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    magnitude = Math.max(magnitude, Math.abs(expected[i]!));
  }
  return difference / (magnitude < 1e-9 * nothing ? nothing : magnitude);
}

async function run(graph: Graph, feeds: Record<string, Tensor>) {
  const session = await engine.load(graph.toOnnx());
  try {
    return await session.run(feeds);
  } finally {
    await session.dispose();
  }
}

/**
 * Every output, and every gradient by an input or a parameter, agrees to 1e-5 of the tensor's largest
 * magnitude. Gradients that are zero in exact arithmetic, those of keys' biases, have to be below 1e-6
 * of the largest one.
 *
 * @param symbolic Shapes of inputs, with names for sizes, under which the outputs are the same.
 */
export async function judge(
  fixture: string,
  rules: readonly WeightRule[],
  build: Build,
  symbolic: Record<string, readonly Dim[]> = {},
): Promise<void> {
  const url = new URL(`../../fixtures/networks/${fixture}.safetensors`, import.meta.url);
  const file = await openSafetensors(bytesSource(fixture, await readFile(url)));
  const inputs = await tensorsOf(part(file, "inputs"));
  const outputs = await tensorsOf(part(file, "outputs"));
  const declare = (graph: Graph, shapes: Record<string, readonly Dim[]> = {}) =>
    Object.fromEntries([...inputs].map(([name, { shape, dtype }]) => [
      name,
      graph.input(`inputs/${name}`, shapes[name] ?? shape, dtype),
    ]));

  const trial = new Graph("trial");
  const layout = ParameterLayout.of(trial, (scope) => void build(scope, declare(trial)));
  const mapped = (prefix: string) => {
    const all = mapWeights(part(file, prefix), layout.entries, rules).requireAll();
    assert.equal(all.report.unused.length, 0, formatWeightReport(all.report));
    return all;
  };
  const weights = await mapped("weights").readAll();
  const slopes = await mapped("gradients").readAll();
  for (const [name, tensor] of await tensorsOf(part(file, "inputGradients"))) {
    slopes.set(`inputs/${name}`, tensor as HostTensor<"float32">);
  }

  const differentiated = (graph: Graph, scopeOf: (graph: Graph) => ParameterScope) => {
    const declared = declare(graph);
    const results = build(scopeOf(graph), declared);
    assert.deepEqual(Object.keys(results).sort(), [...outputs.keys()].sort());
    const terms = [...outputs.keys()].map((name) => {
      const y = graph.output(`outputs/${name}`, results[name]!);
      const shape = y.staticShape();
      const count = sizeOf(shape);
      const factors = Array.from({ length: count }, (_, k) => Math.fround(Math.cos(k)));
      const sum = ops.reduceSum(ops.mul(y, graph.constant(factors, shape)));
      return ops.mul(sum, 1 / Math.sqrt(count));
    });
    const varied = graph.inputs.filter((value) => slopes.has(value.name));
    const grads = gradients(terms.reduce((a, b) => ops.add(a, b)), varied);
    grads.forEach((grad, i) => graph.output(`by/${varied[i]!.name}`, grad));
    return graph;
  };
  const graph = differentiated(new Graph("judged"), (graph) => layout.scopeOfInputs(graph));
  const flat = new Float32Array(layout.size);
  await mapped("weights").fill(layout.entries, flat);
  const folder = process.env["OVS_EXPORT_NETWORKS"];
  if (folder !== undefined) {
    const whole = differentiated(new Graph(fixture), (graph) => layout.scopeWith(graph, flat));
    await writeFile(`${folder}/${fixture}.onnx`, whole.toOnnx());
  }

  const feeds = Object.fromEntries([
    ...[...inputs].map(([name, tensor]) => [`inputs/${name}`, tensor] as const),
    ...weights,
  ]);
  const actual = await run(graph, feeds);
  const wrong: string[] = [];
  let worst = 0;
  const compare = async (
    what: string,
    tensor: Tensor,
    expected: HostTensor<"float32">,
    nothing = 0,
  ) => {
    assert.deepEqual(tensor.shape, expected.shape, what);
    const error = distance(await tensor.read() as Float32Array, expected.data, nothing);
    worst = Math.max(worst, error);
    if (error > tolerance) wrong.push(`${what}: ${error.toExponential(1)}`);
  };
  for (const [name, expected] of outputs) {
    await compare(name, actual[`outputs/${name}`]!, expected as HostTensor<"float32">);
  }
  const peak = Math.max(...[...slopes.values()].flatMap(({ data }) => [...data].map(Math.abs)));
  for (const [name, expected] of slopes) {
    await compare(`gradient by ${name}`, actual[`by/${name}`]!, expected, 0.1 * peak);
  }

  if (Object.keys(symbolic).length > 0) {
    const free = new Graph("symbolic");
    const values = build(layout.scopeWith(free, flat), declare(free, symbolic));
    for (const name of outputs.keys()) free.output(`outputs/${name}`, values[name]!);
    const again = await run(
      free,
      Object.fromEntries(free.inputs.map(({ name }) => [name, feeds[name]!])),
    );
    for (const [name, expected] of outputs) {
      const value = again[`outputs/${name}`]!;
      await compare(`${name}, symbolic`, value, expected as HostTensor<"float32">);
    }
  }
  assert.deepEqual(wrong, [], `${fixture} differs from PyTorch`);
  if (process.env["OVS_FIGURES"] !== undefined) {
    console.log(`${fixture}: largest error ${worst.toExponential(1)}`);
  }
}
