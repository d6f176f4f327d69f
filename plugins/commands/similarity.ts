/**
 * `ovs similarity`: how far a test vocabulary is from a training vocabulary.
 *
 * @module
 */
import process from "node:process";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../lib/cli/arguments.ts";
import { openProgress } from "../../lib/cli/progress.ts";
import { writeText } from "../../lib/cli/run_command.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { OptionError } from "../../lib/errors.ts";
import { embedVocabulary, type NamedClass } from "../evaluation/embed_vocabulary.ts";
import {
  type HistogramBin,
  type NearestCategory,
  type VocabularySimilarity,
  vocabularySimilarity,
} from "../evaluation/similarity.ts";
import { writeTextAtomically } from "../training/run_files.ts";
import { knownVocabularies, readVocabulary } from "./read_vocabulary.ts";
import { openTextEmbedder, textEmbedderFlags } from "./text_embedder_flags.ts";

/** The command line of `ovs similarity`. */
export const similaritySpec = {
  name: "ovs similarity",
  description: "Measures how far a test vocabulary is from a training vocabulary, as OpenBench " +
    "does: for each test category the cosine to the nearest training category, and the average. " +
    `VOCAB is the name of a built-in vocabulary (${
      knownVocabularies.join(", ")
    }), or a file with ` +
    "one name a line or a JSON array of names.",
  positionals: [],
  flags: {
    train: { value: "VOCAB", description: "The categories that a model was trained on." },
    test: { value: "VOCAB", description: "The categories that it is tested on." },
    synonyms: {
      description: "Take the nearest of all synonyms of the two categories, where a vocabulary " +
        "has them, in place of their names alone.",
    },
    ...textEmbedderFlags,
    pairs: {
      value: "NUMBER",
      description: "How many of the closest and of the farthest pairs are shown; 10 by default.",
    },
    svg: { value: "FILE", description: "Draw the histogram as an SVG file." },
    json: { description: "Print JSON and nothing else; its `average` is the paper's figure." },
  },
  examples: [
    "ovs similarity --train coco-stuff171 --test ade150",
    "ovs similarity --train emoji-seen --test my_names.txt --svg histogram.svg",
    "ovs similarity --train coco-stuff171 --test ade847 --embeddings clip.safetensors --json",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/** What `ovs similarity --json` prints. */
export interface SimilarityDocument extends VocabularySimilarity {
  /** The training vocabulary, as it was named, and its number of categories. */
  readonly train: { readonly vocabulary: string; readonly categories: number };
  /** The same of the test vocabulary. */
  readonly test: { readonly vocabulary: string; readonly categories: number };
  /** What embedded the names. */
  readonly encoder: string;
  /** Whether synonyms counted. */
  readonly synonyms: boolean;
}

/**
 * Runs `ovs similarity`.
 *
 * @param args What was typed after `ovs similarity`.
 * @throws {OvsError} For whatever is wrong with the command line, the vocabularies or the encoder.
 */
export async function similarity(args: readonly string[]): Promise<void> {
  const { flags, help } = parseArguments(similaritySpec, args);
  if (help) return await writeText(process.stdout, formatHelp(similaritySpec));
  const [train, test] = await Promise.all([
    readNamed("--train", flags.train),
    readNamed("--test", flags.test),
  ]);
  const extremes = readPairs(flags.pairs);
  await using opened = await openTextEmbedder(flags);
  const { embedder, engine } = opened;
  const progress = await openProgress({
    title: "similarity",
    total: 3,
    silent: flags.json || !process.stderr.isTTY,
  });
  let result: VocabularySimilarity;
  try {
    const part = (at: number, what: string) => (done: number, total: number) =>
      progress.update(at + done / total, what);
    const { synonyms } = flags;
    const [trainRows, testRows] = [
      await embedVocabulary(train.classes, embedder, { synonyms, onProgress: part(0, "embed") }),
      await embedVocabulary(test.classes, embedder, { synonyms, onProgress: part(1, "embed") }),
    ];
    result = await vocabularySimilarity(trainRows, testRows, {
      engine,
      extremes,
      onProgress: part(2, "compare"),
    });
  } finally {
    progress.stop();
  }
  const document: SimilarityDocument = {
    train: { vocabulary: train.vocabulary, categories: train.classes.length },
    test: { vocabulary: test.vocabulary, categories: test.classes.length },
    encoder: embedder.description,
    synonyms: flags.synonyms,
    ...result,
  };
  if (flags.svg !== undefined) {
    const { similarityChart } = await import("../evaluation/similarity_chart.ts");
    const title = `${test.vocabulary} against ${train.vocabulary}`;
    writeTextAtomically(flags.svg, await similarityChart(document, title));
  }
  await writeText(
    process.stdout,
    flags.json ? JSON.stringify(document, null, 2) + "\n" : formatSimilarity(document),
  );
}

async function readNamed(
  flag: string,
  vocabulary: string | undefined,
): Promise<{ vocabulary: string; classes: NamedClass[] }> {
  if (vocabulary !== undefined) {
    return { vocabulary, classes: await readVocabulary(vocabulary, flag) };
  }
  throw new OptionError(`${flag} is missing; name a vocabulary, as ${flag} ade150`);
}

function readPairs(text = "10"): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new OptionError(`--pairs ${text}: it must be a whole number from 0`);
}

/** One line per bin, from the first to the last that isn't empty. */
function formatHistogram(histogram: readonly HistogramBin[]): string {
  const first = histogram.findIndex(({ count }) => count > 0);
  const shown = histogram.slice(first, histogram.findLastIndex(({ count }) => count > 0) + 1);
  const most = Math.max(...shown.map(({ count }) => count));
  return formatTable(
    [{ title: "cosine" }, { title: "categories", align: "right" }, { title: "" }],
    shown.map(({ from, to, count }) => [
      `${from.toFixed(2)} to ${to.toFixed(2)}`,
      String(count),
      "█".repeat(Math.ceil(40 * count / most)),
    ]),
  );
}

function formatPairs(title: string, pairs: readonly NearestCategory[]): string {
  return formatTable(
    [{ title }, { title: "nearest training category" }, { title: "cosine", align: "right" }],
    pairs.map(({ name, nearest, similarity }) => [name, nearest, similarity.toFixed(3)]),
  );
}

/** What is printed for a person. */
export function formatSimilarity(document: SimilarityDocument): string {
  const { train, test, average, averageOfNew, median, sameName, closest, farthest } = document;
  const rest = test.categories - sameName.length;
  return [
    formatHistogram(document.histogram),
    ...(closest.length === 0 ? [] : [
      formatPairs("closest", closest),
      formatPairs("farthest", farthest),
    ]),
    `${test.vocabulary} (${test.categories} categories) against ${train.vocabulary} ` +
    `(${train.categories}), ${document.synonyms ? "nearest synonyms" : "names"} by ` +
    document.encoder,
    `of one name with a training category: ${sameName.length} of ${test.categories}` +
    (averageOfNew === null ? "" : `; average of the other ${rest}: ${averageOfNew.toFixed(3)}`),
    `average ${average.toFixed(3)}, median ${median.toFixed(3)}`,
    "",
  ].join("\n");
}
