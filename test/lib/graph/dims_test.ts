import assert from "node:assert/strict";
import fc from "fast-check";
import { productOf, quotientOf, sumOf } from "../../../lib/graph/dims.ts";
import type { Dim } from "../../../lib/graph/graph.ts";

/** Sizes that 2, 3 and 4 divide, so that every quotient below is whole. */
const sizes: Record<string, number> = { B: 5, H: 144, W: 288, N: 7 };

/** The size that a dim stands for: +, * and / over names, numbers and parentheses. */
function evaluate(dim: Dim): number {
  const tokens = String(dim).match(/\w+|[+*/()]/g) ?? [];
  const atom = (): number => {
    const token = tokens.shift()!;
    if (token !== "(") return sizes[token] ?? Number(token);
    const inner = sum();
    tokens.shift();
    return inner;
  };
  const product = (): number => {
    let value = atom();
    while (tokens[0] === "*" || tokens[0] === "/") {
      value = tokens.shift() === "*" ? value * atom() : value / atom();
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[0] === "+") {
      tokens.shift();
      value += product();
    }
    return value;
  };
  return sum();
}

const dim: fc.Arbitrary<Dim> = fc.letrec<{ dim: Dim; leaf: Dim }>((tie) => ({
  leaf: fc.oneof(fc.constantFrom(...Object.keys(sizes)), fc.integer({ min: 1, max: 6 })),
  dim: fc.oneof(
    { depthSize: "small" },
    tie("leaf"),
    fc.array(tie("dim"), { minLength: 1, maxLength: 3 }).map(productOf),
    fc.array(tie("dim"), { minLength: 1, maxLength: 3 }).map(sumOf),
    fc.tuple(fc.constantFrom("H", "W"), fc.constantFrom(2, 3, 4)).map(([name, by]) => {
      return quotientOf(name, by)!;
    }),
  ),
})).dim;

const close = (a: number, b: number) => assert.ok(Math.abs(a - b) <= 1e-9 * b, `${a} is not ${b}`);

Deno.test("products and sums of sizes are the products and sums", () => {
  fc.assert(fc.property(fc.array(dim, { minLength: 1, maxLength: 4 }), (dims) => {
    close(evaluate(productOf(dims)), dims.map(evaluate).reduce((a, b) => a * b));
    close(evaluate(sumOf(dims)), dims.map(evaluate).reduce((a, b) => a + b));
  }));
});

Deno.test("equal products are equal strings, in whatever order and grouping", () => {
  fc.assert(fc.property(dim, dim, dim, (a, b, c) => {
    assert.equal(productOf([c, a, b]), productOf([a, b, c]));
    assert.equal(productOf([productOf([a, b]), c]), productOf([a, productOf([b, c])]));
    assert.equal(productOf([a, 1]), productOf([a]));
  }));
});

Deno.test("a quotient undoes a product, and is null where nothing cancels", () => {
  fc.assert(fc.property(dim, dim, (a, b) => {
    assert.equal(quotientOf(productOf([a, b]), b), productOf([a]));
  }));
  assert.equal(quotientOf("H", "W"), null);
  assert.equal(quotientOf(7, 2), null);
  assert.equal(quotientOf("H", 16), "H/16");
  assert.equal(productOf([quotientOf("H", 16)!, 16]), "H");
});
