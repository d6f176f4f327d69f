/**
 * One gradient from several small batches.
 *
 * @module
 */
import { OptionError, ShapeError } from "../errors.ts";

/**
 * The weighted mean of gradients. With the micro-batches' sizes as weights it is the gradient of the
 * whole batch's mean loss, from the memory of a micro-batch.
 *
 * @example
 * ```ts
 * import { GradientAccumulator } from "@ovstage/ovstage";
 * const accumulator = new GradientAccumulator(1);
 * accumulator.add(Float32Array.of(1), 3);
 * accumulator.add(Float32Array.of(5), 1);
 * console.log(accumulator.take()); // Float32Array [ 2 ]
 * ```
 */
export class GradientAccumulator {
  readonly #sum: Float32Array;
  #weight = 0;

  /**
   * Begins with no gradient.
   *
   * @param size Number of parameters.
   * @throws {OptionError} If it is no whole number from 0.
   */
  constructor(size: number) {
    if (!Number.isInteger(size) || size < 0) {
      throw new OptionError(
        `GradientAccumulator: size is ${size}; it must be an integer of at least 0`,
      );
    }
    this.#sum = new Float32Array(size);
  }

  /** The weight of all gradients since the last {@linkcode take}. */
  get weight(): number {
    return this.#weight;
  }

  /**
   * Adds the gradient of a micro-batch's mean loss.
   *
   * @param grads One element per parameter; left as it is.
   * @param weight Its share, above 0: the number of samples in the micro-batch.
   * @throws {ShapeError} If there are more or fewer than this accumulator was made for.
   * @throws {OptionError} If the weight is not above 0.
   */
  add(grads: Float32Array, weight = 1): void {
    const sum = this.#sum;
    if (grads.length !== sum.length) {
      throw new ShapeError(
        `GradientAccumulator: got ${grads.length} gradients; made for ${sum.length}`,
      );
    }
    if (!(weight > 0 && weight < Infinity)) {
      throw new OptionError(`GradientAccumulator: weight is ${weight}; it must be above 0`);
    }
    this.#weight += weight;
    // A running mean: its elements are as large as a gradient's, whatever the weights.
    const share = weight / this.#weight;
    for (let i = 0; i < sum.length; i++) sum[i]! += share * (grads[i]! - sum[i]!);
  }

  /**
   * The mean gradient; the next one starts from nothing.
   *
   * @throws {OptionError} If nothing was added.
   */
  take(): Float32Array {
    if (this.#weight === 0) {
      throw new OptionError("GradientAccumulator: nothing to take; add a gradient first");
    }
    const mean = this.#sum.slice();
    this.#sum.fill(0);
    this.#weight = 0;
    return mean;
  }
}
