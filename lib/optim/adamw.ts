/**
 * AdamW over flat parameter arrays.
 *
 * @module
 */
import { OptionError, ShapeError } from "../errors.ts";

/** A run of parameters, `start` included, `end` not. */
export type ParameterRange = readonly [start: number, end: number];

/** Parameters that are treated alike. */
export interface ParameterGroup {
  /** Which parameters; no other group may have them. */
  readonly ranges: readonly ParameterRange[];
  /** What the step's learning rate is multiplied by, at least 0; 1 where left out. */
  readonly rate?: number;
  /** Weight decay of these parameters in place of the general one. */
  readonly weightDecay?: number;
}

/** Options of {@linkcode AdamW}. */
export interface AdamWOptions {
  /** Number of parameters. */
  readonly size: number;
  /** Decay rates β₁ and β₂ of the two moments, each in [0, 1); 0.9 and 0.999 where left out. */
  readonly betas?: readonly [number, number];
  /** ε > 0, added to the denominator; 1e-8 where left out. */
  readonly epsilon?: number;
  /** Decoupled weight decay λ ≥ 0; 0.01 where left out. */
  readonly weightDecay?: number;
  /**
   * Which parameters decay: one flag per parameter (nonzero = decays), or the ranges that decay;
   * all of them where left out. Biases, norms and temperatures usually don't.
   */
  readonly decayMask?: Uint8Array | readonly ParameterRange[];
  /**
   * Parameters with a rate or a decay of their own: a smaller rate for a pretrained backbone, say.
   * What no group names has the general ones. Where `decayMask` says so, no group decays.
   */
  readonly groups?: readonly ParameterGroup[];
}

/** What {@linkcode AdamW.save} keeps: the moments and the number of steps taken. */
export interface AdamWState {
  /** Steps taken. */
  readonly step: number;
  /** Running mean of the gradients, one per parameter. */
  readonly m: Float32Array;
  /** Running mean of the squared gradients, one per parameter. */
  readonly v: Float32Array;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019):
 *
 *     θ ← θ − ηλθ
 *     m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
 *     θ ← θ − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)
 *
 * Parameters, gradients and moments are float32; each step's arithmetic is float64.
 *
 * @example
 * ```ts
 * import { AdamW } from "@ovstage/ovstage";
 * const params = Float32Array.of(3, -2);
 * const optimizer = new AdamW({ size: 2, weightDecay: 0 });
 * for (let i = 0; i < 1000; i++) optimizer.step(params, params.map((x) => 2 * x), 0.01);
 * console.log(params.every((x) => Math.abs(x) < 1e-2)); // true: the minimum of x² is at 0
 * ```
 */
export class AdamW {
  /** Number of parameters. */
  readonly size: number;
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  readonly #runs: readonly Run[];
  readonly #m: Float32Array;
  readonly #v: Float32Array;
  #step = 0;

  /**
   * Begins at step 0, with moments of zero.
   *
   * @param options Sizes and hyperparameters.
   * @throws {OptionError} If one is out of its domain; the message names it.
   */
  constructor(options: AdamWOptions) {
    const { size, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = options;
    const { decayMask = [[0, size]], groups = [] } = options;
    const check = (ok: boolean, name: string, value: unknown, domain: string) => {
      if (!ok) throw new OptionError(`AdamW: ${name} is ${value}; it must be ${domain}`);
    };
    check(Number.isInteger(size) && size >= 0, "size", size, "an integer of at least 0");
    betas.forEach((beta, i) => {
      check(beta >= 0 && beta < 1, `betas[${i}]`, beta, "at least 0 and below 1");
    });
    check(epsilon > 0 && epsilon < Infinity, "epsilon", epsilon, "above 0");
    check(weightDecay >= 0 && weightDecay < Infinity, "weightDecay", weightDecay, "at least 0");
    groups.forEach((group, i) => {
      for (const key of ["rate", "weightDecay"] as const) {
        const value = group[key] ?? 0;
        check(value >= 0 && value < Infinity, `groups[${i}].${key}`, value, "at least 0");
      }
    });
    this.size = size;
    [this.#beta1, this.#beta2] = betas;
    this.#epsilon = epsilon;
    const decays = decayMask instanceof Uint8Array ? decayMask : maskOf(decayMask, size);
    if (decays.length !== size) {
      throw new OptionError(
        `AdamW: decayMask has ${decays.length} flags; there are ${size} parameters`,
      );
    }
    this.#runs = runsOf(decays, groups, weightDecay);
    this.#m = new Float32Array(size);
    this.#v = new Float32Array(size);
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#step;
  }

  /**
   * Updates the parameters in place.
   *
   * @param params `size` parameters.
   * @param grads The loss's gradient with respect to them; left as it is.
   * @param learningRate η of this step, finite and at least 0.
   * @throws {ShapeError} If an array is not of `size` elements.
   * @throws {OptionError} If the learning rate is out of its domain.
   */
  step(params: Float32Array, grads: Float32Array, learningRate: number): void {
    if (params.length !== this.size || grads.length !== this.size) {
      throw new ShapeError(
        `AdamW: step got ${params.length} parameters and ${grads.length} gradients; ` +
          `this optimizer was made for ${this.size}`,
      );
    }
    if (!(learningRate >= 0 && learningRate < Infinity)) {
      throw new OptionError(
        `AdamW: learningRate is ${learningRate}; it must be finite and at least 0`,
      );
    }
    const t = ++this.#step;
    const b1 = this.#beta1, b2 = this.#beta2, m = this.#m, v = this.#v;
    const c1 = 1 - b1, c2 = 1 - b2;
    const correction = 1 / (1 - b1 ** t);
    const rootCorrection = 1 / Math.sqrt(1 - b2 ** t);
    const epsilon = this.#epsilon;
    for (const { start, end, rate: own, decay } of this.#runs) {
      const rate = learningRate * own * correction;
      const keep = 1 - learningRate * own * decay;
      for (let i = start; i < end; i++) {
        const g = grads[i]!;
        const mi = b1 * m[i]! + c1 * g;
        const vi = b2 * v[i]! + c2 * g * g;
        m[i] = mi;
        v[i] = vi;
        params[i] = keep * params[i]! - rate * mi / (Math.sqrt(vi) * rootCorrection + epsilon);
      }
    }
  }

  /** Copies of the moments and the step count, for a checkpoint. */
  save(): AdamWState {
    return { step: this.#step, m: this.#m.slice(), v: this.#v.slice() };
  }

  /**
   * Puts a saved state back; the next step goes on from there. The state is copied.
   *
   * @throws {ShapeError} If the state is of another size.
   * @throws {OptionError} If the step count is not an integer of at least 0.
   */
  restore(state: AdamWState): void {
    if (state.m.length !== this.size || state.v.length !== this.size) {
      throw new ShapeError(
        `AdamW: saved state has ${state.m.length} and ${state.v.length} moments; ` +
          `this optimizer was made for ${this.size}`,
      );
    }
    if (!Number.isInteger(state.step) || state.step < 0) {
      throw new OptionError(
        `AdamW: saved step is ${state.step}; it must be an integer of at least 0`,
      );
    }
    this.#step = state.step;
    this.#m.set(state.m);
    this.#v.set(state.v);
  }
}

/** Neighbours that are treated alike; runs tile all parameters, so that no inner loop branches. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly rate: number;
  readonly decay: number;
}

function runsOf(
  decays: Uint8Array,
  groups: readonly ParameterGroup[],
  weightDecay: number,
): Run[] {
  const size = decays.length;
  const group = new Uint32Array(size);
  for (const [i, { ranges }] of groups.entries()) {
    for (const [start, end] of ranges) {
      checkRange(`groups[${i}]`, start, end, size);
      const taken = group.subarray(start, end).find((other) => other !== 0 && other !== i + 1);
      if (taken !== undefined) {
        throw new OptionError(
          `AdamW: groups[${i}] and groups[${taken - 1}] share parameters of ${start} to ${end}`,
        );
      }
      group.fill(i + 1, start, end);
    }
  }
  const runs: Run[] = [];
  for (let start = 0; start < size;) {
    const own = groups[group[start]! - 1];
    const flag = decays[start] !== 0;
    let end = start + 1;
    while (end < size && group[end] === group[start] && (decays[end] !== 0) === flag) end++;
    const decay = flag ? own?.weightDecay ?? weightDecay : 0;
    runs.push({ start, end, rate: own?.rate ?? 1, decay });
    start = end;
  }
  return runs;
}

function maskOf(ranges: readonly ParameterRange[], size: number): Uint8Array {
  const mask = new Uint8Array(size);
  for (const [start, end] of ranges) {
    checkRange("decayMask", start, end, size);
    mask.fill(1, start, end);
  }
  return mask;
}

function checkRange(name: string, start: number, end: number, size: number): void {
  if (
    !Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > size
  ) {
    throw new OptionError(
      `AdamW: ${name} range ${start} to ${end} does not lie within 0 to ${size}`,
    );
  }
}

/**
 * Scales gradients so that their Euclidean norm over all parameters is at most `maxNorm`.
 *
 * @param grads One gradient, or several arrays that count as one; changed in place.
 * @param maxNorm The bound, above 0; `Infinity` only measures.
 * @returns The norm before scaling. NaN or infinite where a gradient is: then nothing is changed,
 *   and the caller can skip the step.
 * @throws {OptionError} If `maxNorm` is not above 0.
 *
 * @example
 * ```ts
 * import { clipByGlobalNorm } from "@ovstage/ovstage";
 * const grads = Float32Array.of(3, 4);
 * console.log(clipByGlobalNorm(grads, 2.5), grads); // 5 Float32Array [ 1.5, 2 ]
 * ```
 */
export function clipByGlobalNorm(
  grads: Float32Array | readonly Float32Array[],
  maxNorm: number,
): number {
  if (!(maxNorm > 0)) {
    throw new OptionError(`clipByGlobalNorm: maxNorm is ${maxNorm}; it must be above 0`);
  }
  const arrays = grads instanceof Float32Array ? [grads] : grads;
  let sum = 0;
  for (const array of arrays) {
    for (let i = 0; i < array.length; i++) sum += array[i]! * array[i]!;
  }
  const norm = Math.sqrt(sum);
  if (Number.isFinite(norm) && norm > maxNorm) {
    const factor = maxNorm / norm;
    for (const array of arrays) {
      for (let i = 0; i < array.length; i++) array[i]! *= factor;
    }
  }
  return norm;
}
