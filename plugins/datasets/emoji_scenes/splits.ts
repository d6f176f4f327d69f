/**
 * Which categories the decoder trains on, and which unseen ones test it near and far from them.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Engine } from "../../../lib/runtime.ts";
import { chooseDistinct } from "../../../lib/similarity/choose_distinct.ts";
import { CosineRows } from "../../../lib/similarity/cosine_blocks.ts";
import { nearestRows } from "../../../lib/similarity/nearest_rows.ts";
import { similarPairs } from "../../../lib/similarity/similar_pairs.ts";
import { float32, formatShape, type HostTensor } from "../../../lib/tensor.ts";
import { stuffCategories } from "./textures.ts";
import { type EmojiCategory, emojiUniverse } from "./universe.ts";

/** How many emoji the decoder trains on; with the twelve textures that makes 171 categories. */
export const seenCount = 159;

/** How many unseen categories lie near the seen ones. */
export const nearCount = 150;

/** How many unseen categories lie far from the seen ones. */
export const farCount = 286;

/** The seed of the draw in {@linkcode chooseSeen}. */
export const seenSeed = 2026;

/** The committed document: emoji by code points. */
export interface SplitsDocument {
  /** Seed of the draw of `seen`. */
  readonly seed: number;
  /** Emoji that the decoder trains on. */
  readonly seen: readonly string[];
  /** Unseen emoji close to the seen ones; empty until chosen. */
  readonly near: readonly string[];
  /** Unseen emoji far from the seen ones; empty until chosen. */
  readonly far: readonly string[];
}

/** The splits as universe indices, ascending. */
export interface Splits {
  /** The 159 emoji that the decoder trains on; the twelve textures are seen as well. */
  readonly seen: readonly number[];
  /**
   * The 150 unseen emoji close to the seen ones.
   * @throws {InputError} When read before they have been chosen.
   */
  readonly near: readonly number[];
  /**
   * The 286 unseen emoji far from the seen ones.
   * @throws {InputError} When read before they have been chosen.
   */
  readonly far: readonly number[];
  /**
   * What scenes for training may show as "others": distinct categories in none of the three splits,
   * so that the decoder meets no test category and no twin of a seen one under that label.
   * @throws {InputError} When read before near and far have been chosen.
   */
  readonly others: readonly number[];
}

/** Signs rather than pictures: what they show can't be told from their name, or hardly. */
const signSubgroups: ReadonlySet<string> = new Set([
  "arrow",
  "zodiac",
  "av-symbol",
  "gender",
  "math",
  "punctuation",
  "currency",
  "geometric",
  "family",
  "person-gesture",
]);

/** Variants of one drawing: a person's sex or hair, an hour, a phase, a colour, a direction. */
const variants: readonly RegExp[] = [
  /\b(wo)?m[ae]n\b(?!’s)/,
  /^(boy|girl|merman|mermaid|prince|princess|Mrs\. Claus|Mx Claus)$|^pregnant|feeding/,
  /:|facing|^(left|right)wards|\b(left|right|up|down)$/,
  /o’clock|-thirty/,
  /moon face|gibbous|quarter moon|waxing|waning|new moon/,
  /^sun (behind|with)|^cloud with (rain|snow|lightning)$|without snow|with rain drops/,
  /^(orange|green|blue|light blue|yellow|purple|brown|black|grey|white|pink) (heart|book)/,
  /^oncoming|^closed mailbox|^open mailbox with lowered|^speaker|^muted|with flash|tilted right/,
  /^globe showing (Americas|Asia)|banknote|^(2nd|3rd) place|low battery|^no |, not/,
  /^hourglass not|^open file|^linked|unlocked|locked with|broken chain|with slash|^children/,
  /curly loop|^part alternation|^eight-|^sparkle$|^hollow|cross mark|check (mark|box)|^dotted/,
  /motorized wheelchair|^person in manual|^(bullet train|light rail|aerial tramway|tram car)$/,
  /^(musical notes?|optical disk|dvd|softball|rugby football|busts in silhouette)$/,
  /^(brick|wood|water wave|fog|foggy)$/,
];

/**
 * One category per family of near-duplicates: signs of the subgroups arrow, zodiac, buttons, math,
 * punctuation, currency, geometric shapes, families and gestures drop out, and so do variants of a
 * drawing by sex, hair, hour, phase, colour or direction ({@linkcode variants}); "dog face" drops
 * out where there is a "dog"; emoji that mean what a texture means ("brick", "wood") drop out.
 *
 * @returns Categories of the universe, in its order.
 */
export function distinctCategories(): EmojiCategory[] {
  const universe = emojiUniverse();
  const names = new Set(universe.map(({ name }) => name));
  return universe.filter(({ name, subgroup }) =>
    !signSubgroups.has(subgroup) && !variants.some((variant) => variant.test(name)) &&
    !(name.endsWith(" face") && names.has(name.slice(0, -5)))
  );
}

/** Subgroups whose members look alike; at most this many of each may be seen. */
const lookAlike = /^(face-|cat-face|monkey-face|heart$|hand|hotel|emotion|light-video)/;
const lookAlikeLimit = 1;

/**
 * Draws the seen categories: from {@linkcode distinctCategories}, at most one of each subgroup of
 * look-alikes (faces, hearts, hands), stratified over Unicode's groups in proportion to what each
 * group offers (largest remainders), uniformly within a group.
 *
 * @param seed Seed of the draw.
 * @param count How many.
 * @returns Universe indices, ascending.
 */
export function chooseSeen(seed = seenSeed, count = seenCount): number[] {
  const rng = new Rng(seed);
  const strata = new Map<string, number[]>();
  const taken = new Map<string, number>();
  for (const { group, subgroup, index } of rng.shuffle(distinctCategories())) {
    if (lookAlike.test(subgroup)) {
      const used = taken.get(subgroup) ?? 0;
      if (used >= lookAlikeLimit) continue;
      taken.set(subgroup, used + 1);
    }
    let stratum = strata.get(group);
    if (!stratum) strata.set(group, stratum = []);
    stratum.push(index);
  }
  const offered = [...strata.values()].reduce((sum, { length }) => sum + length, 0);
  const shares = [...strata.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(
    ([, members]) => {
      const exact = (count * members.length) / offered;
      return { members, whole: Math.floor(exact), rest: exact - Math.floor(exact) };
    },
  );
  let left = count - shares.reduce((sum, { whole }) => sum + whole, 0);
  for (const share of [...shares].sort((a, b) => b.rest - a.rest)) {
    if (left-- > 0) share.whole++;
  }
  return shares.flatMap(({ members, whole }) => members.slice(0, whole)).sort((a, b) => a - b);
}

/** Options of {@linkcode chooseNearAndFar}. */
export interface NearAndFarOptions {
  /** How many near categories. */
  readonly near?: number;
  /** How many far categories. */
  readonly far?: number;
  /** Two names mean the same where the cosine of their embeddings is at least this. */
  readonly sameMeaning?: number;
  /** Which names may be chosen; all unseen ones where left out. */
  readonly candidates?: readonly string[];
  /** Computes the cosines; plain loops where left out. */
  readonly engine?: Engine;
}

/** What {@linkcode chooseNearAndFar} chooses. */
export interface NearAndFar {
  /** Names of the near categories, the nearest first. */
  readonly near: string[];
  /** Names of the far categories, the farthest first. */
  readonly far: string[];
}

/**
 * Chooses the unseen test categories by their similarity to the seen ones in a text embedding
 * space: sim(c) = max over seen s of cos(e_c, e_s), OpenBench's measure.
 *
 * `far` takes candidates in ascending order of sim, leaving out each one that means the same
 * (cosine ≥ `sameMeaning`) as one taken before. `near` then takes candidates in descending order of
 * sim, leaving out those that mean the same as a seen, a far, or an already taken near category.
 * This is what `ovs curate` does with a data set's categories, see {@linkcode chooseDistinct}.
 *
 * @param names Names of all embedding rows.
 * @param seenNames The seen categories' names, textures included; all of them among `names`.
 * @param embeddings float32 names.length × D, rows of any length but 0.
 * @param options Counts, threshold and candidates.
 * @throws {ShapeError} If `embeddings` does not hold names.length rows.
 * @throws {InputError} If a name is unknown, a row has no direction, or too few candidates differ
 * enough in meaning.
 */
export async function chooseNearAndFar(
  names: readonly string[],
  seenNames: readonly string[],
  embeddings: HostTensor<"float32">,
  options: NearAndFarOptions = {},
): Promise<NearAndFar> {
  const { near = nearCount, far = farCount, sameMeaning = 0.9, engine } = options;
  if (embeddings.shape[0] !== names.length) {
    throw new ShapeError(
      `splits: embeddings are ${formatShape(embeddings.shape)}, must be ${names.length}×D`,
    );
  }
  const rowOfName = new Map(names.map((name, row) => [name, row]));
  const table = (wanted: readonly string[]) => {
    const size = embeddings.shape[1]!;
    const data = new Float32Array(wanted.length * size);
    wanted.forEach((name, i) => {
      const row = rowOfName.get(name);
      if (row === undefined) throw new InputError(`splits: no embedding of "${name}"`);
      data.set(embeddings.data.subarray(row * size, (row + 1) * size), i * size);
    });
    return new CosineRows(float32([wanted.length, size], data), (i) => `"${wanted[i]}"`);
  };
  const seen = new Set(seenNames);
  const candidates = (options.candidates ?? names).filter((name) => !seen.has(name));
  const rows = table(candidates);
  const how = engine === undefined ? {} : { engine };
  const { cosine: similarity } = await nearestRows(rows, table(seenNames), how);
  const same = await similarPairs(rows, sameMeaning, how);
  const farRows = chooseDistinct(similarity, { from: "far", count: far, same });
  const nearRows = chooseDistinct(similarity, {
    from: "near",
    count: near,
    same,
    tooClose: sameMeaning,
    taken: farRows,
  });
  for (const [what, got, want] of [["far", farRows, far], ["near", nearRows, near]] as const) {
    if (got.length < want) {
      throw new InputError(
        `splits: only ${got.length} of ${want} ${what} categories differ by a cosine below ` +
          `${sameMeaning}; raise sameMeaning or offer more candidates`,
      );
    }
  }
  const named = (list: readonly number[]) => list.map((row) => candidates[row]!);
  return { near: named(nearRows), far: named(farRows) };
}

/**
 * Reads the committed splits, `splits.json` beside this file.
 *
 * @returns Universe indices; reading `near` or `far` before they are chosen throws.
 * @throws {InputError} If the document names an emoji that is not in the universe.
 * @example
 * ```ts
 * import { loadSplits } from "./splits.ts";
 * console.log(loadSplits().seen.length); // 159
 * ```
 */
export function loadSplits(): Splits {
  const document = JSON.parse(
    readFileSync(new URL("./splits.json", import.meta.url), "utf8"),
  ) as SplitsDocument;
  const byCode = new Map(emojiUniverse().map(({ hexcode, index }) => [hexcode, index]));
  const indices = (split: "seen" | "near" | "far") => {
    if (document[split].length === 0) {
      throw new InputError(
        `splits.json: "${split}" is not chosen yet; run choose_splits.ts with embeddings`,
      );
    }
    return document[split].map((code) => {
      const index = byCode.get(code);
      if (index === undefined) {
        throw new InputError(`splits.json: "${code}" in "${split}" is not in the universe`);
      }
      return index;
    }).sort((a, b) => a - b);
  };
  return {
    seen: indices("seen"),
    get near() {
      return indices("near");
    },
    get far() {
      return indices("far");
    },
    get others() {
      const used = new Set([...indices("seen"), ...indices("near"), ...indices("far")]);
      return distinctCategories().map(({ index }) => index).filter((index) => !used.has(index));
    },
  };
}

/** The names of the decoder's 171 categories: the seen emoji in order, then the textures. */
export function seenNames(splits: Pick<Splits, "seen"> = loadSplits()): string[] {
  const universe = emojiUniverse();
  return [...splits.seen.map((index) => universe[index]!.name), ...stuffCategories];
}
