import assert from "node:assert/strict";
import { ShapeError } from "../../../lib/errors.ts";
import { customGradient } from "../../../lib/graph/custom_gradient.ts";
import { gradients } from "../../../lib/graph/gradient.ts";
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { arrayOf, interpret } from "./interpreter.ts";

/** The gradients of a loss by two inputs of three elements. */
function gradientsOf(build: (x: Value, y: Value) => Value): number[][] {
  const graph = new Graph("test");
  const x = graph.input("x", [3]);
  const y = graph.input("y", [3]);
  const grads = gradients(build(x, y), [x, y]);
  const feeds = { x: arrayOf([1, 2, 3]), y: arrayOf([4, 5, 6]) };
  return interpret(graph, feeds, grads).map(({ data }) => [...data]);
}

Deno.test("a rule stands in for the operators' own gradients, before and after it", () => {
  const grads = gradientsOf((x, y) => {
    const twice = ops.mul(x, 2);
    const [sum, product] = customGradient(
      [twice, y],
      [ops.add(twice, y), ops.mul(twice, y)],
      ([bySum, byProduct], wants) => {
        assert(wants(0) && wants(1));
        return [ops.mul(bySum!, 10), ops.mul(byProduct!, 100)];
      },
    );
    // The first result is used twice.
    return ops.reduceSum(ops.add(ops.mul(sum!, y), ops.add(sum!, ops.mul(product!, 3))));
  });
  // sum = 2x + y also reaches the loss beside y itself: ∂(sum·y)/∂y = sum, and 300 by the rule.
  assert.deepEqual(grads, [[100, 120, 140], [306, 309, 312]]);
});

Deno.test("a rule sees which results are used and which gradients are wanted", () => {
  const graph = new Graph("test");
  const x = graph.input("x", [2]);
  const y = graph.input("y", [2]);
  let calls = 0;
  const part = () =>
    customGradient([x, y], [ops.add(x, y), ops.sub(x, y)], ([first, second], wants) => {
      calls++;
      assert.equal(first, null);
      assert.deepEqual([wants(0), wants(1)], [false, true]);
      return [null, second!];
    });
  gradients(ops.reduceSum(part()[1]!), [y]);
  assert.equal(calls, 1);
  // Nothing depends on it, or it depends on nothing that was asked for.
  part();
  const z = graph.input("z", [2]);
  gradients(ops.reduceSum(ops.mul(part()[0]!, z)), [z]);
  assert.equal(calls, 1);
});

Deno.test("a rule can let nothing pass", () => {
  const grads = gradientsOf((x, y) => {
    const [product] = customGradient([x, y], [ops.mul(x, y)], () => [null, null]);
    return ops.reduceSum(ops.add(product!, x));
  });
  assert.deepEqual(grads, [[1, 1, 1], [0, 0, 0]]);
});

Deno.test("parts nest, and a rule's own values have gradients in their turn", () => {
  const graph = new Graph("test");
  const x = graph.input("x", [1]);
  const square = (v: Value) =>
    customGradient([v], [ops.mul(v, v)], ([g]) => [ops.mul(g!, ops.mul(v, 2))])[0]!;
  const [outer] = customGradient([x], [square(square(x))], ([g]) => {
    const inner = square(square(x));
    const [d] = gradients(ops.reduceSum(inner), [x]);
    return [ops.mul(g!, d!)];
  });
  const [first] = gradients(ops.reduceSum(outer!), [x]);
  const [second] = gradients(ops.reduceSum(first!), [x]);
  const [a, b] = interpret(graph, { x: arrayOf([3]) }, [first!, second!]);
  assert.deepEqual([...a!.data, ...b!.data], [4 * 27, 12 * 9]);
});

Deno.test("a rule that doesn't fit is refused by name", () => {
  assert.throws(
    () =>
      gradientsOf((x, y) =>
        ops.reduceSum(customGradient([x, y], [ops.add(x, y)], ([g]) => [g!])[0]!)
      ),
    (error) => error instanceof ShapeError && /1 gradients for 2 inputs/.test(error.message),
  );
  assert.throws(
    () =>
      gradientsOf((x, y) =>
        ops.reduceSum(
          customGradient([x, y], [ops.add(x, y)], ([g]) => [g!, ops.reduceSum(g!)])[0]!,
        )
      ),
    (error) => error instanceof ShapeError && /"y" is scalar; must be 3/.test(error.message),
  );
});
