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
  const isNumber = (factor: string) => /^-?\d+$/.test(factor);
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
  return b === 0 ? Math.abs(a) : greatestCommonDivisor(b, a % b);
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

/** The sum of sizes; a summand may be negative. */
export function sumOf(dims: readonly Dim[]): Dim {
  // Like terms by their names; numbers alone have none.
  const terms = new Map<string, Monomial>();
  for (const term of dims.flatMap(termsOf).map(parse)) {
    const key = term.names.toSorted().join("*");
    const known = terms.get(key);
    if (known === undefined) terms.set(key, term);
    else {
      known.numerator = known.numerator * term.denominator + term.numerator * known.denominator;
      known.denominator *= term.denominator;
    }
  }
  const number = terms.get("");
  terms.delete("");
  const parts = [...terms.keys()].sort().map((key) => terms.get(key)!)
    .filter((term) => term.numerator !== 0).map(format);
  const total = number === undefined ? 0 : number.numerator / number.denominator;
  if (parts.length === 0) return total;
  if (parts.length === 1 && total === 0) return parts[0]!;
  return `(${[...parts, ...(total === 0 ? [] : [total])].join("+")})`;
}

/** The summands of a sum that {@linkcode sumOf} has written. */
function termsOf(dim: Dim): Dim[] {
  if (typeof dim === "number" || !dim.startsWith("(")) return [dim];
  const inner = dim.slice(1, -1);
  // A product of sums ends in a parenthesis too, and so may its first factor.
  if (!dim.endsWith(")") || cut(dim, "*").length > 1 || cut(dim, "/").length > 1) return [dim];
  return cut(inner, "+").map((term) => /^-?\d+$/.test(term) ? Number(term) : term);
}

/**
 * Puts sizes in place of names, inside products, sums and the sizes of windows too.
 *
 * @param sizes What stands for each name; names that aren't in it stay.
 */
export function substitute(dim: Dim, sizes: ReadonlyMap<string, Dim>): Dim {
  if (typeof dim === "number") return dim;
  const known = sizes.get(dim);
  if (known !== undefined) return known;
  const terms = termsOf(dim);
  if (terms.length > 1) return sumOf(terms.map((term) => substitute(term, sizes)));
  const { numerator, denominator, names } = parse(dim);
  if (names.length === 1 && names[0] === dim) {
    const call = /^(\w+)\((.*)\)$/.exec(dim);
    if (call === null) return dim;
    const given = cut(call[2]!, ",").map((part) =>
      substitute(/^-?\d+$/.test(part) ? Number(part) : part, sizes)
    );
    const window = windows[call[1]!];
    if (window === undefined) return dim;
    return window(given[0]!, ...given.slice(1).map(Number));
  }
  const product = productOf([numerator, ...names.map((name) => substitute(name, sizes))]);
  return quotientOf(product, denominator) ?? dim;
}

/** The size that a convolution gives along an axis. */
export function convSize(
  dim: Dim,
  kernel: number,
  stride: number,
  pad: number,
  dilation: number,
): Dim {
  const span = dilation * (kernel - 1) + 1;
  if (typeof dim === "number") return Math.floor((dim + pad - span) / stride) + 1;
  if (stride === 1) return sumOf([dim, pad - span + 1]);
  if (pad === 0 && stride === kernel && dilation === 1) return quotientOf(dim, stride)!;
  return `conv(${dim},${kernel},${stride},${pad},${dilation})`;
}

/** The size of every `step`-th of `count` elements. */
export function stepSize(count: Dim, step: number): Dim {
  if (typeof count === "number") return Math.ceil(count / step);
  return step === 1 ? count : `steps(${count},${step})`;
}

/** Sizes that aren't sums or products, by the word that they are written with. */
const windows: Readonly<Record<string, (dim: Dim, ...numbers: number[]) => Dim>> = {
  conv: (dim, ...rest) => convSize(dim, ...(rest as [number, number, number, number])),
  steps: (dim, step) => stepSize(dim, step!),
};
