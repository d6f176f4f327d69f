/**
 * Vocabularies as people name them on a command line.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { InputError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import type { NamedClass } from "../evaluation/embed_vocabulary.ts";
import { builtinVocabulary, vocabularyNames } from "../vocabularies/builtin_vocabularies.ts";
import { readNamesFile } from "./class_list.ts";

/** The vocabularies of EmojiScenes. */
const emojiVocabularies: Readonly<Record<string, () => Promise<NamedClass[]>>> = {
  "emoji-universe": async () => {
    const [{ emojiUniverse }, { stuffCategories }] = await Promise.all([
      import("../datasets/emoji_scenes/universe.ts"),
      import("../datasets/emoji_scenes/textures.ts"),
    ]);
    return [
      ...emojiUniverse().map(({ name }) => plain(name)),
      ...stuffCategories.map(plain),
    ];
  },
  "emoji-seen": async () => {
    const { seenNames } = await import("../datasets/emoji_scenes/splits.ts");
    return seenNames().map(plain);
  },
  "emoji-near": () => unseen("near"),
  "emoji-far": () => unseen("far"),
};

const plain = (name: string): NamedClass => ({ name, synonyms: [name] });

async function unseen(split: "near" | "far"): Promise<NamedClass[]> {
  const [{ loadSplits }, { emojiUniverse }] = await Promise.all([
    import("../datasets/emoji_scenes/splits.ts"),
    import("../datasets/emoji_scenes/universe.ts"),
  ]);
  const universe = emojiUniverse();
  return loadSplits()[split].map((index) => plain(universe[index]!.name));
}

/** The names of all built-in vocabularies. */
export const knownVocabularies: readonly string[] = [
  ...vocabularyNames,
  ...Object.keys(emojiVocabularies),
];

/**
 * Reads a vocabulary.
 *
 * @param source The name of a built-in one ({@linkcode knownVocabularies}), or a file: names one a
 * line, or a JSON array of names. `./voc20` is a file in any case.
 * @param where What asks for it, for messages: `--train`.
 * @throws {InputError} If it is neither, or the file isn't a list of names.
 */
export async function readVocabulary(source: string, where: string): Promise<NamedClass[]> {
  if (vocabularyNames.includes(source)) return [...builtinVocabulary(source)];
  if (Object.hasOwn(emojiVocabularies, source)) return await emojiVocabularies[source]!();
  const found = await stat(source).catch(() => null);
  if (found === null) {
    throw new InputError(
      `${where} ${source}: no such file, and no built-in vocabulary; ` +
        knownNames(source, knownVocabularies),
    );
  }
  return (await readNamesFile(source)).map(plain);
}
