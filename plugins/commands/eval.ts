/**
 * `ovs eval`: a data set in, figures and a report out.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../lib/cli/arguments.ts";
import { openProgress, type Progress } from "../../lib/cli/progress.ts";
import { writeText } from "../../lib/cli/run_command.ts";
import { StopSignals } from "../../lib/cli/stop_signals.ts";
import { OptionError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import { checkDocument } from "../../lib/stages/document.ts";
import type { OpenDatasetOptions } from "../datasets/open_dataset.ts";
import type { EvaluateOptions, EvaluateProgress } from "../evaluation/evaluate.ts";
import type { PipelineIdentity } from "../evaluation/pipeline_identity.ts";
import type { Shard } from "../evaluation/run_folder.ts";
import { formatEvaluation } from "./eval_table.ts";
import {
  formatDevice,
  type OpenPipeline,
  pipelineFlags,
  type PlannedPipeline,
  planPipeline,
  taskFlags,
} from "./plan_pipeline.ts";
import { formatDuration } from "./train.ts";

/** The command line of `ovs eval`. */
export const evalSpec = {
  name: "ovs eval",
  description: "Segments the images of a data set, compares with the truth, and leaves figures " +
    "(result.json), what was found on each image (images.jsonl) and a report (report.html) in a " +
    "folder. DATASET is voc20, voc21, ade150, ade847, pc59, pc459, coco-stuff171, coco-panoptic, " +
    "cityscapes, folder, emoji-scenes or benchmark; PATH is its folder, which emoji-scenes " +
    "doesn't have. SIGINT and SIGTERM leave a folder that --resume goes on with.",
  positionals: ["DATASET", "[PATH]"],
  flags: {
    split: { value: "NAME", description: "Which part of the data set; its first where left out." },
    ...taskFlags,
    ...pipelineFlags,
    prompts: {
      value: "SET",
      description: "The sentences that names are put into: vild (ViLD's 14) or photo (one); the " +
        "pipeline's own where left out.",
    },
    synonyms: {
      value: "KIND",
      description:
        "Classes are known by their synonyms too: mean (of their embeddings) or max (of " +
        "their logits). They don't count where left out.",
    },
    out: {
      value: "DIR",
      description: "Where results go; a folder below out/eval, named after data set and " +
        "pipeline, where left out.",
    },
    resume: { description: "Go on where the folder's run stood; begin where there is none." },
    limit: { value: "N", description: "The first N images only." },
    shard: {
      value: "I/N",
      description: "Every N-th image only, from image I on; I counts from 0 (or from 1 to N: N/N " +
        "is 0/N). ovs eval-merge puts the shards together.",
    },
    distractors: {
      value: "COUNTS",
      description: "Measures again with so many irrelevant names in the vocabulary: 0,50,100,200.",
    },
    "distractor-vocab": {
      value: "VOCAB",
      description: "Where those names are from: a built-in vocabulary or a file of names; " +
        "emoji-universe where left out.",
    },
    seed: { value: "NUMBER", description: "Seed of their draw; 0 where left out." },
    train: {
      value: "VOCAB",
      description: "What the model was trained on, to tell how near the classes are to it; " +
        "emoji-seen where the models are those of this package.",
    },
    scenes: {
      value: "N",
      description: "emoji-scenes: how many scenes there are; 500 where left out.",
    },
    classes: { value: "FILE", description: "folder: the class names, one a line or JSON." },
    "ignore-label": { value: "N", description: "folder: label value that counts nowhere; 255." },
    "reduce-zero-label": { description: "folder: label 0 counts nowhere, 1 is the first class." },
    "image-suffix": { value: "TEXT", description: "folder: how image files end." },
    "label-suffix": { value: "TEXT", description: "folder: how label files end." },
    json: { description: "Print result.json and nothing else." },
  },
  examples: [
    "ovs eval emoji-scenes --split far --limit 100",
    "ovs eval voc21 data/VOC2012 --pipeline mine.json --models my_models --json",
    "ovs eval emoji-scenes --split near --distractors 0,50,100,200,400,800",
    "ovs eval ade150 data/ADE20K --shard 3/8 --out out/ade/3 --resume",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

type EvalFlags = ReturnType<typeof parseArguments<typeof evalSpec.flags>>["flags"];

function readInteger(flag: string, text: string, least: number, most = Infinity): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  const range = most === Infinity ? `${least}` : `${least} to ${most}`;
  throw new OptionError(`--${flag} ${text}: it must be a whole number from ${range}`);
}

function readShard(text: string): Shard {
  const [index, count] = /^(\d+)\/(\d+)$/.exec(text)?.slice(1).map(Number) ?? [];
  if (index === undefined || count === undefined || count < 1 || index > count) {
    throw new OptionError(
      `--shard ${text}: it must be I/N with N at least 1 and I at most N, as 0/4, 1/4, 2/4 and 3/4`,
    );
  }
  return { index: index % count, count };
}

/** The pipeline with other prompts, and with what synonyms count for. */
function withWords(planned: PlannedPipeline, flags: EvalFlags): PlannedPipeline {
  const { document, registry } = planned;
  const { prompts, synonyms } = flags;
  let stages = document.stages;
  if (prompts !== undefined) {
    const at = stages.findIndex(({ role }) => role === "text-encoder");
    const stage = stages[at];
    if (stage === undefined) {
      throw new OptionError("--prompts: this pipeline has no text encoder; leave it out");
    }
    stages = stages.with(at, { ...stage, options: { ...stage.options, prompts } });
  }
  if (synonyms !== undefined) {
    const pooling = { role: "vocabulary", name: "synonyms", options: { pooling: synonyms } };
    stages = [pooling, ...stages.filter(({ role }) => role !== "vocabulary")];
  }
  return { ...planned, document: checkDocument({ ...document, stages }, registry) };
}

/** Acquires the device, opens the pipeline, and remembers what it is made of. */
async function openIdentified(
  { document, registry, models, device: request }: PlannedPipeline,
  plugins: readonly string[],
): Promise<{ pipeline: OpenPipeline; device: Device; identity: PipelineIdentity }> {
  const [{ acquireDevice }, { modelSource, openPipeline }, { sha256, watchModels }] = await Promise
    .all([
      import("../runtimes/mod.ts"),
      import("../methods/open_pipeline.ts"),
      import("../evaluation/pipeline_identity.ts"),
    ]);
  const modules = await Promise.all(
    plugins.map(async (path) => {
      const bytes = /^[a-z][a-z0-9+.-]+:/i.test(path) ? null : await readFile(path);
      return bytes === null ? path : sha256(bytes);
    }),
  );
  const device = await acquireDevice(request);
  try {
    const watched = watchModels(modelSource(models));
    const pipeline = await openPipeline(document, { device, registry, models: watched });
    const identity = { document, models: watched.digests(), plugins: modules, device: device.kind };
    return { pipeline, device, identity };
  } catch (error) {
    await device.dispose();
    throw error;
  }
}

/** What the options of `openDataset` are called on this command line. */
const datasetFlags = {
  path: "PATH",
  split: "--split",
  scenes: "--scenes",
  classes: "--classes FILE",
  ignoreLabel: "--ignore-label",
  reduceZeroLabel: "--reduce-zero-label",
  imageSuffix: "--image-suffix",
  labelSuffix: "--label-suffix",
} as const satisfies Partial<Record<keyof OpenDatasetOptions, string>>;

/** What `openDataset` takes, from flags. */
function datasetOptions(flags: EvalFlags, path: string | undefined): OpenDatasetOptions {
  const given = {
    path,
    split: flags.split,
    scenes: flags.scenes === undefined ? undefined : readInteger("scenes", flags.scenes, 1),
    classes: flags.classes,
    ignoreLabel: flags["ignore-label"] === undefined
      ? undefined
      : readInteger("ignore-label", flags["ignore-label"], 0, 65535),
    reduceZeroLabel: flags["reduce-zero-label"] || undefined,
    imageSuffix: flags["image-suffix"],
    labelSuffix: flags["label-suffix"],
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** What `evaluate` takes, from flags. */
async function evaluateOptions(flags: EvalFlags): Promise<EvaluateOptions> {
  const { readVocabulary } = await import("./read_vocabulary.ts");
  const names = async (source: string, where: string) =>
    (await readVocabulary(source, where)).map(({ name }) => name);
  const { distractors, train = flags.models === undefined ? "emoji-seen" : undefined } = flags;
  for (const flag of ["distractor-vocab", "seed"] as const) {
    if (distractors !== undefined || flags[flag] === undefined) continue;
    throw new OptionError(`--${flag} is for --distractors; give that too, or leave it out`);
  }
  return {
    ...(flags.limit === undefined ? {} : { limit: readInteger("limit", flags.limit, 1) }),
    ...(flags.shard === undefined ? {} : { shard: readShard(flags.shard) }),
    ...(train === undefined ? {} : { trained: await names(train, "--train") }),
    ...(distractors === undefined ? {} : {
      distractors: {
        counts: distractors.split(",").map((text) => readInteger("distractors", text.trim(), 0)),
        names: await names(flags["distractor-vocab"] ?? "emoji-universe", "--distractor-vocab"),
        seed: flags.seed === undefined ? 0 : readInteger("seed", flags.seed, 0),
      },
    }),
  };
}

/** What is shown beside the bar. */
function describe({ imagesPerSecond, secondsLeft, score }: EvaluateProgress, figure: string) {
  const soFar = score === null ? "" : `${figure} ${score.toFixed(1)} · `;
  return `${soFar}${imagesPerSecond.toPrecision(3)} images/s · ` +
    `${formatDuration(secondsLeft)} left`;
}

/**
 * Runs `ovs eval`.
 *
 * @param args What was typed after `ovs eval`.
 * @throws {OvsError} For whatever is wrong with the command line, the data, the models or the disk.
 */
export async function evaluateCommand(args: readonly string[]): Promise<void> {
  const { positionals: [kind, path], flags, help } = parseArguments(evalSpec, args);
  if (help || kind === undefined) return await writeText(process.stdout, formatHelp(evalSpec));
  const given = await evaluateOptions(flags);
  const planned = withWords(await planPipeline(flags), flags);
  const { task } = planned;
  if (task === null) {
    throw new OptionError("this pipeline ends in no segmenter; add semantic, panoptic or instance");
  }
  const options: EvaluateOptions = { ...given, task };
  const { openDataset } = await import("../datasets/open_dataset.ts");
  const dataset = await openDataset(kind, datasetOptions(flags, path), datasetFlags);
  const [{ evaluate }, { mainFigures }, { defaultFolder }] = await Promise.all([
    import("../evaluation/evaluate.ts"),
    import("../evaluation/result.ts"),
    import("../evaluation/default_folder.ts"),
  ]);
  const { pipeline, device, identity } = await openIdentified(planned, flags.plugin);

  using stop = new StopSignals();
  let progress: Progress | null = null;
  let last: EvaluateProgress | null = null;
  const notes: string[] = [];
  const out = flags.out ?? defaultFolder(dataset, await dataset.fingerprint(), identity, options);
  try {
    const total = Math.min(options.limit ?? Infinity, dataset.length);
    const { count } = options.shard ?? { count: 1 };
    progress = await openProgress({
      title: dataset.name,
      total: Math.ceil(total / count),
      silent: flags.json && !process.stderr.isTTY,
    });
    const { result, timing } = await evaluate(pipeline, dataset, {
      ...options,
      folder: { path: out, pipeline: identity, resume: flags.resume },
      signal: stop.signal,
      onNote: (note) => notes.push(note),
      onProgress(now) {
        last = now;
        progress?.update(now.done, describe(now, mainFigures[task].whole));
      },
    });
    progress.stop();
    progress = null;
    if (options.shard === undefined) {
      const { writeReport } = await import("../evaluation/report.ts");
      await writeReport(out);
    }
    await writeText(
      process.stdout,
      flags.json ? JSON.stringify(result, null, 2) + "\n" : formatEvaluation(result, {
        timing,
        notes: [...notes, `device: ${formatDevice(device)}`],
        out,
      }),
    );
  } catch (error) {
    if (!stop.isAsked) throw error;
    progress?.stop();
    progress = null;
    const done = (last as EvaluateProgress | null)?.done;
    await writeText(
      process.stderr,
      `stopped${done === undefined ? "" : ` after image ${done}`}; go on with --resume: ` +
        `${out}\n`,
    );
    stop.exitIfAsked();
  } finally {
    progress?.stop();
    await pipeline.dispose();
    await device.dispose();
  }
}
