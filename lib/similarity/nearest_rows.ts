/**
 * The nearest row of one matrix for each row of another.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { cosineBlocks, type CosineOptions, type CosineRows } from "./cosine_blocks.ts";

/** What {@linkcode nearestRows} finds. */
export interface NearestRows {
  /** The nearest key of each query; of keys that are exactly as near, the first. */
  readonly index: Int32Array;
  /** Its cosine. */
  readonly cosine: Float64Array;
}

/**
 * For each query q: argmax over keys k of cos(q, k), and that cosine, in float64.
 *
 * @param queries M×D.
 * @param keys N×D, N at least 1.
 * @param options How to compute; what comes out doesn't depend on it.
 * @throws {InputError} If there are no keys.
 * @throws {ShapeError} If D differs.
 *
 * @example
 * ```ts
 * import { CosineRows, float32, nearestRows } from "@ovstage/ovstage";
 * const keys = new CosineRows(float32([2, 2], Float32Array.of(1, 0, 0, 3)));
 * const queries = new CosineRows(float32([1, 2], Float32Array.of(3, 4)));
 * const { index, cosine } = await nearestRows(queries, keys);
 * console.log(index[0], cosine[0]); // 1 0.8
 * ```
 */
export async function nearestRows(
  queries: CosineRows,
  keys: CosineRows,
  options: CosineOptions = {},
): Promise<NearestRows> {
  if (keys.count === 0) throw new InputError("no rows to be near to; there must be at least one");
  const index = new Int32Array(queries.count).fill(-1);
  const cosine = new Float64Array(queries.count).fill(-Infinity);
  await cosineBlocks(queries, keys, ({ row, rows, column, columns, cosines, tolerance }) => {
    for (let i = 0; i < rows; i++) {
      const at = i * columns;
      const query = row + i;
      let most = cosine[query]!;
      for (let j = 0; j < columns; j++) if (cosines[at + j]! > most) most = cosines[at + j]!;
      const least = most - tolerance;
      for (let j = 0; j < columns; j++) {
        if (cosines[at + j]! < least) continue;
        const exact = queries.cosine(query, keys, column + j);
        // Columns come in rising order, so that the first of equals stays.
        if (exact > cosine[query]!) [cosine[query], index[query]] = [exact, column + j];
      }
    }
  }, options);
  return { index, cosine };
}
