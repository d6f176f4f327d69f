import assert from "node:assert/strict";
import fc from "fast-check";
import {
  convSize,
  productOf,
  quotientOf,
  stepSize,
  substitute,
  sumOf,
} from "../../../lib/graph/dims.ts";
import type { Dim } from "../../../lib/graph/graph.ts";

/** Sizes that 2, 3 and 4 divide, so that every quotient below is whole. */
const sizes: Record<string, number> = { B: 5, H: 144, W: 288, N: 7 };

/** The size that a dim stands for: +, * and / over names, numbers and parentheses. */
function evaluate(dim: Dim): number {
  const tokens = String(dim).match(/-?\w+|[+*/()]/g) ?? [];
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

Deno.test("what is added is taken away again, and like terms are one", () => {
  fc.assert(fc.property(dim, fc.integer({ min: -3, max: 9 }), (a, n) => {
    assert.equal(sumOf([sumOf([a, n]), -n]), sumOf([a]));
  }));
  assert.equal(sumOf(["N", 1]), "(N+1)");
  assert.equal(sumOf(["N", "N"]), "2*N");
  assert.equal(sumOf(["N", 3, productOf(["N", -1])]), 3);
  assert.equal(sumOf([sumOf(["N", 1]), sumOf(["N", "M", -1])]), "(M+2*N)");
  assert.equal(sumOf(["N", -1]), "(N+-1)");
});

Deno.test("putting numbers in place of names gives the number", () => {
  const known = new Map(Object.entries(sizes));
  fc.assert(fc.property(dim, fc.integer({ min: -2, max: 2 }), (a, n) => {
    const value = substitute(sumOf([a, n]), known);
    close(Number(value) + 10, evaluate(a) + n + 10);
  }));
  const window = convSize("H", 3, 2, 2, 1);
  assert.equal(substitute(window, known), convSize(144, 3, 2, 2, 1));
  assert.equal(substitute(stepSize(window, 5), known), Math.ceil(72 / 5));
  assert.equal(substitute(productOf([window, 2]), known), 144);
  assert.equal(substitute("H/16", new Map([["H", "rows"]])), "rows/16");
  assert.equal(substitute(sumOf(["H", 1]), new Map([["H", sumOf(["N", 2])]])), "(N+3)");
  assert.equal(substitute("free", known), "free");
});
