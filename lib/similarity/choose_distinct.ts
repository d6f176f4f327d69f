/**
 * Which categories a benchmark takes, by how similar they are to the training categories.
 *
 * @module
 */
import type { SimilarPair } from "./similar_pairs.ts";

/** What {@linkcode chooseDistinct} goes by. */
export interface DistinctOptions {
  /** Which end to begin at: the categories far from the training ones, or those near them. */
  readonly from: "far" | "near";
  /** How many to take at most; all that fit where left out. */
  readonly count?: number;
  /** Pairs that mean the same: of each, at most one is taken. */
  readonly same?: readonly SimilarPair[];
  /** Categories are left out from this similarity on; none where left out. */
  readonly tooClose?: number;
  /** Categories that are not up for choice, and whose like isn't either. */
  readonly taken?: Iterable<number>;
}

/**
 * Takes categories one after another: those of least similarity first where `from` is "far", those
 * of greatest first where it is "near"; of equally similar ones, the first. One is passed over where
 * its similarity reaches `tooClose`, or where it means the same as one that is taken already.
 *
 * @param similarity Of each category, the cosine to its nearest training category.
 * @param options See {@linkcode DistinctOptions}.
 * @returns Indices, in the order in which they were taken; perhaps fewer than `count`.
 *
 * @example
 * ```ts
 * import { chooseDistinct } from "@ovstage/ovstage";
 * const same = [{ first: 0, second: 2, cosine: 0.97 }];
 * console.log(chooseDistinct([0.3, 0.9, 0.4, 0.5], { from: "far", same, tooClose: 0.8 })); // [0, 3]
 * ```
 */
export function chooseDistinct(
  similarity: ArrayLike<number>,
  { from, count = Infinity, same = [], tooClose = Infinity, taken = [] }: DistinctOptions,
): number[] {
  const likes = new Map<number, number[]>();
  for (const { first, second } of same) {
    for (const [a, b] of [[first, second], [second, first]] as const) {
      const list = likes.get(a);
      if (list === undefined) likes.set(a, [b]);
      else list.push(b);
    }
  }
  const out = new Set<number>();
  const leaveOut = (index: number) => {
    out.add(index);
    for (const like of likes.get(index) ?? []) out.add(like);
  };
  for (const index of taken) leaveOut(index);
  const sign = from === "far" ? 1 : -1;
  const order = Array.from(similarity, (_, i) => i)
    .sort((a, b) => sign * (similarity[a]! - similarity[b]!) || a - b);
  const chosen: number[] = [];
  for (const index of order) {
    if (chosen.length >= count) break;
    if (out.has(index) || similarity[index]! >= tooClose) continue;
    chosen.push(index);
    leaveOut(index);
  }
  return chosen;
}
