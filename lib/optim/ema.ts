/**
 * Averages of weights over a training run.
 *
 * @module
 */
import { OptionError, ShapeError } from "../errors.ts";

/** Options of {@linkcode ExponentialMovingAverage}. */
export interface ExponentialMovingAverageOptions {
  /** Number of parameters. */
  readonly size: number;
  /** d in [0, 1): how much of the average stays at each step, 0.9999 say. */
  readonly decay: number;
  /**
   * Whether the n-th update takes `min(d, (1 + n)/(10 + n))` in place of d, so that the first weights
   * are soon forgotten; false where left out.
   */
  readonly warmup?: boolean;
}

/** What {@linkcode ExponentialMovingAverage.save} keeps. */
export interface ExponentialMovingAverageState {
  /** Updates made. */
  readonly step: number;
  /** The average, one element per parameter. */
  readonly average: Float32Array;
}

/**
 * The exponential moving average of a network's parameters, `a ← d·a + (1 − d)·θ`, which starts at
 * the first parameters that it is given. Averaged weights often generalise better than the last ones.
 *
 * @example
 * ```ts
 * import { ExponentialMovingAverage } from "@ovstage/ovstage";
 * const average = new ExponentialMovingAverage({ size: 1, decay: 0.5 });
 * for (const theta of [4, 2, 0]) average.update(Float32Array.of(theta));
 * console.log(average.values); // Float32Array [ 1.5 ]
 * ```
 */
export class ExponentialMovingAverage {
  /** The average; zeros before the first update. */
  readonly values: Float32Array;
  readonly #decay: number;
  readonly #warmup: boolean;
  #step = 0;

  /**
   * Begins with no step taken.
   *
   * @param options Size and decay.
   * @throws {OptionError} If an option is out of its domain; the message names it.
   */
  constructor({ size, decay, warmup = false }: ExponentialMovingAverageOptions) {
    const name = "ExponentialMovingAverage";
    if (!Number.isInteger(size) || size < 0) {
      throw new OptionError(`${name}: size is ${size}; it must be an integer of at least 0`);
    }
    if (!(decay >= 0 && decay < 1)) {
      throw new OptionError(`${name}: decay is ${decay}; it must be at least 0 and below 1`);
    }
    this.values = new Float32Array(size);
    this.#decay = decay;
    this.#warmup = warmup;
  }

  /** Updates made so far. */
  get steps(): number {
    return this.#step;
  }

  /**
   * Takes the parameters after a step.
   *
   * @throws {ShapeError} If there are more or fewer than this average was made for.
   */
  update(params: Float32Array): void {
    this.#check(params.length);
    const n = this.#step++;
    const { values } = this;
    if (n === 0) {
      values.set(params);
      return;
    }
    const d = this.#warmup ? Math.min(this.#decay, (1 + n) / (10 + n)) : this.#decay;
    for (let i = 0; i < values.length; i++) values[i] = d * values[i]! + (1 - d) * params[i]!;
  }

  /** A copy of the average and the number of updates, for a checkpoint. */
  save(): ExponentialMovingAverageState {
    return { step: this.#step, average: this.values.slice() };
  }

  /**
   * Puts a saved state back; the state is copied.
   *
   * @throws {ShapeError} If the state is of another size.
   * @throws {OptionError} If its number of updates is not an integer of at least 0.
   */
  restore({ step, average }: ExponentialMovingAverageState): void {
    this.#check(average.length);
    if (!Number.isInteger(step) || step < 0) {
      throw new OptionError(
        `ExponentialMovingAverage: saved step is ${step}; it must be an integer of at least 0`,
      );
    }
    this.#step = step;
    this.values.set(average);
  }

  #check(length: number): void {
    if (length === this.values.length) return;
    throw new ShapeError(
      `ExponentialMovingAverage: got ${length} parameters; made for ${this.values.length}`,
    );
  }
}
