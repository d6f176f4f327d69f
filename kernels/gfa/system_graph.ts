/**
 * Solutions with `I − X` as ONNX operators, for X whose powers vanish. ONNX has no linear solver.
 *
 * @module
 */
import type { Dim, Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";

/** How to invert. */
export interface InversePlan {
  /** Doublings of the series: it sums X⁰ … X^(2^doublings − 1). */
  readonly doublings: number;
  /** How often X is cut in halves; it must have at least 2^levels rows. */
  readonly levels: number;
}

/**
 * Solves with `I − X` by the Neumann series `Σ Xᵏ`, whose number of terms each product doubles.
 *
 * With `levels` above 0 the halves of X are eliminated one after the other, and the series is only
 * that of the diagonal blocks and of their Schur complements, a small part of the work. A truncated
 * series leaves out walks of 2^doublings steps or more within a block. They are among those that the
 * whole matrix's series would leave out, so that its error bound holds for both.
 */
export class SystemGraph {
  readonly #blocks: Elimination | null;
  /** `(I − X)⁻¹ − I` where there are no blocks. */
  readonly #inverse: Value | null;

  /** @param x X, [B×]N×N, with ‖X‖∞ < 1. */
  constructor(x: Value, plan: InversePlan) {
    this.#blocks = plan.levels === 0 ? null : eliminate(x, plan);
    this.#inverse = plan.levels === 0 ? series(x, plan.doublings) : null;
  }

  /** `(I − X)⁻¹ B`, [B×]N×D. */
  solve(right: Value): Value {
    if (this.#blocks === null) return plusIdentity(this.#inverse!, right);
    const { x21, a, ax12, s } = this.#blocks;
    const [b1, b2] = halves(right, right.rank - 2);
    const y1 = plusIdentity(a, b1);
    const y2 = plusIdentity(s, productPlus(x21, y1, b2));
    return join(right, [productPlus(ax12, y2, y1), y2], right.rank - 2);
  }

  /** `(I − X)⁻ᵀ B`, [B×]N×D. */
  solveTransposed(right: Value): Value {
    if (this.#blocks === null) return plusIdentity(transposed(this.#inverse!), right);
    const { x21, a, ax12, s } = this.#blocks;
    const [b1, b2] = halves(right, right.rank - 2);
    const v2 = plusIdentity(transposed(s), productPlus(transposed(ax12), b1, b2));
    const v1 = plusIdentity(transposed(a), productPlus(transposed(x21), v2, b1));
    return join(right, [v1, v2], right.rank - 2);
  }
}

/** With A = (I − X₁₁)⁻¹ and S = (I − X₂₂ − X₂₁AX₁₂)⁻¹. */
interface Elimination {
  x21: Value;
  /** A − I */
  a: Value;
  /** AX₁₂ */
  ax12: Value;
  /** S − I */
  s: Value;
}

function eliminate(x: Value, { doublings, levels }: InversePlan): Elimination {
  const below = { doublings, levels: levels - 1 };
  const [top, bottom] = halves(x, x.rank - 2);
  const [x11, x12] = halves(top, x.rank - 1);
  const [x21, x22] = halves(bottom, x.rank - 1);
  const a = inverse(x11, below);
  const ax12 = plusIdentity(a, x12);
  const s = inverse(productPlus(x21, ax12, x22), below);
  return { x21, a, ax12, s };
}

/**
 * `(I − X)⁻¹ − I`. The inverse's blocks are
 *
 *     A + AX₁₂·S·X₂₁A   AX₁₂·S
 *          S·X₂₁A          S
 */
function inverse(x: Value, plan: InversePlan): Value {
  if (plan.levels === 0) return series(x, plan.doublings);
  const { x21, a, ax12, s } = eliminate(x, plan);
  const x21a = productPlus(x21, a, x21);
  const sx21a = plusIdentity(s, x21a);
  const top = [
    productPlus(ax12, sx21a, a),
    productPlus(ax12, s, ax12),
  ];
  const columns = x.rank - 1;
  return join(x, [join(x, top, columns), join(x, [sx21a, s], columns)], x.rank - 2);
}

/** `(I + Y) B`, Y perhaps transposed. */
function plusIdentity(y: Value, right: Value): Value {
  return productPlus(y, right, right);
}

/**
 * `A B + C`, in one operator where there is no batch. ONNX Runtime would only see that itself if all
 * sizes were known.
 */
export function productPlus(a: Value, b: Value, c: Value): Value {
  if (a.rank !== 2) return ops.add(ops.matMul(a, b), c);
  const isTransposed = a.node?.op === "Transpose";
  const left = isTransposed ? a.node!.inputs[0]! : a;
  const result = { dtype: c.dtype, shape: c.shape };
  return c.graph.add("Gemm", [left, b, c], [result], { transA: { int: Number(isTransposed) } })[0]!;
}

/**
 * `Σ Xᵏ` for 1 ≤ k < 2^doublings: from `S = Σ_{k<m}` to `S + Xᵐ S`.
 *
 * A block's powers vanish faster than the bound says. Entries that no digit of the sum shows are set
 * to zero, before their products become denormal, which makes processors many times slower.
 */
function series(x: Value, doublings: number): Value {
  const shrink = { lambd: { float: 1e-18 }, bias: { float: 0 } };
  let power = x;
  let sum = x;
  for (let j = 1; j < doublings; j++) {
    const square = ops.matMul(power, power);
    power = x.graph.add("Shrink", [square], [{ dtype: x.dtype, shape: x.shape }], shrink)[0]!;
    sum = productPlus(power, sum, ops.add(sum, power));
  }
  return doublings === 0 ? ops.mul(x, 0) : sum;
}

/** Swaps the last two axes. */
export function transposed(x: Value): Value {
  const axes = [...Array(x.rank).keys()];
  return ops.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/** The halves of an axis; the first one of an odd size is the larger one. */
function halves(x: Value, axis: number): [Value, Value] {
  const size = x.shape[axis]!;
  const sizes: [Dim, Dim] = typeof size === "number"
    ? [Math.ceil(size / 2), Math.floor(size / 2)]
    : [`first(${size})`, `second(${size})`];
  const results = sizes.map((half) => ({
    dtype: x.dtype,
    shape: x.shape.map((dim, i) => i === axis ? half : dim),
  }));
  return x.graph.add("Split", [x], results, {
    axis: { int: axis },
    num_outputs: { int: 2 },
  }) as [Value, Value];
}

/** Halves side by side, with the size that `whole` has. `concat` can't see that they add up to it. */
function join(whole: Value, parts: Value[], axis: number): Value {
  const shape = parts[0]!.shape.map((dim, i) => i === axis ? whole.shape[i]! : dim);
  const result = { dtype: whole.dtype, shape };
  return whole.graph.add("Concat", parts, [result], { axis: { int: axis } })[0]!;
}
