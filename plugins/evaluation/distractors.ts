/**
 * Names that an image has nothing to do with.
 *
 * @module
 */
import { InputError, OptionError } from "../../lib/errors.ts";
import { Rng } from "../../lib/rng.ts";
import { normalizeText } from "../../lib/text/bpe.ts";
import type { DatasetClass } from "../../lib/data/dataset.ts";

/** Which names are added to a vocabulary. */
export interface Distractors {
  /** How many, once for every measurement, each a whole number from 0. */
  readonly counts: readonly number[];
  /** The names that they are drawn from. */
  readonly names: readonly string[];
  /** Seed of the draw; 0 where left out. */
  readonly seed?: number;
}

/**
 * Draws distractors: names that neither are a class of the data set nor mean one. The first k of
 * them are the distractors of a measurement with k, so every larger set holds the smaller ones.
 *
 * @param classes The data set's classes.
 * @param distractors How many, and from which names.
 * @returns As many names as the largest count, none twice whatever its case and spaces.
 * @throws {OptionError} If a count is no whole number from 0.
 * @throws {InputError} If too few names are left.
 *
 * @example
 * ```ts
 * import { drawDistractors } from "@ovstage/ovstage/evaluation";
 * const classes = [{ name: "dog", synonyms: ["dog", "hound"], isThing: true }];
 * const names = ["Dog", "guitar", "hound", "pizza"];
 * console.log(drawDistractors(classes, { counts: [0, 2], names }).sort()); // ["guitar", "pizza"]
 * ```
 */
export function drawDistractors(
  classes: readonly Pick<DatasetClass, "name" | "synonyms">[],
  { counts, names, seed = 0 }: Distractors,
): string[] {
  for (const count of counts) {
    if (Number.isInteger(count) && count >= 0) continue;
    throw new OptionError(`distractors: ${count} is no whole number from 0`);
  }
  const taken = new Set(
    classes.flatMap(({ name, synonyms }) => [name, ...synonyms]).map(normalizeText),
  );
  const offered: string[] = [];
  for (const name of names) {
    const key = normalizeText(name);
    if (key === "" || taken.has(key)) continue;
    taken.add(key);
    offered.push(name);
  }
  const most = Math.max(0, ...counts);
  if (offered.length < most) {
    throw new InputError(
      `distractors: ${most} are asked for, and ${offered.length} of ${names.length} names are ` +
        "left once the data set's own are taken out; give a larger vocabulary",
    );
  }
  return new Rng(seed).shuffle(offered).slice(0, most);
}
