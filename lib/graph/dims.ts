/**
 * Arithmetic on sizes of which some are known only when the graph runs: products of named sizes
 * and a rational factor, in one canonical spelling, so that equal sizes are equal strings.
 *
 * @module
 */
import type { Dim } from "./graph.ts";

/** `numerator / denominator` times a product of names; sums and the like count as one name. */
interface Monomial {
  numerator: number;
  denominator: number;
  names: string[];
}

/** Cuts at a separator outside of parentheses. */
function cut(text: string, separator: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const char of text) {
    if (char === "(") depth++;
    if (char === ")") depth--;
    if (char === separator && depth === 0) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts;
}

function parse(dim: Dim): Monomial {
  if (typeof dim === "number") return { numerator: dim, denominator: 1, names: [] };
  const [product = "", ...divisors] = cut(dim, "/");
  const factors = cut(product, "*");
  const isNumber = (factor: string) => /^\d+$/.test(factor);
  return {
    numerator: factors.filter(isNumber).reduce((n, f) => n * Number(f), 1),
    denominator: divisors.reduce((n, d) => n * Number(d), 1),
    names: factors.filter((factor) => !isNumber(factor)),
  };
}

function format({ numerator, denominator, names }: Monomial): Dim {
  const divisor = greatestCommonDivisor(numerator, denominator);
  const [n, d] = [numerator / divisor, denominator / divisor];
  if (names.length === 0) return n / d;
  return [...(n === 1 ? [] : [n]), ...names.toSorted()].join("*") + (d === 1 ? "" : `/${d}`);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The product of sizes. */
export function productOf(dims: readonly Dim[]): Dim {
  const parts = dims.map(parse);
  return format({
    numerator: parts.reduce((n, p) => n * p.numerator, 1),
    denominator: parts.reduce((n, p) => n * p.denominator, 1),
    names: parts.flatMap((p) => p.names),
  });
}

/** `dim / by`; null where a name of `by` doesn't cancel or numbers don't divide. */
export function quotientOf(dim: Dim, by: Dim): Dim | null {
  const [a, b] = [parse(dim), parse(by)];
  const names = [...a.names];
  for (const name of b.names) {
    const at = names.indexOf(name);
    if (at < 0) return null;
    names.splice(at, 1);
  }
  const quotient = format({
    numerator: a.numerator * b.denominator,
    denominator: a.denominator * b.numerator,
    names,
  });
  return typeof quotient === "number" && !Number.isInteger(quotient) ? null : quotient;
}

/** The sum of sizes. */
export function sumOf(dims: readonly Dim[]): Dim {
  const numbers = dims.filter((dim) => typeof dim === "number");
  const total = numbers.reduce((a, b) => a + b, 0);
  const names = dims.filter((dim) => typeof dim === "string");
  if (names.length === 0) return total;
  if (names.length === 1 && total === 0) return names[0]!;
  return `(${[...names, ...(total === 0 ? [] : [total])].join("+")})`;
}
