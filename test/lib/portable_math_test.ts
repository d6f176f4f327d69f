import assert from "node:assert/strict";
import fc from "fast-check";
import { exp, expm1, log } from "../../lib/portable_math.ts";

/** Units of the last place between a number and what it should be. */
function off(got: number, expected: number): number {
  if (Object.is(got, expected) || got === expected) return 0;
  const unit = Math.max(Math.abs(expected) * 2 ** -52, Number.MIN_VALUE);
  return Math.abs(got - expected) / unit;
}

const edges = [0, -0, 1e-320, -1e-320, 1e-17, -1e-9, 0.35, -0.35, 1, -1, 709.78, 709.79, -708.4]
  .concat([-740, -745.13, -745.2, -746, 710, 1e300, -1e300, Infinity, -Infinity, NaN]);

Deno.test("exp, expm1 and log are within 2 units of the engine's own", () => {
  const wide = fc.double({ min: -746, max: 711, noNaN: true });
  const near = fc.double({ min: -2, max: 2, noNaN: true });
  for (const x of edges) {
    assert.ok(off(exp(x), Math.exp(x)) <= 2, `exp(${x}) = ${exp(x)}, not ${Math.exp(x)}`);
    assert.ok(off(expm1(x), Math.expm1(x)) <= 2, `expm1(${x})`);
    assert.ok(off(log(x), Math.log(x)) <= 2, `log(${x}) = ${log(x)}, not ${Math.log(x)}`);
  }
  fc.assert(
    fc.property(fc.oneof(wide, near), (x) => {
      assert.ok(off(exp(x), Math.exp(x)) <= 2, `exp(${x}) = ${exp(x)}, not ${Math.exp(x)}`);
      assert.ok(off(expm1(x), Math.expm1(x)) <= 2, `expm1(${x})`);
    }),
    { numRuns: 20_000, seed: 1 },
  );
  fc.assert(
    fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), near, (x, y) => {
      assert.ok(off(log(x), Math.log(x)) <= 2, `log(${x}) = ${log(x)}, not ${Math.log(x)}`);
      assert.ok(off(log(Math.abs(y)), Math.log(Math.abs(y))) <= 2, `log(${Math.abs(y)})`);
    }),
    { numRuns: 20_000, seed: 2 },
  );
});

Deno.test("the bytes of 10,000 exponentials and logarithms are these, on whatever engine", async () => {
  const bits = new Float64Array(20_000);
  for (let i = 0; i < 10_000; i++) {
    const x = (i * 7919 % 10_007) / 10_007;
    bits[2 * i] = exp(1400 * x - 700);
    bits[2 * i + 1] = log(x * x * x * 1000);
  }
  const digest = await crypto.subtle.digest("SHA-256", bits);
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0"));
  assert.equal(hex.join(""), "297412314598cff67becc1e81d87d74df16873ca8f7416f17d7ec7355aa69ca1");
});
