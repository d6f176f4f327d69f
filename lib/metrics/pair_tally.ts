/**
 * Counting by key at the price of an array access.
 *
 * @module
 */

// 1 MiB of counts, cheap enough to be had anew for every image: a confusion matrix of 511 classes.
const DENSE = 1 << 18;

/** Counts by key, 0 to `size` − 1; large ranges take memory for what is counted alone. */
export class PairTally {
  readonly #dense: Uint32Array | null;
  readonly #sparse = new Map<number, number>();
  readonly #touched: number[] = [];

  /** @param size Number of keys. */
  constructor(size: number) {
    this.#dense = size <= DENSE ? new Uint32Array(size) : null;
  }

  /** Adds `count`, at least 1, to a key. */
  add(key: number, count: number): void {
    if (this.#dense === null) {
      this.#sparse.set(key, (this.#sparse.get(key) ?? 0) + count);
      return;
    }
    if (this.#dense[key] === 0) this.#touched.push(key);
    this.#dense[key]! += count;
  }

  /** The count of a key. */
  get(key: number): number {
    return this.#dense === null ? this.#sparse.get(key) ?? 0 : this.#dense[key]!;
  }

  /** What was counted, in the order of first sight. */
  entries(): [key: number, count: number][] {
    if (this.#dense === null) return [...this.#sparse];
    return this.#touched.map((key) => [key, this.#dense![key]!]);
  }
}
