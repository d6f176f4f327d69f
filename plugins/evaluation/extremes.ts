/**
 * The best and the worst of many, without keeping all.
 *
 * @module
 */
import type { ImageScore } from "./result.ts";

/** Keeps the images with the highest and the lowest scores; of equal ones, the first. */
export class Extremes {
  readonly #count: number;
  #best: ImageScore[] = [];
  #worst: ImageScore[] = [];

  /** @param count How many of either. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Whether an image that comes after all others would be among the best or the worst. */
  wouldTake(score: number): boolean {
    const isRoom = this.#best.length < this.#count;
    return this.#count > 0 &&
      (isRoom || score > this.#best.at(-1)!.score || score < this.#worst.at(-1)!.score);
  }

  /** Adds an image. */
  add(image: ImageScore): void {
    this.#best = this.#insert(this.#best, image, (a, b) => b.score - a.score);
    this.#worst = this.#insert(this.#worst, image, (a, b) => a.score - b.score);
  }

  #insert(
    list: readonly ImageScore[],
    image: ImageScore,
    compare: (a: ImageScore, b: ImageScore) => number,
  ): ImageScore[] {
    return [...list, image].sort((a, b) => compare(a, b) || a.index - b.index)
      .slice(0, this.#count);
  }

  /** Numbers of the images that are among the best or the worst. */
  indices(): Set<number> {
    return new Set([...this.#best, ...this.#worst].map(({ index }) => index));
  }

  /** The best ones, the best first. */
  best(): ImageScore[] {
    return [...this.#best];
  }

  /** The worst ones, the worst first; without those that are among the best, where all are few. */
  worst(): ImageScore[] {
    const best = new Set(this.#best.map(({ index }) => index));
    return this.#worst.filter(({ index }) => !best.has(index));
  }
}
