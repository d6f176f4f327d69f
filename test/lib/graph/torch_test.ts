import assert from "node:assert/strict";
import fixture from "../../fixtures/graph/torch_cases.json" with { type: "json" };
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { arrayOf, interpret } from "./interpreter.ts";

interface Options {
  equation: string;
  groups: number;
  alignCorners: boolean;
  size: [number, number];
  stride: number;
  padding: number;
  dilation: number;
}

const geometry = ({ groups, stride, padding, dilation }: Options): ops.ConvOptions => ({
  groups,
  strides: [stride, stride],
  pads: [padding, padding, padding, padding],
  dilations: [dilation, dilation],
});

const operators: Record<string, (x: Value[], options: Options) => Value> = {
  einsum: (x, { equation }) => ops.einsum(equation, ...x),
  groupNorm: ([x, scale, bias], { groups }) => ops.groupNorm(x!, groups, scale!, bias!, 1e-3),
  layerNorm: ([x, scale, bias]) => ops.layerNorm(x!, scale!, bias!, 1e-3),
  gridSample: ([x, grid], { alignCorners }) => ops.gridSample(x!, grid!, { alignCorners }),
  resizeBilinear: ([x], { size, alignCorners }) =>
    ops.resizeBilinear(x!, size[0], size[1], { alignCorners }),
  gelu: ([x]) => ops.gelu(x!),
  geluTanh: ([x]) => ops.geluTanh(x!),
  silu: ([x]) => ops.silu(x!),
  quickGelu: ([x]) => ops.quickGelu(x!),
  l2Normalize: ([x]) => ops.l2Normalize(x!, 1),
  reduceLogSumExp: ([x]) => ops.reduceLogSumExp(x!, [1]),
  reduceL2: ([x]) => ops.reduceL2(x!, [1]),
  cumSum: ([x]) => ops.cumSum(x!, 1),
  topK: ([x]) => ops.topK(x!, 2, 1).values,
  roll: ([x]) => ops.roll(x!, [1, -2], [0, 1]),
  tile: ([x]) => ops.tile(x!, [2, 1, 3]),
  conv: ([x, weight, bias], options) => ops.conv(x!, weight!, bias!, geometry(options)),
  convTranspose: ([x, weight, bias], options) =>
    ops.convTranspose(x!, weight!, bias!, {
      ...geometry(options),
      outputPadding: [options.stride - 1, options.stride - 1],
    }),
};

Deno.test("operators and their gradients agree with PyTorch's in float64", () => {
  const met = new Set<string>();
  for (const { operator, options, inputs, weights, result, gradients: expected } of fixture.cases) {
    met.add(operator);
    const what = `${operator} ${JSON.stringify(options)}`;
    const graph = new Graph("case");
    const values = inputs.map(({ shape }, i) => graph.input(`x${i}`, shape, "float64"));
    const y = operators[operator]!(values, options as Options);
    assert.deepEqual(y.shape, result.shape, what);
    const weighed = ops.mul(y, graph.constant(weights, result.shape, "float64"));
    const grads = gradients(ops.reduceSum(weighed), values);
    const feeds = Object.fromEntries(
      inputs.map(({ shape, data }, i) => [`x${i}`, arrayOf(data, shape)]),
    );
    const [actual, ...slopes] = interpret(graph, feeds, [y, ...grads]);
    [[actual!, result.data] as const, ...slopes.map((s, i) => [s, expected[i]!] as const)].forEach(
      ([{ data }, wanted], i) => {
        assert.equal(data.length, wanted.length, what);
        wanted.forEach((value, k) => {
          // Constants of float32's precision within the operators are not allowed for.
          const error = Math.abs(data[k]! - value);
          assert.ok(error <= 1e-9 * Math.max(1, Math.abs(value)), `${what}: ${i}[${k}]: ${error}`);
        });
      },
    );
  }
  assert.deepEqual([...met].sort(), Object.keys(operators).sort());
});
