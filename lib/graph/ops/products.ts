/**
 * Matrix products and sums over named axes.
 *
 * @module
 */
import type { Dim, Value } from "../graph.ts";
import { ShapeError } from "../../errors.ts";
import { Origin } from "../origin.ts";
import { broadcastShapes, type DimOf, dimOf, fail, one } from "./core.ts";
import { mul } from "./elementwise.ts";
import { reduceSum } from "./reductions.ts";
import { reshape, slice, squeeze, transpose, unsqueeze } from "./shape.ts";

/** The matrix product over the last two axes; the axes before broadcast. */
export function matMul(a: Value, b: Value): Value {
  if (a.rank < 2 || b.rank < 2) fail("matMul", "both operands need at least two axes", a, b);
  const inner = a.shape[a.rank - 1]!;
  if (inner !== b.shape[b.rank - 2]) {
    fail("matMul", `inner sizes ${inner} and ${b.shape[b.rank - 2]} differ`, a, b);
  }
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (batch === null) fail("matMul", "the leading axes don't broadcast", a, b);
  return one("MatMul", [a, b], {
    dtype: a.dtype,
    shape: [...batch, a.shape[a.rank - 2]!, b.shape[b.rank - 1]!],
  });
}

/** `op(a) · op(b)` of two matrices, either transposed on the way. */
export function gemm(
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean } = {},
): Value {
  if (a.rank !== 2 || b.rank !== 2) fail("gemm", "both operands must be matrices", a, b);
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const [l, n] = transposeB ? [b.shape[1]!, b.shape[0]!] : [b.shape[0]!, b.shape[1]!];
  if (k !== l) fail("gemm", `inner sizes ${k} and ${l} differ`, a, b);
  return one("Gemm", [a, b], { dtype: a.dtype, shape: [m, n] }, {
    transA: { int: Number(transposeA) },
    transB: { int: Number(transposeB) },
  });
}

/** An operand of {@linkcode einsum}: its axes by their labels. */
interface Labelled {
  readonly value: Value;
  readonly labels: readonly string[];
}

/**
 * Einstein summation, as `torch.einsum` and NumPy have it: `einsum("bqd,bkd->bqk", q, k)`. Labels
 * that repeat within an operand take its diagonal, `...` stands for any axes, and axes of size 1
 * broadcast. Lowered to transpositions, reshapes and matrix products, operands from left to right.
 *
 * @param equation Labels of each operand's axes, and after `->` those of the result; without it the
 * labels that occur once, in alphabetical order.
 * @throws {ShapeError} If the equation doesn't fit the operands.
 */
export function einsum(equation: string, ...operands: Value[]): Value {
  const { terms, output } = parseEquation(equation, operands);
  let all = operands.map((value, i) => diagonals({ value, labels: terms[i]! }));

  // Axes of size 1 give way to axes of the same label.
  const sizes = new Map<string, Dim>();
  for (const { value, labels } of all) {
    labels.forEach((label, axis) => {
      const dim = value.shape[axis]!;
      const known = sizes.get(label) ?? 1;
      if (known !== 1 && dim !== 1 && dim !== known) {
        fail("einsum", `"${equation}": sizes ${known} and ${dim} of ${label} differ`, ...operands);
      }
      if (known === 1) sizes.set(label, dim);
    });
  }
  all = all.map(({ value, labels }) => {
    const gone = labels.flatMap((label, axis) =>
      value.shape[axis] === 1 && sizes.get(label) !== 1 ? [axis] : []
    );
    return { value: squeeze(value, gone), labels: labels.filter((_, i) => !gone.includes(i)) };
  });

  let [left, ...rest] = all as [Labelled, ...Labelled[]];
  while (rest.length > 0) {
    const [right, ...others] = rest as [Labelled, ...Labelled[]];
    const later = new Set([...output, ...others.flatMap(({ labels }) => labels)]);
    const keep = (mine: Labelled, other: Labelled) =>
      summed(mine, (label) => later.has(label) || other.labels.includes(label));
    const [a, b] = [keep(left, right), keep(right, left)];
    left = contract(equation, a, b, (label) => later.has(label));
    rest = others;
  }
  const { value, labels } = summed(left, (label) => output.includes(label));
  // A label whose every axis has size 1 is still there; one that was dropped is not.
  return permuted(value, output.map((label) => labels.indexOf(label)));
}

function parseEquation(equation: string, operands: readonly Value[]) {
  const bad = (reason: string): never => {
    if (operands.length === 0) {
      throw new ShapeError(`einsum: "${equation}": ${reason}${new Origin().note()}`);
    }
    return fail("einsum", `"${equation}": ${reason}`, ...operands);
  };
  const match = /^((?:[a-zA-Z,]|\.\.\.)*)(?:->((?:[a-zA-Z]|\.\.\.)*))?$/.exec(
    equation.replaceAll(" ", ""),
  );
  if (match === null) bad("labels are letters, with commas between operands and one ->");
  const inputs = match![1]!.split(",");
  if (operands.length === 0 || inputs.length !== operands.length) {
    bad(`${inputs.length} terms for ${operands.length} operands`);
  }
  let dots = 0;
  const terms = inputs.map((term, i) => {
    const { rank } = operands[i]!;
    const letters = term.replace("...", "").length;
    const more = rank - letters;
    if (term.includes("...") ? more < 0 : more !== 0) {
      bad(`"${term}" names ${letters} axes of ${rank}`);
    }
    if (term.includes("...")) dots = Math.max(dots, more);
    return spell(term, more);
  });
  const count = new Map<string, number>();
  for (const label of terms.flat()) count.set(label, (count.get(label) ?? 0) + 1);
  const implicit = [...count].filter(([label, n]) => n === 1 && !label.startsWith("."));
  const output = match![2] === undefined
    ? [...spell("...", dots), ...implicit.map(([label]) => label).sort()]
    : spell(match![2], dots);
  for (const [i, label] of output.entries()) {
    if (!count.has(label)) bad(`no operand has the result's "${label}"`);
    if (output.indexOf(label) !== i) bad(`the result names "${label}" twice`);
  }
  return { terms, output };
}

/** The labels of a term; `...` are `count` labels that are counted from their end. */
function spell(term: string, count: number): string[] {
  const [before, after] = term.split("...") as [string, string?];
  if (after === undefined) return [...before];
  return [...before, ...Array.from({ length: count }, (_, i) => `.${count - i}`), ...after];
}

/** Takes the diagonal of axes that share a label. */
function diagonals({ value, labels }: Labelled): Labelled {
  const second = labels.findIndex((label, i) => labels.indexOf(label) !== i);
  if (second < 0) return { value, labels };
  const first = labels.indexOf(labels[second]!);
  const size = value.shape[first];
  if (typeof size !== "number" || size !== value.shape[second]) {
    fail("einsum", `axes ${first} and ${second} have no diagonal`, value);
  }
  const others = labels.flatMap((_, i) => i === first || i === second ? [] : [i]);
  const lead = others.map((axis) => dimOf(value, axis));
  const last = permuted(value, [...others, first, second]);
  // The diagonal of n×n elements is every (n + 1)-th of them in a row.
  const row = slice(reshape(last, [...lead, size * size]), -1, 0, Infinity, size + 1);
  return diagonals({ value: row, labels: [...others.map((i) => labels[i]!), labels[first]!] });
}

function permuted(value: Value, permutation: readonly number[]): Value {
  return permutation.every((axis, i) => axis === i) ? value : transpose(value, permutation);
}

/** Sums over the axes whose labels nobody wants. */
function summed({ value, labels }: Labelled, wanted: (label: string) => boolean): Labelled {
  const axes = labels.flatMap((label, i) => wanted(label) ? [] : [i]);
  if (axes.length === 0) return { value, labels };
  return { value: reduceSum(value, axes), labels: labels.filter(wanted) };
}

function contract(
  equation: string,
  a: Labelled,
  b: Labelled,
  keep: (label: string) => boolean,
): Labelled {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter(keep);
  const inner = shared.filter((label) => !keep(label));
  const [freeA, freeB] = [a, b].map(({ labels }) => labels.filter((l) => !shared.includes(l))) as [
    string[],
    string[],
  ];
  const labels = [...batch, ...freeA, ...freeB];
  const ordered = ({ value, labels }: Labelled, order: readonly string[]) =>
    permuted(value, order.map((label) => labels.indexOf(label)));
  const range = (start: number, count: number) =>
    Array.from({ length: count }, (_, i) => start + i);
  if (inner.length === 0) {
    const x = ordered(a, [...batch, ...freeA]);
    const y = ordered(b, [...batch, ...freeB]);
    const wide = freeA.length === 0 ? y : unsqueeze(y, range(batch.length, freeA.length));
    return { value: mul(unsqueeze(x, range(x.rank, freeB.length)), wide), labels };
  }
  const sizeOf = ({ value, labels }: Labelled) => (label: string) =>
    dimOf(value, labels.indexOf(label));
  const [sizeA, sizeB] = [sizeOf(a), sizeOf(b)];
  const merged = (sizes: readonly (number | DimOf)[]): number | DimOf => {
    if (sizes.length === 1) return sizes[0]!;
    const known = sizes.every((size) => typeof size === "number");
    return known ? (sizes as number[]).reduce((x, y) => x * y, 1) : -1;
  };
  const shaped = (value: Value, dims: readonly (number | DimOf)[]) => {
    const same = dims.length === value.rank && dims.every((dim, i) => {
      return dim !== -1 &&
        (typeof dim === "number" ? dim : dim.value.shape[dim.axis]) === value.shape[i];
    });
    if (same) return value;
    if (dims.filter((dim) => dim === -1).length > 1) {
      fail("einsum", `"${equation}": too many symbolic sizes to join`, a.value, b.value);
    }
    return reshape(value, dims);
  };
  const lead = batch.map(sizeA);
  const k = inner.map(sizeA);
  // Without a batch the product keeps the left operand's own axes.
  const rows = batch.length === 0 && freeA.length > 0
    ? freeA.map(sizeA)
    : [merged(freeA.map(sizeA))];
  const x = shaped(ordered(a, [...batch, ...freeA, ...inner]), [...lead, ...rows, merged(k)]);
  const y = shaped(ordered(b, [...batch, ...inner, ...freeB]), [
    ...batch.map(sizeB),
    merged(inner.map(sizeB)),
    merged(freeB.map(sizeB)),
  ]);
  const product = matMul(x, y);
  return { value: shaped(product, [...lead, ...freeA.map(sizeA), ...freeB.map(sizeB)]), labels };
}
