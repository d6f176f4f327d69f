/**
 * Chooses the splits of EmojiScenes anew: the seen categories by their seeded draw, the near and far
 * ones by their similarity to them in a text embedding space.
 *
 *     deno run -A plugins/datasets/emoji_scenes/choose_splits.ts [--models DIR] [--same 0.93]
 *
 * The shipped text encoder embeds the names where no flag says otherwise. `docs/similarity.md` says
 * more.
 *
 * @module
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../../lib/cli/arguments.ts";
import { runCommand, writeText } from "../../../lib/cli/run_command.ts";
import { InputError, OptionError } from "../../../lib/errors.ts";
import { openTextEmbedder, textEmbedderFlags } from "../../commands/text_embedder_flags.ts";
import { embedVocabulary, type NamedClass } from "../../evaluation/embed_vocabulary.ts";
import { vocabularySimilarity } from "../../evaluation/similarity.ts";
import { writeTextAtomically } from "../../training/run_files.ts";
import {
  chooseNearAndFar,
  chooseSeen,
  distinctCategories,
  farCount,
  type NearAndFar,
  nearCount,
  seenNames,
  seenSeed,
  type SplitsDocument,
} from "./splits.ts";
import { emojiUniverse } from "./universe.ts";

const defaultSame = 0.93;
const splitsFile = fileURLToPath(new URL("./splits.json", import.meta.url));

const spec = {
  name: "choose_splits.ts",
  description: `Chooses ${nearCount} unseen categories near the seen ones and ${farCount} far ` +
    "from them, no two of which mean the same, by the similarity that ovs similarity measures, " +
    "and writes splits.json.",
  positionals: [],
  flags: {
    ...textEmbedderFlags,
    same: {
      value: "COSINE",
      description: `From which cosine on two names mean the same; ${defaultSame} by default.`,
    },
    out: { value: "FILE", description: "Where to write; splits.json of this package by default." },
  },
  examples: [
    "deno run -A plugins/datasets/emoji_scenes/choose_splits.ts --models runs/clip/models",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

async function main(args: readonly string[]): Promise<void> {
  const { flags, help } = parseArguments(spec, args);
  if (help) return await writeText(process.stdout, formatHelp(spec));
  const same = Number(flags.same ?? defaultSame);
  if (!(same > -1 && same <= 1)) {
    throw new OptionError(`--same ${flags.same}: must be a cosine above -1, up to 1`);
  }
  const seen = chooseSeen();
  const training = seenNames({ seen });
  const candidates = distinctCategories().map(({ name }) => name);
  const names = [...new Set([...training, ...candidates])];
  await using opened = await openTextEmbedder(flags);
  const { embedder, engine } = opened;
  const embeddings = await embedder.embed(names);
  const choose = (sameMeaning: number) =>
    chooseNearAndFar(names, training, embeddings, { sameMeaning, candidates, engine });
  let chosen: NearAndFar;
  try {
    chosen = await choose(same);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`${error.message}${await hint(choose, same)}`, { cause: error });
  }

  const embed = async (list: readonly string[]) =>
    await embedVocabulary(list.map((name): NamedClass => ({ name, synonyms: [name] })), embedder);
  const train = await embed(training);
  for (const [split, list] of Object.entries(chosen)) {
    const { average, closest } = await vocabularySimilarity(train, await embed(list), { engine });
    console.log(
      `${split}: ${list.length} categories, similarity to the seen ones ${average.toFixed(3)} on ` +
        `average, ${closest[0]!.similarity.toFixed(3)} at most`,
    );
  }
  const codeOf = new Map(emojiUniverse().map(({ name, hexcode }) => [name, hexcode]));
  const codes = (list: readonly string[]) => list.map((name) => codeOf.get(name)!);
  const universe = emojiUniverse();
  const document: SplitsDocument = {
    seed: seenSeed,
    seen: seen.map((index) => universe[index]!.hexcode),
    near: codes(chosen.near),
    far: codes(chosen.far),
  };
  const path = flags.out ?? splitsFile;
  writeTextAtomically(path, JSON.stringify(document, null, 2) + "\n");
  console.log(`wrote ${path}; two names mean the same from a cosine of ${same} on`);
}

/** The least hundredth above `same` that leaves enough categories, in words. */
async function hint(choose: (same: number) => Promise<unknown>, same: number): Promise<string> {
  for (let hundredth = Math.floor(same * 100) + 1; hundredth <= 100; hundredth++) {
    const enough = await choose(hundredth / 100).then(() => true, () => false);
    if (enough) return `; --same ${hundredth / 100} leaves enough`;
  }
  return "; no threshold leaves enough";
}

if (import.meta.main) process.exit(await runCommand(() => main(process.argv.slice(2))));
