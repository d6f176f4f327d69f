/**
 * The pairs of rows that are as good as the same.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { cosineBlocks, type CosineOptions, type CosineRows } from "./cosine_blocks.ts";

/** Two rows and their cosine. */
export interface SimilarPair {
  /** The row that comes first. */
  readonly first: number;
  /** The row that comes later. */
  readonly second: number;
  /** Their cosine. */
  readonly cosine: number;
}

/** The most pairs that are listed. */
const MAX_PAIRS = 100_000;

/**
 * All pairs of rows whose cosine is at least a threshold.
 *
 * @param rows N×D.
 * @param threshold A cosine.
 * @param options How to compute; what comes out doesn't depend on it.
 * @returns The pairs, the nearest first; of equally near ones, in the order of their rows.
 * @throws {InputError} If there are more than 100,000.
 */
export async function similarPairs(
  rows: CosineRows,
  threshold: number,
  options: CosineOptions = {},
): Promise<SimilarPair[]> {
  const pairs: SimilarPair[] = [];
  await cosineBlocks(rows, rows, (block) => {
    const { row, column, columns, cosines, tolerance } = block;
    for (let i = 0; i < block.rows; i++) {
      const first = row + i;
      for (let j = Math.max(0, first + 1 - column); j < columns; j++) {
        if (cosines[i * columns + j]! < threshold - tolerance) continue;
        const second = column + j;
        const cosine = rows.cosine(first, rows, second);
        if (cosine >= threshold) pairs.push({ first, second, cosine });
      }
    }
    if (pairs.length > MAX_PAIRS) {
      throw new InputError(
        `more than ${MAX_PAIRS} pairs have a cosine of at least ${threshold}; raise the threshold`,
      );
    }
  }, { ...options, upper: true });
  return pairs.sort((a, b) => b.cosine - a.cosine || a.first - b.first || a.second - b.second);
}
