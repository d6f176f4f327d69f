/**
 * The sampler of Proxy Calibration (OVSNet, section 3.3).
 *
 * @module
 */
import { OptionError } from "../../lib/errors.ts";
import type { Rng } from "../../lib/rng.ts";

/** A gamma variate of shape `shape` and scale 1. */
function sampleGamma(rng: Rng, shape: number): number {
  if (Number.isInteger(shape)) {
    // Of an integer shape, it is a sum of exponential ones.
    let sum = 0;
    for (let i = 0; i < shape; i++) sum -= Math.log(1 - rng.uniform());
    return sum;
  }
  if (shape < 1) return sampleGamma(rng, shape + 1) * (1 - rng.uniform()) ** (1 / shape);
  // Marsaglia and Tsang (2000): a cube of a shifted normal, and rejection.
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = rng.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - rng.uniform()) < x * x / 2 + d - d * v + d * Math.log(v)) {
      return d * v;
    }
  }
}

/**
 * Draws α ~ Beta(γ, γ).
 *
 * @param gamma γ > 0; 2 has its mass in the middle, 1 is uniform.
 * @returns A number from 0 to 1.
 * @throws {OptionError} If γ is not above 0.
 */
export function sampleBeta(rng: Rng, gamma: number): number {
  if (!(gamma > 0 && gamma < Infinity)) {
    throw new OptionError(`Beta(γ, γ): γ is ${gamma}; it must be above 0`);
  }
  const [x, y] = [sampleGamma(rng, gamma), sampleGamma(rng, gamma)];
  // Of a tiny γ both may underflow; the distribution's mass is at the ends then.
  return x + y > 0 ? x / (x + y) : rng.integer(2);
}

/** Pairs to be mixed. */
export interface Proxies {
  /** For each slot, the slot that it is mixed with. */
  readonly partner: BigInt64Array;
  /** For each slot, its own share α of the mixture. */
  readonly alpha: Float32Array;
}

/**
 * Draws a partner and an α for every slot: the same pair and the same α mix in all three spaces.
 *
 * @param used Slots that hold a segment; partners are drawn from them, uniformly.
 * @param slots Number of slots in all; what the unused ones draw counts nowhere.
 * @param gamma γ of Beta(γ, γ).
 */
export function drawProxies(
  rng: Rng,
  used: readonly number[],
  slots: number,
  gamma: number,
): Proxies {
  const partner = new BigInt64Array(slots);
  const alpha = new Float32Array(slots);
  for (let s = 0; s < slots; s++) {
    partner[s] = BigInt(used.length === 0 ? 0 : rng.pick(used));
    alpha[s] = sampleBeta(rng, gamma);
  }
  return { partner, alpha };
}
