import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError, ShapeError } from "../../../lib/errors.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { type Dim, Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { type DType, HostTensor } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { arrayOf, interpret } from "./interpreter.ts";
import { operatorCases } from "./operator_cases.ts";

const engine = await ortNodeEngine({ threads: 1 });

Deno.test("an operator that can't be names itself and the shapes it got", () => {
  const graph = new Graph("errors");
  let count = 0;
  const x = (...shape: Dim[]) => graph.input(`x${count++}`, shape);
  const typed = (dtype: DType, ...shape: Dim[]) => graph.input(`x${count++}`, shape, dtype);
  const binary = ["add", "sub", "mul", "div", "pow", "min", "max", "equal"]
    .concat(["greater", "greaterOrEqual", "less", "lessOrEqual"]);
  const wrong: [string, () => unknown, string][] = [
    ...binary.flatMap((name) => {
      const f = (ops as unknown as Record<string, (a: Value, b: Value) => Value>)[name]!;
      return [
        [name, () => f(x(2, 3), x(4)), "2×3 · 4"],
        [name, () => f(x("N", 3), x("M", 3)), "N×3 · M×3"],
        [name, () => f(x(2), typed("int64", 2)), "float32 and int64"],
      ] as [string, () => unknown, string][];
    }),
    ["where", () => ops.where(typed("bool", 2), x(3), x(3)), "2 · 3 · 3"],
    ["where", () => ops.where(x(3), x(3), x(3)), "float32, not bool"],
    ["where", () => ops.where(typed("bool", 3), x(3), typed("int64", 3)), "float32 and int64"],
    ["mod", () => ops.mod(x(2), x(2)), "2 · 2: float32"],
    ["mod", () => ops.mod(typed("int64", 2), typed("int64", 3)), "2 · 3"],
    ["and", () => ops.and(typed("bool", 2), typed("bool", 3)), "2 · 3"],
    ["or", () => ops.or(x(2), typed("bool", 2)), "float32 is not bool"],
    ["xor", () => ops.xor(typed("bool", 2), x(2)), "float32 is not bool"],
    ["not", () => ops.not(x(2)), "float32 is not bool"],
    ["clip", () => ops.clip(x(2), 1, 0), "2: there is nothing from 1 to 0"],
    ["matMul", () => ops.matMul(x(2, 3), x(4, 5)), "2×3 · 4×5"],
    ["matMul", () => ops.matMul(x(3), x(3, 5)), "3 · 3×5"],
    ["matMul", () => ops.matMul(x(2, 4, 3), x(3, 3, 5)), "2×4×3 · 3×3×5"],
    ["gemm", () => ops.gemm(x(2, 3), x(2, 3)), "2×3 · 2×3"],
    ["gemm", () => ops.gemm(x(2, 3, 1), x(2, 3)), "2×3×1 · 2×3"],
    ["einsum", () => ops.einsum("ij,jk->ik", x(2, 3), x(4, 5)), "2×3 · 4×5"],
    ["einsum", () => ops.einsum("ij->ik", x(2, 3)), `no operand has the result's "k"`],
    ["einsum", () => ops.einsum("ij->ii", x(2, 3)), `names "i" twice`],
    ["einsum", () => ops.einsum("ii->i", x(2, 3)), "2×3: axes 0 and 1"],
    ["einsum", () => ops.einsum("ijk->ik", x(2, 3)), `"ijk" names 3 axes of 2`],
    ["einsum", () => ops.einsum("i...jk->ik", x(2)), "names 3 axes of 1"],
    ["einsum", () => ops.einsum("i,j->ij", x(2)), "2 terms for 1 operands"],
    ["einsum", () => ops.einsum("i1->i", x(2, 3)), "labels are letters"],
    ["einsum", () => ops.einsum("i->i"), "1 terms for 0 operands"],
    [
      "einsum",
      () => ops.einsum("abcd,cdef->abef", x(2, 2, "M", "N"), x("M", "N", "P", "Q")),
      "too many symbolic sizes",
    ],
    ["conv", () => ops.conv(x(1, 3, 4), x(2, 3, 1, 1), null), "1×3×4 · 2×3×1×1"],
    ["conv", () => ops.conv(x(1, 3, 4, 4), x(2, 2, 1, 1), null), "1×3×4×4 · 2×2×1×1"],
    ["conv", () => ops.conv(x(1, 3, 4, 4), x(2, 3, 1, 1), x(3)), "2 elements"],
    ["conv", () => ops.conv(x(1, 3, 2, 2), x(2, 3, 3, 3), null), "1×3×2×2 · 2×3×3×3"],
    ["conv", () => ops.conv(x(1, 3, 2, 2), x("O", 3, 1, 1), null), "O×3×1×1"],
    ["convTranspose", () => ops.convTranspose(x(1, 3, 4), x(3, 2, 1, 1), null), "1×3×4 · 3×2×1×1"],
    ["convTranspose", () => ops.convTranspose(x(1, 3, 4, 4), x(2, 3, 1, 1), null), "2×3×1×1"],
    ["convTranspose", () => ops.convTranspose(x(1, 3, 4, 4), x(3, 2, 1, 1), x(3)), "2 elements"],
    [
      "convTranspose",
      () => ops.convTranspose(x(1, 3, 1, 1), x(3, 2, 1, 1), null, { pads: [1, 0, 0, 0] }),
      "1×3×1×1 · 3×2×1×1",
    ],
    ["softmax", () => ops.softmax(x(2, 3), 2), "2×3: no axis 2"],
    ["logSoftmax", () => ops.logSoftmax(x(2, 3), -3), "2×3: no axis -3"],
    ["layerNorm", () => ops.layerNorm(x(2, 3), x(2), x(3)), "2×3 · 2"],
    ["layerNorm", () => ops.layerNorm(x(2, 3), x(3), x(1, 3)), "2×3 · 1×3"],
    ["groupNorm", () => ops.groupNorm(x(1, 6, 2), 4, x(6), x(6)), "1×6×2: 6 channels"],
    ["groupNorm", () => ops.groupNorm(x(1, 6, 2), 3, x(6), x(2)), "1×6×2 · 2"],
    ["groupNorm", () => ops.groupNorm(x(6), 3, x(6), x(6)), "6: needs"],
    ["reduceSum", () => ops.l2Normalize(x(2, 3), 5), "2×3: no axis 5"],
    ["reduceSum", () => ops.reduceSum(x(2, 3), [0, -2]), "2×3"],
    ["reduceMean", () => ops.reduceMean(x(2, 3), [0.5]), "2×3: no axis 0.5"],
    ["reduceMax", () => ops.reduceMax(x(2, 3), [2]), "2×3: no axis 2"],
    ["reduceMin", () => ops.reduceMin(x(2, 3), [2]), "2×3: no axis 2"],
    ["reduceLogSumExp", () => ops.reduceLogSumExp(x(2, 3), [1, 1]), "2×3: axes [1,1] repeat"],
    ["reduceL2", () => ops.reduceL2(x(2, 3), [-3]), "2×3: no axis -3"],
    ["cumSum", () => ops.cumSum(x(2, 3), 2), "2×3: no axis 2"],
    ["argMax", () => ops.argMax(x(2, 3), 2), "2×3: no axis 2"],
    ["topK", () => ops.topK(x(2, 3), 4), "2×3: axis -1 has no 4"],
    ["topK", () => ops.topK(x(2, 3), 0), "2×3: axis -1 has no 0"],
    ["reshape", () => ops.reshape(x(2, 3), [4, 2]), "2×3: can't become 4×2"],
    ["reshape", () => ops.reshape(x(2, 3), [4, -1]), "2×3: can't become 4×-1"],
    ["reshape", () => ops.reshape(x(2, 3), [-1, -1]), "2×3"],
    ["transpose", () => ops.transpose(x(2, 3), [0, 0]), "2×3: [0,0]"],
    ["transpose", () => ops.transpose(x(2, 3), [0]), "2×3: [0]"],
    ["unsqueeze", () => ops.unsqueeze(x(2, 3), [4]), "2×3: axes [4]"],
    ["unsqueeze", () => ops.unsqueeze(x(2, 3), [1, -3]), "2×3: axes [1,-3]"],
    ["squeeze", () => ops.squeeze(x(2, 1), [0]), "2×1: axes [0]"],
    ["squeeze", () => ops.squeeze(x(2, 1), [1, -1]), "2×1: axes [1,-1] repeat"],
    ["expand", () => ops.expand(x(2, 3), [2, 4]), "2×3: can't become 2×4"],
    ["expand", () => ops.expand(x(2, 3), [3]), "2×3: can't become 3"],
    ["concat", () => ops.concat([x(2, 3), x(3, 3)], 1), "2×3 · 3×3"],
    ["concat", () => ops.concat([x(2, 3), typed("int64", 2, 3)], 1), "2×3 · 2×3"],
    ["concat", () => ops.concat([], 0), "at least one"],
    ["split", () => ops.split(x(2, 5), [2, 2], 1), "2×5: pieces of 4"],
    ["slice", () => ops.slice(x(2, 5), 1, 3, 3), "2×5: [3, 3)"],
    ["slice", () => ops.slice(x(2, 5), 1, -6), "2×5: [-6"],
    ["slice", () => ops.slice(x(2, 5), 1, 0, 3, 0), "2×5: can't step by 0"],
    ["slice", () => ops.slice(x(2, 5), 1, 1, 3, -1), "2×5: [1, 3)"],
    ["slice", () => ops.slice(x(2, "N"), 1, -2, 3), "2×N"],
    ["slice", () => ops.slice(x(2, "N"), 1, 3, 3), "2×N: [3, 3)"],
    ["slice", () => ops.slice(x(2, "N"), 1, 3, 1, -1), "2×N"],
    ["roll", () => ops.roll(x(2, 5), [1], [0, 1]), "2×5: 1 shifts for 2 axes"],
    ["roll", () => ops.roll(x(2, 5), [0.5], [0]), "2×5: can't shift by 0.5"],
    ["tile", () => ops.tile(x(2, 5), [1]), "2×5: 1 counts"],
    ["tile", () => ops.tile(x(2, 5), [1, 0]), "2×5: can't repeat 0"],
    ["pad", () => ops.pad(x(2, 5), [1], [1]), "2×5"],
    ["pad", () => ops.pad(x(2), [-1], [1]), "2: widths"],
    ["gather", () => ops.gather(x(2, 5), x(3)), "2×5 · 3: indices are float32"],
    ["gather", () => ops.gather(x(), typed("int64", 3)), "scalar · 3"],
    ["gatherElements", () => ops.gatherElements(x(2, 5), typed("int64", 2), 0), "2×5 · 2"],
    ["gatherElements", () => ops.gatherElements(x(2, 5), typed("int64", 3, 5), 1), "2×5 · 3×5"],
    ["gatherElements", () => ops.gatherElements(x(2, 5), x(2, 5), 1), "float32, not integers"],
    ["gatherND", () => ops.gatherND(x(2, 5), typed("int64", 4, 3)), "indices of 3 axes don't"],
    ["gatherND", () => ops.gatherND(x(2, 5), typed("int32", 4, 1)), "int32, not int64"],
    ["gatherND", () => ops.gatherND(x(2, 5), typed("int64", 3, 1), 1), "after 1 shared"],
    [
      "scatterElements",
      () => ops.scatterElements(x(2, 5), typed("int64", 2, 3), x(2, 4), 1),
      "2×5 · 2×3 · 2×4",
    ],
    ["scatterND", () => ops.scatterND(x(2, 5), typed("int64", 3, 1), x(3, 4)), "2×5 · 3×1 · 3×4"],
    ["oneHot", () => ops.oneHot(x(2), 3), "float32, not integers"],
    ["oneHot", () => ops.oneHot(typed("int64", 2), 0), "can't be 0 deep"],
    ["gridSample", () => ops.gridSample(x(1, 2, 4, 4), x(1, 3, 3, 3)), "1×2×4×4 · 1×3×3×3"],
    ["gridSample", () => ops.gridSample(x(1, 2, 4, 4), x(2, 3, 3, 2)), "1×2×4×4 · 2×3×3×2"],
    ["scatterAdd", () => ops.scatterAdd(x(2, 5), typed("int64", 3), x(3, 4)), "2×5 · 3 · 3×4"],
    ["spaceToDepth", () => ops.spaceToDepth(x(1, 1, 4, 5), 2), "1×1×4×5"],
    ["depthToSpace", () => ops.depthToSpace(x(1, 6, 4, 5), 2), "1×6×4×5"],
    ["resizeBilinear", () => ops.resizeBilinear(x(6, 4, 5), 2, 2), "6×4×5"],
  ];
  for (const [name, call, shapes] of wrong) {
    assert.throws(
      call,
      (error) => {
        assert.ok(error instanceof ShapeError, `${name}: ${error}`);
        assert.ok(error.message.startsWith(`${name}: `), error.message);
        assert.ok(error.message.includes(shapes), `${error.message} lacks ${shapes}`);
        assert.match(
          error.message,
          /\(at \S*test\/lib\/graph\/graph_test\.ts:\d+:\d+\)$/,
        );
        return true;
      },
    );
  }
  // What takes one tensor of any shape can't go wrong.
  const total = ["neg", "abs", "sign", "sqrt", "exp", "log", "erf", "sigmoid", "softplus", "tanh"]
    .concat(["relu", "gelu", "geluTanh", "quickGelu", "silu", "stopGradient", "cast"])
    .concat(["floor", "ceil", "round", "sin", "cos", "l2Normalize"]);
  const tried = new Set([...wrong.map(([name]) => name), ...total]);
  assert.deepEqual(Object.keys(operatorCases).filter((name) => !tried.has(name)), []);
});

Deno.test("graphs keep to themselves, and a name is used once", () => {
  const [graph, other] = [new Graph("mine"), new Graph("theirs")];
  const x = graph.input("x", [2]);
  const y = other.input("y", [2]);
  assert.throws(() => ops.add(x, y), /Add: value "y" belongs to graph "theirs", not "mine"/);
  graph.output("sum", ops.add(x, 1));
  graph.parameter("weight", new HostTensor("float32", [2]));
  for (const name of ["x", "sum", "weight"]) {
    const taken = new RegExp(`"mine": the name "${name}" is taken`);
    assert.throws(() => graph.input(name, [1]), taken);
    assert.throws(() => graph.output(name, x), taken);
    assert.throws(() => graph.parameter(name, new HostTensor("float32", [1])), taken);
  }
  assert.throws(() => graph.output("Add_0", x), /"Add_0"/);
  assert.throws(() => graph.constant([1, 2, 3], [2]), /shape 2 takes 2 elements, got 3/);
  assert.throws(
    () => x.staticShape() && graph.input("n", ["N"]).staticShape(),
    /symbolic size "N"/,
  );
});

/** A small network with a parameter, symbolic sizes and several outputs. */
function network(): Graph {
  const graph = new Graph("network");
  const image = graph.input("image", ["B", 3, "H", "W"]);
  const size = [4, 3, 2, 2];
  const weight = graph.parameter(
    "weight",
    new HostTensor("float32", size, Float32Array.from({ length: 48 }, (_, i) => Math.sin(i))),
  );
  const patches = ops.conv(image, weight, null, { strides: [2, 2] });
  const rows = ops.transpose(ops.reshape(patches, [ops.dimOf(image, 0), 4, -1]), [0, 2, 1]);
  graph.output("patches", patches);
  graph.output("affinity", ops.softmax(ops.matMul(rows, ops.transpose(rows, [0, 2, 1]))));
  graph.output("up", ops.resizeBilinear(patches, ops.dimOf(image, 2), ops.dimOf(image, 3)));
  graph.output("deep", ops.spaceToDepth(image, 2));
  graph.output("shallow", ops.depthToSpace(patches, 2));
  graph.output("joined", ops.concat([image, image], 0));
  graph.output("padded", ops.pad(image, [0, 0, 1, 0], [0, 0, 0, 2]));
  graph.output("cut", ops.slice(ops.concat([image, image], 3), 3, 0, ops.dimOf(image, 3)));
  graph.output("mean", ops.reduceMean(image, [2, 3]));
  graph.output("wide", ops.expand(graph.constant(0.5), [ops.dimOf(image, 0), 7]));
  return graph;
}

function image(b: number, h: number, w: number): HostTensor<"float32"> {
  const data = Float32Array.from({ length: b * 3 * h * w }, (_, i) => Math.cos(i * 1.7));
  return new HostTensor("float32", [b, 3, h, w], data);
}

Deno.test("symbolic sizes: the same name is the same size, and numbers are kept", async () => {
  const graph = network();
  const session = await engine.load(graph.toOnnx());
  for (const [b, h, w] of [[1, 2, 2], [2, 4, 6], [3, 8, 4]] as const) {
    const x = image(b, h, w);
    const feeds = { image: arrayOf(x.data, x.shape) };
    const expected = interpret(graph, feeds, [...graph.outputs.values()]);
    const given = await session.run({ image: x });
    const sizes = new Map<string, number>([["B", b], ["H", h], ["W", w]]);
    for (const [i, [name, value]] of [...graph.outputs].entries()) {
      const { shape, data } = expected[i]!;
      assert.deepEqual(given[name]!.shape, shape, name);
      const actual = arrayOf(await given[name]!.read());
      data.forEach((v, k) => assert.ok(Math.abs(actual.data[k]! - v) < 1e-5, `${name}[${k}]`));
      assert.equal(value.rank, shape.length);
      value.shape.forEach((dim, axis) => {
        if (typeof dim === "number") assert.equal(dim, shape[axis], name);
        else assert.equal(sizes.get(dim) ?? shape[axis], shape[axis], `${name}: ${dim}`);
        if (typeof dim === "string") sizes.set(dim, shape[axis]!);
      });
    }
  }
  await session.dispose();
});

Deno.test("the same graph has the same bytes; what no output needs is left out", () => {
  const bytes = network().toOnnx();
  assert.deepEqual(network().toOnnx(), bytes);
  const more = network();
  ops.exp(ops.add(more.inputs[0]!, more.parameter("unused", new HostTensor("float32", [1]))));
  assert.deepEqual(more.toOnnx(), bytes);
});

Deno.test("parameters kept as half floats come back within half a float's precision", async () => {
  const [full, half] = [network().toOnnx(), network().toOnnx({ parameterStorage: "float16" })];
  const x = image(1, 4, 4);
  const results = await Promise.all([full, half].map(async (bytes) => {
    const session = await engine.load(bytes);
    const { patches } = await session.run({ image: x });
    await session.dispose();
    return arrayOf(await patches!.read()).data;
  }));
  // 12 products of numbers of at most 1, each off by at most 2⁻¹¹.
  results[0]!.forEach((v, i) => assert.ok(Math.abs(v - results[1]![i]!) < 12 * 2 ** -11));
  assert.notDeepEqual(results[0], results[1]);
});

Deno.test("metadata travels in the file and doesn't disturb it", async () => {
  const bytes = network().toOnnx({ metadata: { seed: "7" } });
  assert.ok(new TextDecoder("latin1").decode(bytes).includes("seed"));
  await (await engine.load(bytes)).dispose();
});

Deno.test("a file cut short is a ModelError", async () => {
  const bytes = network().toOnnx();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: bytes.length - 1 }), async (length) => {
      // A cut between two fields may leave a smaller, valid model; it never crashes.
      try {
        await (await engine.load(bytes.slice(0, length))).dispose();
      } catch (error) {
        assert.ok(error instanceof ModelError, String(error));
      }
    }),
    { numRuns: 20 },
  );
  await assert.rejects(engine.load(bytes.slice(0, bytes.length >> 1)), ModelError);
});

Deno.test("a dump has a line for everything", () => {
  const graph = new Graph("small");
  const x = graph.input("x", ["B", 3, 4, 4]);
  const weight = graph.parameter("stem.weight", new HostTensor("float32", [2, 3, 1, 1]));
  const y = ops.relu(ops.conv(x, weight, null, { strides: [2, 2] }));
  graph.output("y", ops.mul(y, 0.5));
  graph.output("n", ops.topK(ops.reshape(y, [ops.dimOf(x, 0), -1]), 2).indices);
  assert.equal(
    String(graph),
    [
      "graph small",
      "  input x: float32[B×3×4×4]",
      "  parameter stem.weight: float32[2×3×1×1]",
      "  Conv_0: float32[B×2×2×2] = Conv(x, stem.weight, –) {kernel_shape=[1 1], " +
      "strides=[2 2], pads=[0 0 0 0], dilations=[1 1], group=1}",
      "  Relu_1: float32[B×2×2×2] = Relu(Conv_0)",
      "  Mul_3: float32[B×2×2×2] = Mul(Relu_1, 0.5)",
      "  Shape_4: int64[1] = Shape(x) {start=0, end=1}",
      "  Concat_6: int64[2] = Concat(Shape_4, [-1]) {axis=0}",
      "  Reshape_7: float32[B×8] = Reshape(Relu_1, Concat_6) {allowzero=0}",
      "  TopK_9: float32[B×2], TopK_10: int64[B×2] = TopK(Reshape_7, [2]) " +
      "{axis=1, largest=1, sorted=1}",
      "  output y = Mul_3",
      "  output n = TopK_10",
    ].join("\n"),
  );
});

Deno.test("an operator knows the line that called it, and its gradient has that of the operator", () => {
  const graph = new Graph("places");
  const x = graph.input("x", [2, 3]);
  const y = ops.l2Normalize(x);
  const line = Number(/graph_test\.ts:(\d+):/.exec(String(y.node!.origin))![1]);
  for (const node of graph.nodes) {
    assert.match(String(node.origin), new RegExp(`graph_test\\.ts:${line}:\\d+$`));
  }
  const before = graph.nodes.length + 1;
  gradients(ops.reduceSum(y), [x]);
  for (const node of graph.nodes.slice(before)) {
    // The sum of what arrives at the target belongs to whoever asked for it.
    if (node.op === "Add") continue;
    assert.match(String(node.origin), new RegExp(`graph_test\\.ts:${line}:`), node.op);
  }
});
