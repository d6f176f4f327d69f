/**
 * Seeded randomness. Nothing in this project draws from a global generator.
 *
 * @module
 */

/**
 * xoshiro128** (Blackman and Vigna, 2018), seeded through SplitMix32. The same seed gives the same
 * sequence on every runtime: integer arithmetic only, and floats are exact multiples of 2⁻³².
 *
 * @example
 * ```ts
 * import { Rng } from "@ovstage/ovstage";
 * const rng = new Rng(7);
 * console.log(rng.uniform() < 1, rng.integer(10) < 10); // true true
 * ```
 */
export class Rng {
  readonly #state = new Uint32Array(4);

  /**
   * Begins a sequence.
   *
   * @param seed Any finite number; its low 32 bits count.
   */
  constructor(seed: number) {
    let z = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0;
      let t = z ^ (z >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      this.#state[i] = (t ^ (t >>> 15)) >>> 0;
    }
  }

  /** The next 32 random bits. */
  next(): number {
    const s = this.#state;
    const s1 = s[1]!;
    const m = Math.imul(s1, 5);
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0;
    const t = s1 << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  /** Uniform in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.next() / 2 ** 32);
  }

  /** Uniform integer in [0, n), without modulo bias. */
  integer(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    let x = this.next();
    while (x >= limit) x = this.next();
    return x % n;
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    const r = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return r * Math.cos(2 * Math.PI * this.uniform());
  }

  /** One element, uniformly. */
  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)]!;
  }

  /** Shuffles in place (Fisher and Yates) and returns the same array. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  /** An independent generator for a numbered sub-task, without disturbing this one. */
  fork(stream: number): Rng {
    return new Rng((this.#state[0]! ^ Math.imul(stream + 1, 0x9e3779b1)) >>> 0);
  }

  /** The state as four words, for a checkpoint. */
  save(): [number, number, number, number] {
    return [this.#state[0]!, this.#state[1]!, this.#state[2]!, this.#state[3]!];
  }

  /** Puts a saved state back; the sequence goes on from there. */
  restore(state: readonly [number, number, number, number]): void {
    this.#state.set(state);
  }
}
