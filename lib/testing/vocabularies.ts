/**
 * Generated vocabularies and their text embeddings.
 *
 * @module
 */
import fc from "fast-check";
import { Rng } from "../rng.ts";
import type { VocabularySlot } from "../stages/slots.ts";
import { vocabulary } from "../stages/vocabulary.ts";
import { float32, type HostTensor } from "../tensor.ts";
import { drawEmbeddings, startRows } from "./embeddings.ts";
import { unitRows } from "./numbers.ts";
import { seeds, sizes } from "./sizes.ts";

/**
 * What is special about the names: `look-alikes` differ only in case, white space or Unicode's
 * normal form, which makes them different names all the same.
 */
export const nameKinds = ["words", "scripts", "emoji", "look-alikes", "long", "symbols"] as const;

/** One of {@linkcode nameKinds}. */
export type NameKind = typeof nameKinds[number];

/** A vocabulary with its text embeddings, in a few numbers. */
export interface VocabularyCase {
  /** Number of names. */
  readonly names: number;
  /** What is special about them. */
  readonly kind: NameKind;
  /** Whether some names are no longer in the running. */
  readonly shrunk: boolean;
  /** Whether it says which names were trained on. */
  readonly trained: boolean;
  /** D, of the text embeddings. */
  readonly channels: number;
  /** What is special about the text embeddings; their rows have length 1 always. */
  readonly text: "normal" | "identical" | "close";
  /** Of everything drawn. */
  readonly seed: number;
}

/** Cases of vocabularies: a single name, other scripts, look-alikes, equal embeddings among them. */
export const vocabularyCases: fc.Arbitrary<VocabularyCase> = fc.record({
  names: sizes(),
  kind: fc.constantFrom(...nameKinds),
  shrunk: fc.boolean(),
  trained: fc.boolean(),
  channels: sizes(),
  text: fc.constantFrom("normal", "identical", "close"),
  seed: seeds,
});

const alphabets: Record<NameKind, readonly string[]> = {
  words: [..."abcdefghijklmnopqrstuvwxyz -"],
  scripts: [..."éßøжщאבعربहिनไทย犬猫한국ñΩ"],
  emoji: ["🐶", "👩‍🚀", "🏳️‍🌈", "🇳🇱", "❤️", "1️⃣", "👍🏽", "🫠"],
  "look-alikes": ["e\u0301", "é", "E", "e", " ", "\u00a0", "ﬁ", "fi", "ı", "i"],
  long: [..."abcdefghij "],
  symbols: [..."\"'\\,;:/&<>{}[]%$#@!?*|\u200b\t\n"],
};

/** Draws a vocabulary, by the contract of {@linkcode vocabulary}. */
export function drawVocabulary(c: VocabularyCase): VocabularySlot {
  const rng = new Rng(c.seed);
  const letters = alphabets[c.kind];
  const names = new Set<string>();
  for (let length = 1; names.size < c.names; length++) {
    const count = c.kind === "long" ? 300 + length : 1 + rng.integer(3 + Math.ceil(length / 9));
    const name = Array.from({ length: count }, () => rng.pick(letters)).join("");
    if (name.trim() !== "") names.add(name);
  }
  const trained = Array.from(names, () => rng.integer(2) === 0);
  const slot = vocabulary([...names], c.trained ? { trained } : {});
  if (!c.shrunk) return slot;
  const stays = slot.active.filter(() => rng.integer(2) === 0);
  return { ...slot, active: stays.length > 0 ? stays : [rng.integer(c.names)] };
}

/**
 * Draws the text embeddings of the names that are in the running.
 *
 * @returns float32 C×D with rows of length 1.
 */
export function drawText(c: VocabularyCase): HostTensor<"float32"> {
  const rows = drawVocabulary(c).active.length;
  const { channels, text: kind, seed } = c;
  const { data } = drawEmbeddings({ rows, channels, kind, seed }, startRows({ channels, seed }));
  return float32([rows, channels], Float32Array.from(unitRows(data, channels)));
}

/** Lists of names that {@linkcode vocabulary} refuses: none at all, a blank name, one name twice. */
export const refusedNames: fc.Arbitrary<string[]> = fc.oneof(
  fc.constant<string[]>([]),
  fc.tuple(
    vocabularyCases,
    fc.constantFrom("", " ", "\t", "\n", "\u00a0", "\u3000"),
    fc.nat(),
  ).map(([c, blank, at]) => {
    const names = [...drawVocabulary(c).names];
    names.splice(at % (names.length + 1), 0, blank);
    return names;
  }),
  fc.tuple(vocabularyCases, fc.nat(), fc.nat()).map(([c, which, at]) => {
    const names = [...drawVocabulary(c).names];
    names.splice(at % (names.length + 1), 0, names[which % names.length]!);
    return names;
  }),
);
