/**
 * The walk of Gradient-Free Aggregation as ONNX operators, forward and backward.
 *
 * @module
 */
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { GfaAffinity } from "./contract.ts";
import { inverseGraph, type InversePlan, transposed } from "./system_graph.ts";

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
  /** P's transpose but for a factor per column: P = (`#v` / `#sums`)ᵀ; N_C×N_Q. */
  readonly #v: Value;
  /** 1×N_Q */
  readonly #sums: Value;
  /** ω²PZ, N_Q×N_Q; not needed for a single step. */
  readonly #system: Value;
  #inverse: { plan: InversePlan; value: Value } | null = null;
  /** F_Q after every step, where the walk is finite. */
  readonly #path: readonly Value[];

  /**
   * @param clip F_C, [B×]N_C×D, float32.
   * @param query F_Q, [B×]N_Q×D, float32.
   */
  constructor(clip: Value, query: Value, scalars: WalkScalars, form: WalkForm) {
    this.#scalars = scalars;
    this.#form = form;
    this.#clip = unitRows(clip);
    this.#query = unitRows(query);
    const c = this.#clip.unit;
    const q = this.#query.unit;
    if (form.affinity === "raw") {
      // P does not depend on λ, and is made without it: no similarity over- or underflows.
      this.#z = this.#v = ops.matMul(c, transposed(q));
      const sums = ops.reduceSum(ops.abs(this.#v), [-2], true);
      // What is divided by infinity is zero: a zero column stays zero, and so does its gradient.
      this.#sums = ops.where(ops.greater(sums, 0), sums, Infinity);
    } else {
      const similarity = ops.matMul(c, transposed(ops.mul(q, scalars.lambda)));
      this.#z = ops.softmax(similarity, -1);
      this.#v = this.#z;
      if (form.isSharp) {
        const logZ = ops.logSoftmax(similarity, -1);
        this.#v = ops.exp(ops.sub(logZ, ops.reduceMax(logZ, [-2], true)));
      }
      this.#sums = ops.reduceSum(this.#v, [-2], true);
    }

    const products = ops.matMul(transposed(this.#v), this.#z);
    const perRow = transposed(this.#sums);
    if (form.affinity === "raw") {
      const p = ops.div(products, perRow);
      this.#system = ops.mul(p, ops.mul(lift(p, scalars.squared), scalars.lambda));
      const norm = (x: Value) => ops.reduceMax(ops.reduceSum(ops.abs(x), [-1]));
      this.norms = { system: norm(p), affinity: norm(this.#z) };
    } else {
      // The rows' sums are those of V but for rounding; divided by their own, they are 1.
      const own = ops.reduceSum(products, [-1], true);
      this.#system = ops.mul(products, ops.div(lift(own, scalars.squared), own));
      this.norms = null;
    }

    const { omega, rest } = scalars;
    const pc = ops.div(ops.mul(ops.matMul(transposed(this.#v), c), omega), perRow);
    const first = ops.add(pc, ops.mul(q, rest));
    const right = ops.mul(ops.add(pc, q), rest);
    this.#path = [];
    const { plan } = form;
    if (plan.kind === "inverse") {
      this.query = ops.add(right, ops.matMul(this.#inverted(plan), right));
    } else if (plan.kind === "terms") {
      this.query = this.#repeat(right, right, plan.terms).at(-1)!;
    } else {
      // F_C eliminated, a step is F_Q(t+1) = ω²PZ F_Q(t) + (1−ω)(F_Q + ωPF_C).
      this.#path = this.#repeat(first, right, plan.steps);
      this.query = this.#path.at(-1)!;
    }
    this.clip = ops.add(ops.matMul(this.#z, this.#scaledByZ(this.query)), ops.mul(c, rest));
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
      byClip && this.#scaledByZ(ops.matMul(transposed(this.#z), byClip)),
      byQuery,
    );
    return this.#path.length === 0
      ? this.#ofLimit(byClip, arriving, plan)
      : this.#ofSteps(byClip, arriving);
  }

  /** With v = H⁻ᵀ ĝ and u = ∂L/∂F_C∞ + ωPᵀv: byZ = ωuF_Q∞ᵀ, byP = ωvF_C∞ᵀ. */
  #ofLimit(byClip: Value | null, arriving: Value, plan: InversePlan) {
    const { omega, rest } = this.#scalars;
    const inverse = this.#inverted(plan);
    const v = ops.add(arriving, ops.matMul(transposed(inverse), arriving));
    const vOverSums = ops.div(ops.mul(v, omega), transposed(this.#sums));
    const u = sum(byClip, ops.matMul(this.#v, vOverSums));
    return this.#throughWalk({
      byC: ops.mul(u, rest),
      byQ: ops.mul(v, rest),
      byZ: ops.matMul(u, transposed(this.#scaledByZ(this.query))),
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
    const { omega, rest, squared } = this.#scalars;
    const path = this.#path;
    const adjoints = [arriving];
    while (adjoints.length < path.length) {
      adjoints.unshift(ops.matMul(transposed(this.#system), adjoints[0]!));
    }
    const [first, ...later] = adjoints as [Value, ...Value[]];
    const rows = transposed(this.#sums);
    let total = first;
    let mixed = first;
    let byZ = byClip && ops.matMul(byClip, transposed(this.#scaledByZ(this.query)));
    let ofPath: Value | null = null;
    if (later.length > 0) {
      const tail = later.reduce((a, b) => ops.add(a, b));
      total = ops.add(first, tail);
      mixed = ops.add(first, ops.mul(tail, rest));
      const products = later.map((a, t) => ops.matMul(a, transposed(path[t]!)));
      const perStep = ops.div(
        this.#scaledByLambda(ops.mul(products.reduce((a, b) => ops.add(a, b)), squared)),
        rows,
      );
      byZ = sum(byZ, ops.matMul(this.#v, perStep));
      ofPath = ops.matMul(this.#z, transposed(perStep));
    }
    const mixedOverSums = ops.div(ops.mul(mixed, omega), rows);
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
    const mean = ops.div(ops.reduceSum(weighted, [-2], true), this.#sums);
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

  /** (I − ω²PZ)⁻¹ − I, made once. */
  #inverted(plan: InversePlan): Value {
    if (this.#inverse === null || this.#inverse.plan.doublings < plan.doublings) {
      this.#inverse = { plan, value: inverseGraph(this.#system, plan) };
    }
    return this.#inverse.value;
  }

  /** `count` values: `first`, and then ω²PZ times the one before plus `right`. */
  #repeat(first: Value, right: Value, count: number): Value[] {
    const out = [first];
    while (out.length < count) {
      out.push(ops.add(ops.matMul(this.#system, out.at(-1)!), right));
    }
    return out;
  }

  /** ω times the factor that makes Z of `#z`. */
  #scaledByZ(x: Value): Value {
    return this.#scaledByLambda(ops.mul(x, this.#scalars.omega));
  }

  /** Times λ for raw affinity. */
  #scaledByLambda(x: Value): Value {
    return this.#form.affinity === "raw" ? ops.mul(x, this.#scalars.lambda) : x;
  }
}

/** Rows scaled to unit length, and the way back for gradients. */
interface UnitRows {
  readonly unit: Value;
  through(gradient: Value): Value;
}

/** The largest magnitude is divided out first, so that no square over- or underflows. */
function unitRows(x: Value): UnitRows {
  const largest = ops.max(ops.reduceMax(x, [-1], true), ops.neg(reduceMin(x)));
  const isZero = ops.equal(largest, 0);
  const scale = ops.where(isZero, 1, largest);
  const scaled = ops.div(x, scale);
  // At least 1 unless the row is zero.
  const length = ops.where(isZero, 1, ops.sqrt(sumOfSquares(scaled)));
  const unit = ops.div(scaled, length);
  return {
    unit,
    through(gradient) {
      const along = ops.reduceSum(ops.mul(unit, gradient), [-1], true);
      const across = ops.sub(gradient, ops.mul(unit, along));
      const factor = ops.where(isZero, 0, ops.div(ops.div(1, length), scale));
      return ops.mul(across, factor);
    },
  };
}

function reduceLast(op: string, x: Value): Value {
  const axes = x.graph.constant([x.rank - 1], [1], "int64");
  const shape = [...x.shape.slice(0, -1), 1];
  return x.graph.add(op, [x, axes], [{ dtype: x.dtype, shape }], { keepdims: { int: 1 } })[0]!;
}

function reduceMin(x: Value): Value {
  return reduceLast("ReduceMin", x);
}

function sumOfSquares(x: Value): Value {
  return reduceLast("ReduceSumSquare", x);
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
