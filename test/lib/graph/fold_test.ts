import assert from "node:assert/strict";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { float32 } from "../../../lib/tensor.ts";
import { arrayOf, interpret } from "./interpreter.ts";
import { dtypeOf, fill, operatorCases } from "./operator_cases.ts";

Deno.test("what follows from constants is what the operators would compute", () => {
  let folded = 0;
  for (const [name, cases] of Object.entries(operatorCases)) {
    fc.assert(
      fc.property(cases, fc.nat(1e6), (c, seed) => {
        const elements = fill(c.operands, seed);
        const results = [true, false].map((constants) => {
          const graph = new Graph("case");
          const values = c.operands.map(({ shape, domain }, i) => {
            const dtype = dtypeOf(domain, "float64");
            return constants
              ? graph.constant([...elements[i]!], [...shape], dtype)
              : graph.input(`x${i}`, shape, dtype);
          });
          const feeds = Object.fromEntries(
            c.operands.map(({ shape }, i) => [`x${i}`, arrayOf(elements[i]!, shape)]),
          );
          const applied = c.apply(values, graph);
          const list = Array.isArray(applied) ? applied : [applied];
          if (constants && graph.nodes.length === 0) folded++;
          return interpret(graph, feeds, list);
        });
        results[0]!.forEach(({ shape, data }, i) => {
          assert.deepEqual(shape, results[1]![i]!.shape);
          data.forEach((value, k) => {
            const wanted = results[1]![i]!.data[k]!;
            const error = Math.abs(value - wanted);
            assert.ok(
              error <= 1e-12 * Math.max(1, Math.abs(wanted)) || Object.is(value, wanted),
              `${name}: ${value} is not ${wanted}`,
            );
          });
        });
      }),
      { numRuns: 6 },
    );
  }
  assert.ok(folded > 100, `${folded} cases left no operator`);
});

Deno.test("parameters aren't folded, and neither is what would grow", () => {
  const graph = new Graph("kept");
  const weight = graph.parameter("weight", float32([2]));
  ops.add(weight, 1);
  assert.equal(graph.nodes.length, 1);
  const zeros = ops.expand(graph.constant(0), [1000]);
  assert.equal(zeros.node!.op, "Expand");
  assert.equal(ops.expand(graph.constant(0), [8]).node, null);
  const half = graph.constant(0.5, [], "float16");
  assert.equal(Number(half.data!.data[0]), 0x3800);
  assert.equal(ops.neg(half).node!.op, "Neg");
});

Deno.test("constants that their type can't hold are refused", () => {
  const graph = new Graph("types");
  const place = /\(at .*fold_test\.ts:\d+:\d+\)/;
  const refuse = (f: () => Value, pattern: RegExp) =>
    assert.throws(f, (error) => {
      assert.ok(error instanceof ShapeError);
      assert.match(error.message, pattern);
      assert.match(error.message, place);
      return true;
    });
  const counts = graph.input("counts", [2], "int64");
  refuse(() => ops.mul(counts, 0.5), /0\.5 is no int64/);
  refuse(() => graph.constant([1, NaN], [2], "int64"), /NaN is no int64/);
  refuse(() => graph.constant(2.5, [], "int32"), /2\.5 is no int32/);
  refuse(() => graph.constant([1, 2, 3], [2]), /shape 2 takes 2 elements, got 3/);
});

Deno.test("small constants that are alike are one, also where they were worked out", () => {
  const graph = new Graph("shared");
  const three = graph.constant(3);
  assert.equal(graph.constant([1, 2]), graph.constant([1, 2]));
  assert.equal(ops.add(graph.constant(1), 2), three);
  assert.notEqual(graph.constant(0), graph.constant(-0));
  assert.notEqual(
    graph.constant(1, [], "float16"),
    graph.constant(Uint16Array.of(1), [], "float16"),
  );
  const large = Array.from({ length: 25 }, (_, i) => i);
  assert.notEqual(graph.constant(large), graph.constant(large));
});
