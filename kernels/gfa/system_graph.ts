/**
 * Inverses of `I − X` as ONNX operators, for X whose powers vanish. ONNX has no linear solver.
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
 * `(I − X)⁻¹ − I`, by the Neumann series `Σ Xᵏ`, whose number of terms each product doubles.
 *
 * With `levels` above 0 the halves of X are eliminated one after the other, and the series is only
 * that of the diagonal blocks and of their Schur complements, a small part of the work. A truncated
 * series leaves out walks of 2^doublings steps or more within a block. They are among those that the
 * whole matrix's series would leave out, so that its error bound holds for both.
 *
 * @param x X, [B×]N×N, with ‖X‖∞ < 1.
 */
export function inverseGraph(x: Value, plan: InversePlan): Value {
  const { doublings, levels } = plan;
  if (levels === 0) return series(x, doublings);
  const below = { doublings, levels: levels - 1 };
  const [x11, x12, x21, x22] = quarters(x);
  // With A = (I − X₁₁)⁻¹ and S = (I − X₂₂ − X₂₁AX₁₂)⁻¹ the inverse is
  //   A + AX₁₂·S·X₂₁A   AX₁₂·S
  //        S·X₂₁A          S
  // Everywhere here the identity is left out of a diagonal block.
  const a = inverseGraph(x11, below);
  const right = ops.add(x12, ops.matMul(a, x12));
  const s = inverseGraph(ops.add(x22, ops.matMul(x21, right)), below);
  const left = ops.add(x21, ops.matMul(x21, a));
  const bottom = ops.add(left, ops.matMul(s, left));
  const top = ops.add(a, ops.matMul(right, bottom));
  return joined(x, [top, ops.add(right, ops.matMul(right, s)), bottom, s]);
}

/** `Σ Xᵏ` for 1 ≤ k < 2^doublings: from `S = Σ_{k<m}` to `S + Xᵐ S`. */
function series(x: Value, doublings: number): Value {
  let power = x;
  let sum = x;
  for (let j = 1; j < doublings; j++) {
    power = ops.matMul(power, power);
    sum = ops.add(ops.add(sum, power), ops.matMul(power, sum));
  }
  return doublings === 0 ? ops.mul(x, 0) : sum;
}

/** Swaps the last two axes. */
export function transposed(x: Value): Value {
  const axes = [...Array(x.rank).keys()];
  return ops.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/** The blocks of a square matrix, row by row; the first half of an odd size is the larger one. */
function quarters(x: Value): [Value, Value, Value, Value] {
  const size = x.shape.at(-1)!;
  const sizes: [Dim, Dim] = typeof size === "number"
    ? [Math.ceil(size / 2), Math.floor(size / 2)]
    : [`first(${size})`, `second(${size})`];
  const cut = (value: Value, axis: number): [Value, Value] =>
    value.graph.add(
      "Split",
      [value],
      sizes.map((half) => ({
        dtype: value.dtype,
        shape: value.shape.map((dim, i) => i === axis ? half : dim),
      })),
      { axis: { int: axis }, num_outputs: { int: 2 } },
    ) as [Value, Value];
  const [top, bottom] = cut(x, x.rank - 2);
  return [...cut(top, x.rank - 1), ...cut(bottom, x.rank - 1)];
}

/** The matrix of the shape of `x` that has these blocks. */
function joined(x: Value, [x11, x12, x21, x22]: [Value, Value, Value, Value]): Value {
  const join = (parts: Value[], axis: number) => {
    // Halves of a size known at run time add up to it, which `concat` can't see.
    const shape = parts[0]!.shape.map((dim, i) => i === axis ? x.shape[i]! : dim);
    return x.graph.add("Concat", parts, [{ dtype: x.dtype, shape }], { axis: { int: axis } })[0]!;
  };
  const rows = [join([x11, x12], x.rank - 1), join([x21, x22], x.rank - 1)];
  return join(rows, x.rank - 2);
}
