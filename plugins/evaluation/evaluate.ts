/**
 * Evaluation: a pipeline, a data set, and the figures.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import config from "../../deno.json" with { type: "json" };
import type { Dataset, DatasetSample } from "../../lib/data/dataset.ts";
import { InputError, OptionError, OvsError } from "../../lib/errors.ts";
import { writeTextAtomically } from "../training/run_files.ts";
import { type Distractors, drawDistractors } from "./distractors.ts";
import { Extremes } from "./extremes.ts";
import { Pictures } from "./pictures.ts";
import type { PipelineIdentity } from "./pipeline_identity.ts";
import { type EvaluationResult, mainFigure, type Percent } from "./result.ts";
import {
  type EvaluationIdentity,
  type EvaluationTask,
  evaluationTasks,
  formatShard,
  type ImageRecord,
  RunFolder,
  type Shard,
  shardImage,
  shardLength,
} from "./run_folder.ts";
import { type OpenPipeline, SplitPipeline } from "./split_pipeline.ts";
import { taskOf } from "./tasks/task_of.ts";
import type { Accumulator, Task } from "./tasks/task.ts";
import { type ClassSimilarity, classSimilarity, datasetVocabulary } from "./vocabularies.ts";

/** How far an evaluation has come. */
export interface EvaluateProgress {
  /** Images done, those of an earlier life of the run included. */
  readonly done: number;
  /** Images in all. */
  readonly total: number;
  /** The last one's id. */
  readonly id: string;
  /** Images of this life per second. */
  readonly imagesPerSecond: number;
  /** What is left, by that. */
  readonly secondsLeft: number;
  /** The figures so far, as they were a second ago or a little more; with the last image, all. */
  readonly score: Percent;
}

/** Where the time of an evaluation went, in milliseconds, of this life of the run. */
export interface EvaluationTiming {
  /** Images segmented. */
  readonly images: number;
  /** Everything from the first image to the last. */
  readonly total: number;
  /** Inside the pipeline. */
  readonly pipeline: number;
  /** Waiting for an image that wasn't read yet. */
  readonly reading: number;
  /** Comparing with the truth, and writing that down. */
  readonly scoring: number;
}

/** The folder that an evaluation leaves its results in. */
export interface EvaluationFolder {
  /** Its path; made where it is missing. */
  readonly path: string;
  /** What segments, to recognise it again. */
  readonly pipeline: PipelineIdentity;
  /** Goes on where a run stood that was interrupted; begins where there is none. */
  readonly resume?: boolean;
}

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** What is scored; "semantic" where left out. */
  readonly task?: EvaluationTask;
  /** Where results go; without it nothing is written. */
  readonly folder?: EvaluationFolder;
  /** How many images at most, the first ones; all where left out. */
  readonly limit?: number;
  /** Which share of those images; all where left out. */
  readonly shard?: Shard;
  /** Measures again and again with irrelevant names in the vocabulary. */
  readonly distractors?: Distractors;
  /**
   * The names that the decoder's training knew, where that is known: for classifiers that treat them
   * differently, and to measure how near the classes are to them.
   */
  readonly trained?: readonly string[];
  /** How many of the best and of the worst images are drawn into the folder; 4 where left out. */
  readonly pictures?: number;
  /** Ends the evaluation; what was found stays in the folder. */
  readonly signal?: AbortSignal;
  /** Called after every image. */
  readonly onProgress?: (progress: EvaluateProgress) => void;
  /** Called with remarks, such as which stages run again for every vocabulary. */
  readonly onNote?: (note: string) => void;
}

/** What {@linkcode evaluate} gives. */
export interface Evaluation {
  /** The figures; the same bytes however often the run was interrupted. */
  readonly result: EvaluationResult;
  /** How long it took. */
  readonly timing: EvaluationTiming;
}

/** The sums of a run: what its records add up to. */
export class RunSums {
  readonly #identity: EvaluationIdentity;
  readonly #task: Task;
  readonly #levels: Accumulator[];
  /** The best and the worst images. */
  readonly extremes: Extremes;
  #images = 0;

  /** @param identity What is measured. */
  constructor(identity: EvaluationIdentity) {
    this.#identity = identity;
    this.#task = taskOf(identity);
    const levels = identity.distractors?.counts.length ?? 1;
    this.#levels = Array.from({ length: levels }, () => this.#task.accumulate());
    this.extremes = new Extremes(identity.pictures);
  }

  /**
   * Adds a record. The sums of floats depend on the order: records come in that of the images.
   *
   * @throws {InputError} If its scores are damaged; names the image.
   */
  add({ index, id, levels }: ImageRecord): void {
    try {
      levels.forEach((scores, level) => this.#levels[level]!.add(scores));
    } catch (cause) {
      throw new InputError(
        `image ${index} (${id}): its line in images.jsonl is damaged: ${(cause as Error).message}`,
        { cause },
      );
    }
    this.#images++;
    const score = this.#task.imageScore(levels[0]!);
    if (score !== null) this.extremes.add({ index, id, score });
  }

  /** The main figure so far. */
  score(): Percent {
    return mainFigure(this.#identity.task, this.#levels[0]!.figures("either"));
  }

  /** Everything, once the last record is there. */
  result(similarity: ClassSimilarity | null): EvaluationResult {
    const { task, dataset, distractors, shard } = this.#identity;
    const [first] = this.#levels as [Accumulator];
    const nearest = new Map(
      similarity?.nearest.map(({ name, nearest, similarity }) => [
        name,
        { name: nearest, similarity },
      ]),
    );
    return {
      task,
      dataset: dataset.name,
      images: this.#images,
      shard: shard === null ? null : formatShard(shard),
      ...first.figures("either"),
      similarity: similarity?.average ?? null,
      distractors: distractors === null ? null : distractors.counts.map((count, level) => ({
        count,
        ...this.#levels[level]!.figures("truth"),
      })),
      classes: first.classes().map((c) => ({ ...c, nearest: nearest.get(c.name) ?? null })),
      confusions: first.confusions(),
      best: this.extremes.best(),
      worst: this.extremes.worst(),
    };
  }
}

function checkCount(name: string, value: number | undefined): void {
  if (value === undefined || Number.isInteger(value) && value >= 1) return;
  throw new OptionError(`${name} is ${value}; it must be a whole number from 1`);
}

/** Works out what is measured, and refuses what can't be. */
async function identify(
  pipeline: OpenPipeline,
  dataset: Dataset,
  options: EvaluateOptions,
): Promise<EvaluationIdentity> {
  const { task = "semantic", limit, shard = null, distractors, trained = null } = options;
  const { pictures = 4 } = options;
  if (!evaluationTasks.includes(task)) {
    throw new OptionError(`task "${task}" is unknown; it must be ${evaluationTasks.join(", ")}`);
  }
  checkCount("limit", limit);
  if (!Number.isInteger(pictures) || pictures < 0) {
    throw new OptionError(`pictures is ${pictures}; it must be a whole number from 0`);
  }
  if (dataset.length === 0) throw new InputError(`data set ${dataset.name}: has no image`);
  const images = Math.min(limit ?? Infinity, dataset.length);
  if (shard !== null) {
    checkCount("shard: the number of shards", shard.count);
    if (!Number.isInteger(shard.index) || shard.index < 0 || shard.index >= shard.count) {
      throw new OptionError(
        `shard: index ${shard.index} of ${shard.count}; it must be from 0 to ${shard.count - 1}`,
      );
    }
    if (shard.count > images) {
      throw new OptionError(
        `shard: ${images} images make no ${shard.count} shards; at most ${images} are possible`,
      );
    }
  }
  if (task !== "semantic" && !dataset.hasSegments) {
    throw new InputError(
      `data set ${dataset.name}: has no truth for ${task} segmentation; take --task semantic`,
    );
  }
  const given = new Set(pipeline.stages.flatMap(({ gives }) => gives));
  for (const slot of taskOf({ task, classes: [], dataset: { others: null } }).outputs) {
    if (given.has(slot)) continue;
    throw new OptionError(
      `task ${task}: no stage of the pipeline gives "${slot}"; end it with the segmenter "${task}"`,
    );
  }
  // 0 is always measured: it is what the others are compared with.
  const counts = distractors === undefined
    ? null
    : [...new Set([0, ...distractors.counts])].sort((a, b) => a - b);
  return {
    format: "ovstage evaluation 1",
    version: config.version,
    task,
    dataset: {
      name: dataset.name,
      fingerprint: await dataset.fingerprint(),
      images,
      others: dataset.othersIndex,
    },
    classes: dataset.classes.map(({ name, isThing }) => ({ name, isThing })),
    distractors: counts === null ? null : {
      counts,
      names: drawDistractors(dataset.classes, { ...distractors!, counts }),
    },
    trained,
    pictures,
    pipeline: options.folder?.pipeline ?? {
      document: { version: 1, stages: pipeline.stages.map(({ role, name }) => ({ role, name })) },
      models: {},
      plugins: [],
      device: pipeline.device.kind,
    },
    shard,
  };
}

/** Refuses a sample that doesn't fit its data set. */
function checkSample(sample: DatasetSample, { name }: Dataset): void {
  const { id, image, labels, segments } = sample;
  const pixels = image.width * image.height;
  for (const [what, length] of [["labels", labels.length], ["segments", segments?.ids.length]]) {
    if (length === undefined || length === pixels) continue;
    throw new InputError(
      `data set ${name}: ${id}: the image has ${image.width}×${image.height} pixels, and there ` +
        `are ${length} ${what}; both must be of one size`,
    );
  }
}

/** Reads each image while the one before it is worked on. */
async function* readAhead(
  dataset: Dataset,
  indices: readonly number[] | Iterable<number>,
  signal: AbortSignal | undefined,
): AsyncGenerator<DatasetSample> {
  const options = signal === undefined ? {} : { signal };
  let next: Promise<DatasetSample> | null = null;
  for (const index of indices) {
    // Begun while the pipeline waits for its device, for reading may keep this thread busy.
    const reading = new Promise((resolve) => setTimeout(resolve)).then(() =>
      dataset.read(index, options)
    );
    // Whoever stops early awaits it no more.
    reading.catch(() => {});
    if (next !== null) yield await next;
    next = reading;
  }
  if (next !== null) yield await next;
}

/** The numbers of a run's images from a position on. */
function* imagesFrom(position: number, { dataset, shard }: EvaluationIdentity): Generator<number> {
  const length = shardLength(dataset.images, shard);
  for (let at = position; at < length; at++) yield shardImage(at, shard);
}

async function similarityOf(
  folder: RunFolder | null,
  pipeline: OpenPipeline,
  dataset: Dataset,
  { trained, signal, onNote }: EvaluateOptions,
): Promise<ClassSimilarity | null> {
  if (trained === undefined) return null;
  const path = folder?.at("similarity.json");
  if (path !== undefined) {
    try {
      return JSON.parse(readFileSync(path, "utf8")) as ClassSimilarity;
    } catch {
      // Measured now.
    }
  }
  const similarity = await classSimilarity(pipeline, dataset, trained, signal);
  if (similarity === null) {
    onNote?.(
      "similarity to the training vocabulary: not measured, for this pipeline's text embeddings " +
        "depend on the image",
    );
  } else if (path !== undefined) {
    writeTextAtomically(path, JSON.stringify(similarity) + "\n");
  }
  return similarity;
}

/**
 * Segments the images of a data set and compares with the truth. One image is in memory while the
 * next one is read; what is kept of each is a line in the folder, so memory doesn't grow with their
 * number (the confidences of instances, 16 bytes each, excepted). The figures don't depend on
 * interruptions: everything is summed up image by image in the data set's order, from what the lines
 * say.
 *
 * With distractors, stages that don't depend on the vocabulary run once an image.
 *
 * @param pipeline An open pipeline; it stays the caller's.
 * @param dataset The data set.
 * @param options What is scored, and where results go.
 * @throws {OptionError} If an option is outside its domain, or the folder holds another evaluation.
 * @throws {InputError} If the data set has no image, no truth for the task, or a damaged file.
 * @throws {OutputError} If the folder can't be written.
 * @throws The signal's reason once it is aborted; with `resume` the folder goes on from there.
 *
 * @example
 * ```ts ignore
 * const { result } = await evaluate(pipeline, await openDataset("voc21", { path: "VOC2012" }), {
 *   limit: 100,
 * });
 * console.log(result.mIoU);
 * ```
 */
export async function evaluate(
  pipeline: OpenPipeline,
  dataset: Dataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { signal, onProgress, onNote, trained = null } = options;
  const identity = await identify(pipeline, dataset, options);
  const task = taskOf(identity);
  const drawn = identity.distractors?.names ?? [];
  const vocabularies = (identity.distractors?.counts ?? [0]).map((count) =>
    datasetVocabulary(dataset, trained, drawn.slice(0, count))
  );
  const split = new SplitPipeline(pipeline, task.outputs);
  if (vocabularies.length > 1) onNote?.(split.explain());

  const folder = options.folder === undefined ? null : new RunFolder(options.folder.path);
  const pictures = folder && new Pictures(folder, task, dataset.classes.length);
  const sums = new RunSums(identity);
  let done = 0;
  using begun = await folder?.begin(identity, options.folder?.resume ? "resume" : "refuse");
  if (folder !== null) {
    for await (const record of begun!.records) {
      if (record.id !== dataset.id(record.index)) {
        throw new InputError(
          `${folder.path}: image ${record.index} is "${record.id}" there, and ` +
            `"${dataset.id(record.index)}" in data set ${dataset.name}`,
        );
      }
      sums.add(record);
      done++;
    }
  }
  const similarity = await similarityOf(folder, pipeline, dataset, options);

  const total = shardLength(identity.dataset.images, identity.shard);
  const before = done;
  const timing = { images: 0, total: 0, pipeline: 0, reading: 0, scoring: 0 };
  const start = performance.now();
  let [waited, nextScore, score] = [start, -Infinity, null as Percent];
  try {
    if (pictures !== null) {
      // A killed run leaves lines whose pictures had not been written yet.
      for (const index of sums.extremes.indices()) {
        if (folder!.hasPictures(index)) continue;
        signal?.throwIfAborted();
        const sample = await dataset.read(index, signal === undefined ? {} : { signal });
        await split.run(sample.image, vocabularies.slice(0, 1), async (outputs) => {
          await pictures.draw(index, sample, outputs, await task.score(sample, outputs));
        }, signal);
      }
    }
    for await (const sample of readAhead(dataset, imagesFrom(done, identity), signal)) {
      timing.reading += performance.now() - waited;
      signal?.throwIfAborted();
      checkSample(sample, dataset);
      const index = shardImage(done, identity.shard);
      const record: ImageRecord & { levels: ImageRecord["levels"][number][] } = {
        index,
        id: sample.id,
        levels: [],
      };
      const began = performance.now();
      const inside = await split.run(sample.image, vocabularies, async (outputs, level) => {
        const scores = await named(sample.id, () => task.score(sample, outputs));
        record.levels.push(scores);
        if (level > 0 || pictures === null) return;
        const own = task.imageScore(scores);
        if (own === null || !sums.extremes.wouldTake(own)) return;
        await pictures.draw(index, sample, outputs, scores);
      }, signal);
      sums.add(record);
      folder?.append(record);
      await pictures?.keep(sums.extremes.indices());
      done++;
      const now = performance.now();
      timing.pipeline += inside;
      timing.scoring += now - began - inside;
      timing.images++;
      timing.total = now - start;
      if (onProgress) {
        if (now > nextScore || done === total) {
          score = sums.score();
          // What is shown on the way takes a twentieth of the time at most.
          nextScore = now + Math.max(1000, 20 * (performance.now() - now));
        }
        const imagesPerSecond = 1000 * (done - before) / timing.total;
        const secondsLeft = (total - done) / imagesPerSecond;
        onProgress({ done, total, id: sample.id, imagesPerSecond, secondsLeft, score });
      }
      waited = performance.now();
    }
  } finally {
    await pictures?.write(sums.extremes.indices());
  }
  timing.total = performance.now() - start;
  const result = sums.result(similarity);
  folder?.finish(result);
  return { result, timing };
}

/** Names the image in an error that doesn't. */
async function named<T>(id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof OvsError) || error.message.includes(id)) throw error;
    throw new OvsError(error.code, `${id}: ${error.message}`, { cause: error });
  }
}
