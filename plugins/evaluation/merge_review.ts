/**
 * Pairs of categories that may mean the same, and what a person says about them.
 *
 * @module
 */
import { z } from "zod";
import { InputError } from "../../lib/errors.ts";
import { normalizeText } from "../../lib/text/bpe.ts";
import { configErrors } from "../training/config_errors.ts";

/** A pair of categories, and whether they mean the same; null until somebody has said. */
export interface ReviewedPair {
  /** A category's name. */
  first: string;
  /** Another one's. */
  second: string;
  /** The similarity of the two. */
  cosine: number;
  /** Whether they mean the same; null until somebody has said. */
  same: boolean | null;
}

/** A review file. */
export interface MergeReview {
  /** What the document is. */
  format: "ovstage-merge-review";
  /** Of the format. */
  version: 1;
  /** The pairs. */
  pairs: ReviewedPair[];
}

const reviewSchema: z.ZodType<MergeReview> = z.strictObject({
  format: z.literal("ovstage-merge-review"),
  version: z.literal(1),
  pairs: z.array(z.strictObject({
    first: z.string(),
    second: z.string(),
    cosine: z.number(),
    same: z.boolean().nullable().describe("true, false, or null until somebody has said"),
  })),
});

/**
 * Reads a review file.
 *
 * @param where What to call it in messages, such as its path.
 * @throws {InputError} If it is no such file; names the field.
 */
export function parseMergeReview(text: string, where: string): MergeReview {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${where}: is no valid JSON: ${(cause as Error).message}`, { cause });
  }
  const { success, data, error } = reviewSchema.safeParse(document);
  if (success) return data;
  const schema = z.toJSONSchema(reviewSchema) as Record<string, unknown>;
  throw new InputError(`${where}: ${configErrors(error.issues, document, schema).join("; ")}`);
}

/** The same for a pair whichever of the two comes first, and however they are written. */
const keyOf = ({ first, second }: Pick<ReviewedPair, "first" | "second">) =>
  JSON.stringify([normalizeText(first), normalizeText(second)].sort());

/**
 * Brings a review up to date: lists the pairs that are candidates now, with the answers that are
 * there already. Answers to pairs that are candidates no more stay, after the others: a threshold
 * may come back.
 *
 * @param candidates Pairs of names and their cosines, in the order in which to list them.
 * @param review What is there, or null.
 */
export function updateReview(
  candidates: readonly Omit<ReviewedPair, "same">[],
  review: MergeReview | null,
): MergeReview {
  const answers = new Map((review?.pairs ?? []).map((pair) => [keyOf(pair), pair]));
  const pairs = candidates.map((pair) => {
    const known = answers.get(keyOf(pair));
    answers.delete(keyOf(pair));
    return { ...pair, same: known?.same ?? null };
  });
  const kept = [...answers.values()].filter(({ same }) => same !== null);
  return { format: "ovstage-merge-review", version: 1, pairs: [...pairs, ...kept] };
}

/**
 * Groups categories that mean the same; of three, A like B and B like C make one group.
 *
 * @param count Number of categories.
 * @param same Pairs that mean the same.
 * @returns The group of each category, numbered by its first member.
 */
export function groupSame(
  count: number,
  same: Iterable<readonly [first: number, second: number]>,
): Int32Array {
  const parent = Int32Array.from({ length: count }, (_, i) => i);
  const root = (i: number): number => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!;
    return i;
  };
  for (const [first, second] of same) {
    const [a, b] = [root(first), root(second)];
    parent[Math.max(a, b)] = Math.min(a, b);
  }
  const groups = new Int32Array(count);
  let next = 0;
  for (let i = 0; i < count; i++) groups[i] = root(i) === i ? next++ : groups[root(i)]!;
  return groups;
}
