/**
 * `ovs curate`: a benchmark of categories far from a training vocabulary, out of data sets.
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
import { openProgress, type Progress } from "../../lib/cli/progress.ts";
import { writeText } from "../../lib/cli/run_command.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { InputError } from "../../lib/errors.ts";
import type { CurateResult, CurationReport } from "../evaluation/curate.ts";
import type { NamedClass } from "../evaluation/embed_vocabulary.ts";
import { checkNames } from "./class_list.ts";
import { pipelineFlags } from "./plan_pipeline.ts";
import { readUserText } from "./read_user_file.ts";
import { readVocabulary } from "./read_vocabulary.ts";
import { openTextEmbedder } from "./text_embedder_flags.ts";

/** The command line of `ovs curate`. */
export const curateSpec = {
  name: "ovs curate",
  description: "Makes a benchmark as a config says (docs/similarity.md lists its fields): drops " +
    "categories that are too close to a training vocabulary, merges those that mean the same, " +
    'maps the rest to "others", balances the images, and writes them with 16-bit labels and a ' +
    "benchmark.json that ovs eval takes. Pairs that may mean the same are listed in a review file " +
    "first; answer there and call again. What was cut off goes on when it is called again.",
  positionals: ["CONFIG"],
  flags: {
    out: { value: "DIR", description: "Another folder than the config's." },
    plugin: pipelineFlags.plugin,
    json: { description: "Print the report as JSON and nothing else." },
    schema: { description: "Print the config's JSON Schema and stop; CONFIG may be anything." },
  },
  examples: ["ovs curate far_from_coco.json", "ovs curate far_from_coco.json --out data/second"],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/**
 * Runs `ovs curate`.
 *
 * @param args What was typed after `ovs curate`.
 * @throws {OvsError} For whatever is wrong with the command line, the config, the data or the disk.
 */
export async function curateCommand(args: readonly string[]): Promise<void> {
  const { parseCurateConfig, curateJsonSchema } = await import("../evaluation/curate_config.ts");
  if (args.includes("--schema") && !args.includes("--help")) {
    return await writeText(process.stdout, JSON.stringify(curateJsonSchema(), null, 2) + "\n");
  }
  const { positionals: [file], flags, help } = parseArguments(curateSpec, args);
  if (help || file === undefined) return await writeText(process.stdout, formatHelp(curateSpec));
  const given = parseCurateConfig(await readUserText(file, "name a config in it"), file);
  const config = { ...given, ...(flags.out === undefined ? {} : { out: flags.out }) };
  const training = await readTraining(config.training, file);
  const [{ openDataset }, { curate }] = await Promise.all([
    import("../datasets/open_dataset.ts"),
    import("../evaluation/curate.ts"),
  ]);
  const sources = await Promise.all(
    config.sources.map(({ dataset, options }) => openDataset(dataset, options)),
  );
  await using opened = await openTextEmbedder(
    { ...config.embedding, plugin: flags.plugin },
    `${file}: embedding.`,
  );
  let bar: (Progress & { part: string }) | undefined;
  let shown = "";
  // Parts follow one another, each with a bar of its own.
  let opening = Promise.resolve();
  let result: CurateResult;
  try {
    result = await curate(config, { sources, training, ...opened }, {
      onProgress(part, done, total) {
        if (flags.json) return;
        if (bar?.part === part) bar.update(done);
        if (part === shown) return;
        shown = part;
        opening = opening.then(async () => {
          bar?.stop();
          bar = { ...await openProgress({ title: part, total }), part };
        });
      },
    });
  } finally {
    await opening;
    bar?.stop();
  }
  if (result.state === "review") {
    const { open, file: review } = result;
    const pairs = open.slice(0, 3).map(({ first, second }) => `"${first}" and "${second}"`);
    throw new InputError(
      `${review}: ${open.length} ${open.length === 1 ? "pair needs" : "pairs need"} an answer, ` +
        `${pairs.join(", ")}${open.length > 3 ? " …" : ""}: set "same" to true or false and call ` +
        "again",
    );
  }
  await writeText(
    process.stdout,
    flags.json
      ? JSON.stringify(result.report, null, 2) + "\n"
      : formatCuration(result.report, config.images.least, config.out),
  );
}

async function readTraining(
  training: string | readonly string[],
  file: string,
): Promise<NamedClass[]> {
  const where = `${file}: training`;
  if (typeof training === "string") return await readVocabulary(training, where);
  return checkNames(training, where).map((name) => ({ name, synonyms: [name] }));
}

/** What is printed for a person. */
export function formatCuration(report: CurationReport, least: number, out: string): string {
  const { categories, dropped } = report;
  const count = (reason: string) => dropped.filter((entry) => entry.reason === reason).length;
  const merged = categories.filter(({ mergedFrom }) => mergedFrom.length > 1);
  const few = categories.filter(({ images }) => images < least);
  const nearest = [...categories].sort((a, b) => b.similarity - a.similarity).slice(0, 5);
  return [
    formatTable(
      [
        { title: "closest that stayed" },
        { title: "nearest training category" },
        { title: "cosine", align: "right" },
        { title: "images", align: "right" },
      ],
      nearest.map(({ name, nearest, similarity, images }) => [
        name,
        nearest,
        similarity.toFixed(3),
        String(images),
      ]),
    ),
    `dropped: ${count("too close")} too close to training, ${count("no image")} in no image, ` +
    `${count("too many categories")} beyond the number of categories`,
    ...(merged.length === 0
      ? []
      : [`merged: ${merged.map(({ mergedFrom }) => mergedFrom.join(" = ")).join("; ")}`]),
    ...(few.length === 0
      ? []
      : [`fewer than ${least} images: ${few.map(({ name }) => name).join(", ")}`]),
    `similarity to training: average ${report.average.toFixed(3)}, greatest ` +
    `${report.greatest.toFixed(3)}; by ${report.encoder}`,
    `${categories.length} categories, ${report.images} images: ${out}/benchmark.json`,
    "",
  ].join("\n");
}
