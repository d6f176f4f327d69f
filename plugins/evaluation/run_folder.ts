/**
 * The folder of an evaluation: what it measures, what was found image by image, and the figures.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { InputError, OptionError, OutputError } from "../../lib/errors.ts";
import { differences, type Json, type JsonObject } from "../training/checkpoint.ts";
import { appendText, isTemporary, writeError, writeTextAtomically } from "../training/run_files.ts";
import { lockFile, lockRun } from "../training/run_lock.ts";
import { readJsonLines } from "./json_lines.ts";
import type { PipelineIdentity } from "./pipeline_identity.ts";
import type { EvaluationResult } from "./result.ts";

/** A share of the images: those whose number leaves this remainder. */
export interface Shard {
  /** From 0 to `count` − 1. */
  readonly index: number;
  /** How many shards there are. */
  readonly count: number;
}

/** The tasks that can be scored. */
export const evaluationTasks = ["semantic", "panoptic", "instance"] as const;

/** Which task is scored. */
export type EvaluationTask = (typeof evaluationTasks)[number];

/** Everything that the figures depend on: the file `run.json`. */
export interface EvaluationIdentity {
  /** The version of these files. */
  readonly format: "ovstage evaluation 1";
  /** The version of this package. */
  readonly version: string;
  /** What is measured. */
  readonly task: EvaluationTask;
  /** The data. */
  readonly dataset: {
    /** Its name. */
    readonly name: string;
    /** See `Dataset.fingerprint`. */
    readonly fingerprint: string;
    /** How many of its images count, all shards together. */
    readonly images: number;
    /** Index of the class for whatever no other class means. */
    readonly others: number | null;
  };
  /** The classes, as their labels index them. */
  readonly classes: readonly {
    /** Its name. */
    readonly name: string;
    /** Whether it is a thing. */
    readonly isThing: boolean | null;
  }[];
  /** Further names in the vocabularies, or null. */
  readonly distractors: {
    /** How many of the names each measurement has, ascending from 0. */
    readonly counts: readonly number[];
    /** The names; a measurement with k has the first k. */
    readonly names: readonly string[];
  } | null;
  /** The names that the decoder's training knew, or null where nobody says. */
  readonly trained: readonly string[] | null;
  /** How many of the best and of the worst images are drawn. */
  readonly pictures: number;
  /** What segments. */
  readonly pipeline: PipelineIdentity;
  /** Which of the images, or null for all. */
  readonly shard: Shard | null;
}

/** What was found on one image. */
export interface ImageRecord {
  /** Its number in the data set. */
  readonly index: number;
  /** Its id in the data set. */
  readonly id: string;
  /** What the task's scores are made of, for each vocabulary. */
  readonly levels: readonly Json[];
}

/** The pictures of an image. */
export const pictureKinds = ["image", "truth", "prediction"] as const;

/** One of the pictures of an image. */
export type PictureKind = (typeof pictureKinds)[number];

const names = {
  run: "run.json",
  images: "images.jsonl",
  result: "result.json",
  similarity: "similarity.json",
  pictures: "pictures",
} as const;

/** Formats a shard as people type it. */
export function formatShard({ index, count }: Shard): string {
  return `${index}/${count}`;
}

/** How many of `images` images a shard has. */
export function shardLength(images: number, shard: Shard | null): number {
  if (shard === null) return images;
  return Math.max(0, Math.ceil((images - shard.index) / shard.count));
}

/** The number of a shard's image at a position. */
export function shardImage(position: number, shard: Shard | null): number {
  return shard === null ? position : shard.index + position * shard.count;
}

/** The first few differences, in words. */
export function formatDifferences(there: object, here: object): string {
  const found = differences(there as JsonObject, here as JsonObject)
    .map((line) => line.length > 240 ? `${line.slice(0, 240)}…` : line);
  const shown = found.slice(0, 3).join("; ");
  return found.length > 3 ? `${shown}; and ${found.length - 3} more` : shown;
}

/** A run that has a folder to itself until it is disposed of. */
export interface BegunRun extends Disposable {
  /** The records that are there already, in order. */
  readonly records: AsyncIterable<ImageRecord>;
}

/** A folder that holds an evaluation, or will. */
export class RunFolder {
  /** The folder. */
  readonly path: string;

  /** @param path The folder. */
  constructor(path: string) {
    this.path = path;
  }

  /** The path of a file in it. */
  at(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** The identity of the evaluation that is there, or null where there is none. */
  readIdentity(): EvaluationIdentity | null {
    const identity = this.#readJson(names.run) as EvaluationIdentity | null;
    if (identity === null) return null;
    if (identity.format !== "ovstage evaluation 1") {
      throw new InputError(
        `${this.at(names.run)}: has the format ${JSON.stringify(identity.format)}; ` +
          'this is "ovstage evaluation 1"',
      );
    }
    return identity;
  }

  /**
   * The identity of the evaluation that is there.
   *
   * @throws {InputError} If there is none.
   */
  identity(): EvaluationIdentity {
    const identity = this.readIdentity();
    if (identity !== null) return identity;
    throw new InputError(`${this.path}: holds no evaluation; there is no ${names.run} in it`);
  }

  /** The figures, or null where the evaluation isn't finished. */
  readResult(): EvaluationResult | null {
    return this.#readJson(names.result) as EvaluationResult | null;
  }

  #readJson(name: string): unknown {
    const path = this.at(name);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (cause) {
      const { code, message } = cause as { code?: string; message: string };
      if (code === "ENOENT" || code === "ENOTDIR") return null;
      throw new InputError(`${path}: can't be read: ${message}`, { cause });
    }
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new InputError(`${path}: is damaged: ${(cause as Error).message}`, { cause });
    }
  }

  /**
   * Takes the folder for a run, or for more of one.
   *
   * @param identity The run.
   * @param part What is done where a part of this run is there already.
   * @throws {OptionError} If another run is there, or a part of this one that is to be refused.
   * @throws {InputError} If a file there is damaged.
   * @throws {OutputError} If the folder holds anything else, another process works there, or it
   * can't be written.
   */
  async begin(
    identity: EvaluationIdentity,
    part: "refuse" | "resume" | "replace",
  ): Promise<BegunRun> {
    const found = this.readIdentity();
    if (found === null) this.#refuseForeign();
    else {
      const differing = formatDifferences(found, identity);
      if (differing !== "") {
        throw new OptionError(
          `${this.path}: is another evaluation: ${differing}; choose another folder with --out`,
        );
      }
      if (part === "refuse" && this.readResult() === null) {
        throw new OptionError(
          `${this.path}: holds a part of this evaluation; go on with --resume, or choose another ` +
            "folder with --out",
        );
      }
    }
    try {
      mkdirSync(this.path, { recursive: true });
    } catch (cause) {
      throw writeError(this.path, cause);
    }
    const lock = lockRun(this.path);
    const begun = (records: AsyncIterable<ImageRecord>) => ({
      records,
      [Symbol.dispose]: () => lock[Symbol.dispose](),
    });
    try {
      if (found !== null && part === "resume") return begun(await this.#goOn(identity));
      this.#clear();
      writeTextAtomically(this.at(names.run), JSON.stringify(identity, null, 2) + "\n");
      return begun(nothing());
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Refuses a folder with files of somebody else's: a run removes what lies in its way. */
  #refuseForeign(): void {
    let files: string[];
    try {
      files = readdirSync(this.path);
    } catch {
      return; // There is none, or making it fails with a better reason.
    }
    const foreign = files.find((name) => name !== lockFile && !isTemporary(name));
    if (foreign === undefined) return;
    throw new OutputError(
      `${this.path}: holds "${foreign}" and is no folder of an evaluation; choose another one with ` +
        "--out, new or empty",
    );
  }

  /** Removes what a run has left. */
  #clear(): void {
    try {
      for (const name of [names.result, names.images, names.similarity, names.pictures]) {
        rmSync(this.at(name), { force: true, recursive: true });
      }
    } catch (cause) {
      throw writeError(this.path, cause);
    }
  }

  /** Takes away a line that was cut off, and gives the others. */
  async #goOn(identity: EvaluationIdentity): Promise<AsyncIterable<ImageRecord>> {
    const path = this.at(names.images);
    let end = 0;
    for await (const line of readJsonLines(path)) end = line.end;
    try {
      truncateSync(path, end);
    } catch (cause) {
      if ((cause as { code?: string }).code !== "ENOENT") throw writeError(path, cause);
    }
    return this.records(identity);
  }

  /**
   * The records, a line at a time.
   *
   * @throws {InputError} If one is damaged or out of order; names the line.
   */
  async *records({ shard, dataset, distractors }: EvaluationIdentity): AsyncGenerator<ImageRecord> {
    const path = this.at(names.images);
    const [length, levels] = [shardLength(dataset.images, shard), distractors?.counts.length ?? 1];
    let position = 0;
    for await (const { value } of readJsonLines(path)) {
      const record = value as Partial<ImageRecord> | null;
      const index = shardImage(position++, shard);
      if (
        position > length || record?.index !== index || typeof record.id !== "string" ||
        record.levels?.length !== levels
      ) {
        throw new InputError(
          `${path}: line ${position} is damaged; it isn't that of image ${index}`,
        );
      }
      yield record as ImageRecord;
    }
  }

  /** Adds a record. */
  append(record: ImageRecord): void {
    appendText(this.at(names.images), JSON.stringify(record) + "\n");
  }

  /** Writes the figures; the evaluation is finished then. */
  finish(result: EvaluationResult): void {
    writeTextAtomically(this.at(names.result), JSON.stringify(result, null, 2) + "\n");
  }

  /** Where the picture of an image lies. */
  picture(index: number, kind: PictureKind): string {
    return this.at(names.pictures, `${String(index).padStart(6, "0")}.${kind}.webp`);
  }

  /** Whether all pictures of an image are there: what is there is complete. */
  hasPictures(index: number): boolean {
    return pictureKinds.every((kind) => existsSync(this.picture(index, kind)));
  }

  /** Makes the folder of pictures. */
  makePictures(): void {
    try {
      mkdirSync(this.at(names.pictures), { recursive: true });
    } catch (cause) {
      throw writeError(this.at(names.pictures), cause);
    }
  }

  /** Removes the pictures of all images but these. */
  keepPictures(indices: ReadonlySet<number>): void {
    let files: string[];
    try {
      files = readdirSync(this.at(names.pictures));
    } catch {
      return;
    }
    for (const file of files) {
      if (indices.has(Number.parseInt(file, 10))) continue;
      try {
        rmSync(this.at(names.pictures, file));
      } catch (cause) {
        throw writeError(this.at(names.pictures, file), cause);
      }
    }
  }
}

async function* nothing(): AsyncGenerator<ImageRecord> {}
