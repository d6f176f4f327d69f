/**
 * AdamW over flat parameter arrays.
 *
 * @module
 */
import { OptionError, ShapeError } from "../errors.ts";

/** A run of parameters, `start` included, `end` not. */
export type ParameterRange = readonly [start: number, end: number];

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
  readonly #weightDecay: number;
  /** Runs of equal treatment that tile [0, size), so that the inner loop never branches. */
  readonly #runs: readonly { start: number; end: number; decays: boolean }[];
  readonly #m: Float32Array;
  readonly #v: Float32Array;
  #step = 0;

  /**
   * @param options Sizes and hyperparameters.
   * @throws {OptionError} If one is out of its domain; the message names it.
   */
  constructor(options: AdamWOptions) {
    const { size, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, decayMask } = options;
    const check = (ok: boolean, name: string, value: unknown, domain: string) => {
      if (!ok) throw new OptionError(`AdamW: ${name} is ${value}; it must be ${domain}`);
    };
    check(Number.isInteger(size) && size >= 0, "size", size, "an integer of at least 0");
    betas.forEach((beta, i) => {
      check(beta >= 0 && beta < 1, `betas[${i}]`, beta, "at least 0 and below 1");
    });
    check(epsilon > 0 && epsilon < Infinity, "epsilon", epsilon, "above 0");
    check(weightDecay >= 0 && weightDecay < Infinity, "weightDecay", weightDecay, "at least 0");
    this.size = size;
    [this.#beta1, this.#beta2] = betas;
    this.#epsilon = epsilon;
    this.#weightDecay = weightDecay;
    this.#runs = decayMask instanceof Uint8Array
      ? runsOfMask(decayMask, size)
      : runsOfRanges(decayMask ?? [[0, size]], size);
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
    const rate = learningRate / (1 - b1 ** t);
    const rootCorrection = 1 / Math.sqrt(1 - b2 ** t);
    const epsilon = this.#epsilon;
    for (const { start, end, decays } of this.#runs) {
      const keep = decays ? 1 - learningRate * this.#weightDecay : 1;
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

function runsOfMask(mask: Uint8Array, size: number) {
  if (mask.length !== size) {
    throw new OptionError(
      `AdamW: decayMask has ${mask.length} flags; there are ${size} parameters`,
    );
  }
  const runs: { start: number; end: number; decays: boolean }[] = [];
  for (let start = 0; start < size;) {
    const decays = mask[start] !== 0;
    let end = start + 1;
    while (end < size && (mask[end] !== 0) === decays) end++;
    runs.push({ start, end, decays });
    start = end;
  }
  return runs;
}

function runsOfRanges(ranges: readonly ParameterRange[], size: number) {
  const mask = new Uint8Array(size);
  for (const [start, end] of ranges) {
    if (
      !Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > size
    ) {
      throw new OptionError(
        `AdamW: decayMask range ${start} to ${end} does not lie within 0 to ${size}`,
      );
    }
    mask.fill(1, start, end);
  }
  return runsOfMask(mask, size);
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
