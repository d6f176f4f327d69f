/**
 * Generated sizes and seeds.
 *
 * @module
 */
import fc from "fast-check";

/** Seeds of the tensors of a case. */
export const seeds: fc.Arbitrary<number> = fc.integer({ min: 0, max: 2 ** 31 - 1 });

/**
 * Numbers of rows or columns: mostly from 1 to 9, now and then just around the tiles of 32 and 64
 * that kernels work in.
 *
 * @param max The largest.
 */
export function sizes(max = 66): fc.Arbitrary<number> {
  const around = [32, 64].filter((tile) => tile + 2 <= max)
    .map((tile) => ({ weight: 1, arbitrary: fc.integer({ min: tile - 1, max: tile + 2 }) }));
  return fc.oneof(
    { weight: 60, arbitrary: fc.integer({ min: 1, max: Math.min(9, max) }) },
    ...around,
  );
}

/**
 * Edges of maps in cells: mostly from 1 to 9, now and then some 20.
 *
 * @param max The largest.
 */
export function edges(max = 20): fc.Arbitrary<number> {
  const small = { weight: 12, arbitrary: fc.integer({ min: 1, max: Math.min(9, max) }) };
  return max < 16
    ? small.arbitrary
    : fc.oneof(small, { weight: 1, arbitrary: fc.integer({ min: 16, max }) });
}
