/**
 * The walk of Gradient-Free Aggregation as ONNX operators, forward and backward.
 *
 * @module
 */
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { GfaAffinity } from "./contract.ts";
import { type InversePlan, productPlus, SystemGraph, transposed } from "./system_graph.ts";

/** How F_Q∞, or F_Q after some steps, is computed. */
export type WalkPlan =
  | { readonly kind: "inverse" } & InversePlan
  | { readonly kind: "terms"; readonly terms: number }
  | { readonly kind: "steps"; readonly steps: number };

/** The walk's scalars, as numbers or as values with one element. */
export interface WalkScalars {
  /** ω */
  readonly omega: ops.Operand;
  /** 1 − ω */
  readonly rest: ops.Operand;
  /** ω² */
  readonly squared: ops.Operand;
  /** λ */
  readonly lambda: ops.Operand;
}

/** What of a walk's form decides its operators. */
export interface WalkForm {
  /** How Z is made. */
  readonly affinity: GfaAffinity;
  /**
   * Whether λ is so large (above {@linkcode sharpLambda}) that a column of Z may vanish in float32;
   * its proportions are then taken from the logarithms.
   */
  readonly isSharp: boolean;
  /** How F_Q is computed. */
  readonly plan: WalkPlan;
}

/**
 * Up to this λ no entry of Z vanishes: similarities of unit rows are within ±λ, so that a row's
 * softmax has entries of at least e^(−2λ) / N_Q.
 */
export const sharpLambda = 30;

/** A walk in a graph. */
export class WalkGraph {
  /** F_C∞, or F_C after the last step, [B×]N_C×D. */
  readonly clip: Value;
  /** F_Q∞, or F_Q after the last step, [B×]N_Q×D. */
  readonly query: Value;
  /** For raw affinity ‖PZ‖∞ / λ and ‖Z‖∞ / λ, scalars; null with softmax, where both norms are 1. */
  readonly norms: { readonly system: Value; readonly affinity: Value } | null;

  readonly #scalars: WalkScalars;
  readonly #form: WalkForm;
  readonly #clip: UnitRows;
  readonly #query: UnitRows;
  /** Z, or Z / λ for raw affinity; N_C×N_Q. */
  readonly #z: Value;
  /** P's transpose but for a factor per column: P = (`#v` / `#sums`ᵀ)ᵀ; N_C×N_Q. */
  readonly #v: Value;
  /** N_Q×1, infinite for a zero column of raw affinity. */
  readonly #sums: Value;
  /** ω²PZ, N_Q×N_Q; not needed for a single step. */
  readonly #x: Value;
  #system: { doublings: number; graph: SystemGraph } | null = null;
  /** ωF_Q after every step, where the walk is finite. */
  readonly #path: readonly Value[];
  /** ωF_Q∞, which every product takes, N_Q×D. */
  readonly #scaledQuery: Value;

  /**
   * @param clip F_C, [B×]N_C×D, float32.
   * @param query F_Q, [B×]N_Q×D, float32.
   */
  constructor(clip: Value, query: Value, scalars: WalkScalars, form: WalkForm) {
    this.#scalars = scalars;
    this.#form = form;
    this.#clip = new UnitRows(clip);
    this.#query = new UnitRows(query);
    const { omega, rest, squared, lambda } = scalars;
    const { affinity, isSharp, plan } = form;
    const q = this.#query.unit;
    // (1−ω)F_C. Every pass over N_C×D counts: where λ is moderate, it does for the affinity as well.
    const clipShare = this.#clip.times(rest);
    if (affinity === "raw") {
      // P does not depend on λ, and is made without it: no similarity over- or underflows.
      this.#z = this.#v = ops.matMul(this.#clip.unit, transposed(q));
    } else {
      const similarity = isSharp
        ? ops.matMul(this.#clip.unit, transposed(this.#query.times(lambda)))
        : ops.matMul(clipShare, transposed(this.#query.times(divide(query, lambda, rest))));
      this.#z = this.#v = ops.softmax(similarity, -1);
      if (isSharp) {
        const logZ = ops.logSoftmax(similarity, -1);
        this.#v = ops.exp(ops.sub(logZ, ops.reduceMax(logZ, [-2], true)));
      }
    }

    const products = ops.matMul(transposed(this.#v), this.#z);
    let perRow: Value;
    if (affinity === "raw") {
      const columns = transposed(ops.reduceSum(ops.abs(this.#v), [-2], true));
      const isZero = ops.equal(columns, 0);
      const sums = ops.where(isZero, 1, columns);
      const p = ops.div(products, sums);
      const norm = (x: Value) => ops.reduceMax(ops.reduceSum(ops.abs(x), [-1]));
      this.norms = { system: norm(p), affinity: norm(this.#z) };
      this.#x = ops.mul(p, ops.mul(lift(p, squared), lambda));
      perRow = ops.div(lift(sums, squared), sums);
      // What is divided by infinity is zero: a zero column has no part in any gradient.
      this.#sums = ops.where(isZero, Infinity, columns);
    } else {
      // Z's rows sum to 1, so that these are the sums of V's columns, and P's rows sum to 1 exactly.
      this.norms = null;
      this.#sums = ops.reduceSum(products, [-1], true);
      perRow = ops.div(lift(products, squared), this.#sums);
      this.#x = ops.mul(products, perRow);
    }

    // ω(1−ω)(F_Q + ωPF_C), as one product and one pass.
    const queryShare = this.#query.times(
      ops.div(ops.mul(lift(perRow, rest), omega), perRow),
    );
    const rightSide = () =>
      ops.mul(productPlus(transposed(this.#v), clipShare, queryShare), perRow);
    this.#path = [];
    if (plan.kind === "inverse") {
      this.#scaledQuery = this.#inverted(plan).solve(rightSide());
    } else if (plan.kind === "terms") {
      const right = rightSide();
      this.#scaledQuery = this.#repeat(right, right, plan.terms).at(-1)!;
    } else {
      // F_C eliminated, a step is F_Q(t+1) = ω²PZ F_Q(t) + (1−ω)(F_Q + ωPF_C). The first one starts
      // from F_C: ωF_Q(1) = ω(ωPF_C + (1−ω)F_Q).
      const fromClip = ops.matMul(transposed(this.#v), clipShare);
      const right = ops.mul(ops.add(fromClip, queryShare), perRow);
      const first = ops.add(
        ops.div(ops.mul(fromClip, perRow), rest),
        ops.mul(q, ops.mul(lift(q, omega), rest)),
      );
      this.#path = this.#repeat(first, right, plan.steps);
      this.#scaledQuery = this.#path.at(-1)!;
    }
    this.query = ops.div(this.#scaledQuery, omega);
    this.clip = productPlus(this.#z, this.#scaledByLambda(this.#scaledQuery), clipShare);
  }

  /**
   * The exact gradients by the inputs, from those by the outputs; null stands for zero.
   *
   * @param byClip ∂L/∂F_C∞, [B×]N_C×D.
   * @param byQuery ∂L/∂F_Q∞, [B×]N_Q×D.
   * @param plan How to invert, for the limit's gradients.
   */
  gradients(
    byClip: Value | null,
    byQuery: Value | null,
    plan: InversePlan,
  ): { clip: Value; query: Value } {
    const arriving = sum(
      byClip &&
        this.#scaledByLambda(ops.mul(ops.matMul(transposed(this.#z), byClip), this.#scalars.omega)),
      byQuery,
    );
    return this.#path.length === 0
      ? this.#ofLimit(byClip, arriving, plan)
      : this.#ofSteps(byClip, arriving);
  }

  /** With v = H⁻ᵀ ĝ and u = ∂L/∂F_C∞ + ωPᵀv: byZ = ωuF_Q∞ᵀ, byP = ωvF_C∞ᵀ. */
  #ofLimit(byClip: Value | null, arriving: Value, plan: InversePlan) {
    const { omega, rest } = this.#scalars;
    const v = this.#inverted(plan).solveTransposed(arriving);
    const vOverSums = ops.mul(v, ops.div(lift(v, omega), this.#sums));
    const u = sum(byClip, ops.matMul(this.#v, vOverSums));
    return this.#throughWalk({
      byC: ops.mul(u, rest),
      byQ: ops.mul(v, rest),
      byZ: ops.matMul(u, transposed(this.#scaledByLambda(this.#scaledQuery))),
      byPOverSums: ops.matMul(this.clip, transposed(vOverSums)),
    });
  }

  /**
   * Back through the finite walk, in the queries' space: with a(T) = ĝ, a(t) = (ω²PZ)ᵀ a(t+1),
   * A = Σ a(t) and M = Σ a(t+1) F_Q(t)ᵀ,
   *
   *     byQ = (1−ω) A                  byC = (1−ω)(gC + ωPᵀ(A − a(1))) + ωPᵀ a(1)
   *     byZ = ω gC F_Q(T)ᵀ + ω² Pᵀ M   byP = ω (a(1) + (1−ω)(A − a(1))) F_Cᵀ + ω² M Zᵀ
   */
  #ofSteps(byClip: Value | null, arriving: Value) {
    const { omega, rest } = this.#scalars;
    const path = this.#path;
    const adjoints = [arriving];
    while (adjoints.length < path.length) {
      adjoints.unshift(ops.matMul(transposed(this.#x), adjoints[0]!));
    }
    const [first, ...later] = adjoints as [Value, ...Value[]];
    let total = first;
    let mixed = first;
    let byZ = byClip &&
      ops.matMul(byClip, transposed(this.#scaledByLambda(this.#scaledQuery)));
    let ofPath: Value | null = null;
    if (later.length > 0) {
      const tail = later.reduce((a, b) => ops.add(a, b));
      total = ops.add(first, tail);
      mixed = ops.add(first, ops.mul(tail, rest));
      const products = later.map((a, t) => ops.matMul(a, transposed(path[t]!)));
      const m = ops.mul(products.reduce((a, b) => ops.add(a, b)), omega);
      const perStep = ops.div(this.#scaledByLambda(m), this.#sums);
      byZ = sum(byZ, ops.matMul(this.#v, perStep));
      ofPath = ops.matMul(this.#z, transposed(perStep));
    }
    const mixedOverSums = ops.mul(mixed, ops.div(lift(mixed, omega), this.#sums));
    const byC = ops.matMul(this.#v, mixedOverSums);
    return this.#throughWalk({
      byC: sum(byClip && ops.mul(byClip, rest), byC),
      byQ: ops.mul(total, rest),
      byZ,
      byPOverSums: sum(ops.matMul(this.#clip.unit, transposed(mixedOverSums)), ofPath),
    });
  }

  /**
   * From the gradients by the walk's parts to those by the inputs.
   *
   * @param by.byZ For raw affinity ∂L/∂(Z / λ); N_C×N_Q.
   * @param by.byPOverSums ∂L/∂Pᵀ, every column over that of `#sums`; N_C×N_Q.
   */
  #throughWalk(
    by: { byC: Value; byQ: Value; byZ: Value | null; byPOverSums: Value },
  ): { clip: Value; query: Value } {
    const { lambda } = this.#scalars;
    const { byZ, byPOverSums } = by;
    const c = this.#clip.unit;
    const q = this.#query.unit;
    const weighted = ops.mul(this.#v, byPOverSums);
    const mean = ops.div(ops.reduceSum(weighted, [-2], true), transposed(this.#sums));
    if (this.#form.affinity === "raw") {
      // P = Vᵀ over the columns' L1 norms.
      const byV = ops.sub(byPOverSums, ops.mul(ops.sign(this.#v), mean));
      const bySimilarity = sum(byZ, byV);
      return {
        clip: this.#clip.through(ops.add(by.byC, ops.matMul(bySimilarity, q))),
        query: this.#query.through(ops.add(by.byQ, ops.matMul(transposed(bySimilarity), c))),
      };
    }
    // Z and P are both softmaxes of log Z: over its rows and over its columns.
    const centred = ops.sub(byPOverSums, mean);
    const byLogZ = this.#v === this.#z
      ? ops.mul(this.#z, sum(byZ, centred))
      : sum(byZ && ops.mul(this.#z, byZ), ops.mul(this.#v, centred));
    const bySimilarity = ops.sub(
      byLogZ,
      ops.mul(this.#z, ops.reduceSum(byLogZ, [-1], true)),
    );
    const overC = ops.matMul(bySimilarity, ops.mul(q, lambda));
    const overQ = ops.mul(ops.matMul(transposed(bySimilarity), c), lambda);
    return {
      clip: this.#clip.through(ops.add(by.byC, overC)),
      query: this.#query.through(ops.add(by.byQ, overQ)),
    };
  }

  /** What solves with I − ω²PZ, made once. */
  #inverted(plan: InversePlan): SystemGraph {
    if (this.#system === null || this.#system.doublings < plan.doublings) {
      this.#system = { doublings: plan.doublings, graph: new SystemGraph(this.#x, plan) };
    }
    return this.#system.graph;
  }

  /** `count` values: `first`, and then ω²PZ times the one before plus `right`. */
  #repeat(first: Value, right: Value, count: number): Value[] {
    const out = [first];
    while (out.length < count) {
      out.push(productPlus(this.#x, out.at(-1)!, right));
    }
    return out;
  }

  /** Times λ for raw affinity. */
  #scaledByLambda(x: Value): Value {
    return this.#form.affinity === "raw" ? ops.mul(x, this.#scalars.lambda) : x;
  }
}

/** Rows scaled to unit length, and the way back for gradients. A zero row stays zero. */
class UnitRows {
  /** The rows, of length 1. */
  readonly unit: Value;
  readonly #isZero: Value;
  readonly #scale: Value;
  readonly #scaled: Value;
  readonly #length: Value;

  /** The largest magnitude is divided out first, so that no square over- or underflows. */
  constructor(x: Value) {
    const largest = ops.max(ops.reduceMax(x, [-1], true), ops.neg(reduceMin(x)));
    this.#isZero = ops.equal(largest, 0);
    this.#scale = ops.where(this.#isZero, 1, largest);
    this.#scaled = ops.div(x, this.#scale);
    const squares = ops.mul(this.#scaled, this.#scaled);
    // At least 1 unless the row is zero.
    this.#length = ops.where(this.#isZero, 1, ops.sqrt(ops.reduceSum(squares, [-1], true)));
    this.unit = this.times(1);
  }

  /** The rows, of this length: a scalar, or one for each row. */
  times(length: ops.Operand): Value {
    const isOne = typeof length === "number" && length === 1;
    return ops.div(this.#scaled, isOne ? this.#length : ops.div(this.#length, length));
  }

  /** The gradient by the rows as they were given, from that by the unit rows. */
  through(gradient: Value): Value {
    const along = ops.reduceSum(ops.mul(this.unit, gradient), [-1], true);
    const across = ops.sub(gradient, ops.mul(this.unit, along));
    const factor = ops.div(ops.div(1, this.#length), this.#scale);
    return ops.mul(across, ops.where(this.#isZero, 0, factor));
  }
}

function reduceMin(x: Value): Value {
  const axes = x.graph.constant([x.rank - 1], [1], "int64");
  const shape = [...x.shape.slice(0, -1), 1];
  return x.graph.add("ReduceMin", [x, axes], [{ dtype: x.dtype, shape }], {
    keepdims: { int: 1 },
  })[0]!;
}

function divide(beside: Value, a: ops.Operand, b: ops.Operand): ops.Operand {
  return typeof a === "number" && typeof b === "number" ? a / b : ops.div(lift(beside, a), b);
}

function lift(beside: Value, x: ops.Operand): Value {
  return typeof x === "number" ? beside.graph.constant(x) : x;
}

function sum(a: Value | null, b: Value): Value;
function sum(a: Value, b: Value | null): Value;
function sum(a: Value | null, b: Value | null): Value;
function sum(a: Value | null, b: Value | null): Value {
  if (a === null) return b!;
  return b === null ? a : ops.add(a, b);
}
