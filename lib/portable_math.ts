/**
 * Exponentials and logarithms by nothing but the arithmetic that IEEE 754 prescribes. `Math.exp` and
 * its kin may differ in their last bit from one JavaScript engine to another, and do: by these, results
 * are the same bytes everywhere.
 *
 * @module
 */

/** ln 2 in two parts: the first has 32 bits, so that its multiples up to 2²⁰ are exact. */
const ln2High = 0.693147180369123816490;
const ln2Low = 1.90821492927058770002e-10;
const lowestExponent = -1074;

/** 2^k from −1074 on. */
const powers = (() => {
  const table = new Float64Array(1024 - lowestExponent);
  const one = -lowestExponent;
  table[one] = 1;
  for (let k = one + 1; k < table.length; k++) table[k] = 2 * table[k - 1]!;
  for (let k = one - 1; k >= 0; k--) table[k] = table[k + 1]! / 2;
  return table;
})();

/** e^r − 1 for |r| ≤ 0.36, by the series. */
function expm1Near(r: number): number {
  let sum = 1 / 6227020800;
  sum = sum * r + 1 / 479001600;
  sum = sum * r + 1 / 39916800;
  sum = sum * r + 1 / 3628800;
  sum = sum * r + 1 / 362880;
  sum = sum * r + 1 / 40320;
  sum = sum * r + 1 / 5040;
  sum = sum * r + 1 / 720;
  sum = sum * r + 1 / 120;
  sum = sum * r + 1 / 24;
  sum = sum * r + 1 / 6;
  sum = sum * r + 1 / 2;
  return r + r * r * sum;
}

/**
 * e^x, to within a unit of the last place.
 *
 * @example
 * ```ts
 * import { exp } from "./portable_math.ts";
 * console.log(exp(1), exp(-Infinity)); // 2.718281828459045 0
 * ```
 */
export function exp(x: number): number {
  if (!(x > -746)) return x !== x ? x : 0;
  if (x > 710) return Infinity;
  const k = Math.floor(x * Math.LOG2E + 0.5);
  const power = 1 + expm1Near((x - k * ln2High) - k * ln2Low);
  return k > 1023 ? power * 2 * powers[1023 - lowestExponent]! : k < lowestExponent
    // Half of the least number: it depends on the power whether that rounds to it or to 0.
    ? power / 2 * powers[0]!
    : power * powers[k - lowestExponent]!;
}

/** e^x − 1, which keeps its digits near 0. */
export function expm1(x: number): number {
  return Math.abs(x) < 0.35 ? expm1Near(x) : exp(x) - 1;
}

/** The natural logarithm, to within a few units of the last place. */
export function log(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return x;
  // m · 2^e, with m from √½ to √2.
  let m = x;
  let e = 0;
  while (m >= 2 ** 32) [m, e] = [m / 2 ** 32, e + 32];
  while (m < 2 ** -32) [m, e] = [m * 2 ** 32, e - 32];
  while (m > Math.SQRT2) [m, e] = [m / 2, e + 1];
  while (m < Math.SQRT1_2) [m, e] = [m * 2, e - 1];
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let sum = 0;
  for (let n = 23; n >= 3; n -= 2) sum = (sum + 1 / n) * z;
  return e * ln2High + (e * ln2Low + (2 * s + 2 * s * sum));
}
