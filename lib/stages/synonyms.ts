/**
 * Names that mean the same class.
 *
 * @module
 */
import type { VocabularySlot } from "./slots.ts";

/** What the rows of text embeddings stand for. */
export interface SynonymRows {
  /** The name of each row. */
  readonly names: readonly string[];
  /** The class of each row, a position in the vocabulary's `active`; ascending. */
  readonly classes: readonly number[];
}

/**
 * Every name that a vocabulary's classes are to be embedded by: the synonyms of the first active
 * class, those of the second …, or one name a class where synonyms don't count.
 *
 * @example
 * ```ts
 * import { synonymRows, vocabulary } from "@ovstage/ovstage";
 * const synonyms = [["dog", "hound"], ["cat"]];
 * const rows = synonymRows(vocabulary(["dog", "cat"], { synonyms, pooling: "max" }));
 * console.log(rows.names.join(" "), rows.classes.join(" ")); // dog hound cat 0 0 1
 * ```
 */
export function synonymRows({ names, active, synonyms, pooling }: VocabularySlot): SynonymRows {
  if (synonyms === undefined || pooling === undefined) {
    return { names: active.map((index) => names[index]!), classes: active.map((_, c) => c) };
  }
  return {
    names: active.flatMap((index) => synonyms[index]!),
    classes: active.flatMap((index, c) => synonyms[index]!.map(() => c)),
  };
}

/** T: how many rows `text` has, which is C unless synonyms are pooled by their maximum. */
export function textRowCount({ active, synonyms, pooling }: VocabularySlot): number {
  if (synonyms === undefined || pooling !== "max") return active.length;
  return active.reduce((sum, index) => sum + (synonyms[index]?.length ?? 0), 0);
}
