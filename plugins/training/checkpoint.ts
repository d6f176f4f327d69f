/**
 * Checkpoints: everything that a run needs to go on bit for bit, in files that vouch for themselves.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError, OvsError } from "../../lib/errors.ts";
import type { AdamWState } from "../../lib/optim/adamw.ts";
import { bytesSource, openSafetensors, safetensorsPieces } from "../../lib/weights/mod.ts";
import { type FileSystem, isTemporary, realFileSystem, writeFileAtomically } from "./run_files.ts";

/** A value of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
/** An object of JSON. */
export interface JsonObject {
  /** Fields by name. */
  readonly [name: string]: Json;
}

/** Where a run stands. */
export interface Checkpoint {
  /** Steps done. */
  readonly step: number;
  /** What defines the run; another run's checkpoint is refused by it. */
  readonly identity: JsonObject;
  /** What the log has to remember: sums of the line that is being filled. */
  readonly log: JsonObject;
  /** The parameters. */
  readonly params: Float32Array;
  /** The optimiser's state. */
  readonly optimizer: AdamWState;
}

const format = "ovstage checkpoint 1";
const names = { params: "parameters", m: "adamw.m", v: "adamw.v" } as const;
const pattern = /^checkpoint-(\d+)\.safetensors$/;

function checksum(header: string, arrays: readonly Float32Array[]): string {
  const hash = createHash("sha256").update(header);
  for (const { buffer, byteOffset, byteLength } of arrays) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest("hex");
}

/** Where two values of JSON differ, one line each: `schedule[0].peak is 1 there and 2 here`. */
export function differences(there: Json, here: Json, path = ""): string[] {
  if (JSON.stringify(there) === JSON.stringify(here)) return [];
  const isNested = (value: Json): value is JsonObject =>
    typeof value === "object" && value !== null;
  if (isNested(there) && isNested(here) && Array.isArray(there) === Array.isArray(here)) {
    const keys = [...new Set([...Object.keys(there), ...Object.keys(here)])];
    return keys.flatMap((key) => {
      const inner = Array.isArray(here) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`;
      return differences(there[key] ?? null, here[key] ?? null, inner);
    });
  }
  return [`${path} is ${JSON.stringify(there)} there and ${JSON.stringify(here)} here`];
}

/**
 * Reads and verifies one checkpoint file.
 *
 * @throws {ModelError} If it is no checkpoint, cut short or damaged; names the file.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new ModelError(`${path}: can't be read: ${(cause as Error).message}`, { cause });
  }
  const damaged = (why: string) =>
    new ModelError(`${path}: is no checkpoint, or cut short or damaged: ${why}`);
  try {
    const file = await openSafetensors(bytesSource(path, bytes));
    const [header, sum] = [file.metadata.get("run"), file.metadata.get("sha256")];
    if (file.metadata.get("format") !== format || header === undefined || sum === undefined) {
      throw damaged(`its header isn't that of an "${format}"`);
    }
    if (file.entries.size !== 3 || file.metadata.size !== 3) {
      throw damaged(`it holds ${file.entries.size} tensors; a checkpoint has 3`);
    }
    const [params, m, v] = await Promise.all(
      Object.values(names).map(async (name) => {
        const { dtype, data } = await file.read(name);
        if (dtype !== "float32") throw damaged(`${name} is ${dtype}`);
        return (data as Float32Array).slice();
      }),
    ) as [Float32Array, Float32Array, Float32Array];
    if (checksum(header, [params, m, v]) !== sum) throw damaged("its checksum is wrong");
    if (m.length !== params.length || v.length !== params.length) {
      throw damaged("its tensors differ in length");
    }
    const { step, identity, log } = JSON.parse(header) as Pick<
      Checkpoint,
      "step" | "identity" | "log"
    >;
    return { step, identity, log, params, optimizer: { step, m, v } };
  } catch (cause) {
    if (cause instanceof ModelError && cause.message.startsWith(`${path}: is no checkpoint`)) {
      throw cause;
    }
    if (!(cause instanceof OvsError)) throw cause;
    throw damaged(cause.message.replace(`${path}: `, ""));
  }
}

/** Options of {@linkcode CheckpointFolder}. */
export interface CheckpointFolderOptions {
  /** How many checkpoints are kept, at least 1; 2 where left out. */
  readonly keep?: number;
  /** Where it writes. */
  readonly files?: FileSystem;
}

/** The checkpoints of one run: `checkpoint-000300.safetensors`, the newest few. */
export class CheckpointFolder {
  /** The folder. */
  readonly path: string;
  readonly #keep: number;
  readonly #files: FileSystem;

  /**
   * Looks at nothing yet.
   *
   * @param path The folder; made when the first checkpoint is saved.
   * @param options How many checkpoints are kept, and the file system.
   */
  constructor(path: string, { keep = 2, files = realFileSystem }: CheckpointFolderOptions = {}) {
    this.path = path;
    this.#keep = keep;
    this.#files = files;
  }

  /** Steps of the checkpoints that there are, ascending; none of them was read. */
  steps(): number[] {
    let found: string[];
    try {
      found = readdirSync(this.path);
    } catch {
      return [];
    }
    return found.flatMap((name) => pattern.exec(name)?.[1] ?? []).map(Number)
      .sort((a, b) => a - b);
  }

  /** The path of a step's checkpoint. */
  pathOf(step: number): string {
    return join(this.path, `checkpoint-${String(step).padStart(6, "0")}.safetensors`);
  }

  /**
   * Saves a checkpoint, and removes those that are too many.
   *
   * @returns Its path.
   * @throws {OutputError} If it can't be written; all earlier ones are left as they are.
   */
  save({ step, identity, log, params, optimizer: { m, v } }: Checkpoint): string {
    mkdirSync(this.path, { recursive: true });
    const run = JSON.stringify({ step, identity, log });
    const tensor = (data: Float32Array) =>
      ({ dtype: "float32", shape: [data.length], data }) as const;
    const pieces = safetensorsPieces(
      [[names.params, tensor(params)], [names.m, tensor(m)], [names.v, tensor(v)]],
      { metadata: { format, run, sha256: checksum(run, [params, m, v]) } },
    );
    const path = this.pathOf(step);
    writeFileAtomically(path, pieces, this.#files);
    for (const old of this.steps().filter((other) => other <= step).slice(0, -this.#keep)) {
      this.#files.rmSync(this.pathOf(old), { force: true });
    }
    return path;
  }

  /**
   * Reads the newest checkpoint that is whole.
   *
   * @param onRefused Told of each newer one that is damaged.
   * @returns Null where there is none at all.
   * @throws {ModelError} If there are checkpoints, and all are damaged; says why of each.
   */
  async newest(onRefused: (message: string) => void = () => {}): Promise<Checkpoint | null> {
    const refused: string[] = [];
    for (const step of this.steps().reverse()) {
      try {
        return await readCheckpoint(this.pathOf(step));
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
        refused.push(error.message);
        onRefused(error.message);
      }
    }
    if (refused.length > 0) throw new ModelError(refused.join("; "));
    return null;
  }

  /** Removes what an earlier life began to write and didn't finish. */
  removeUnfinished(): void {
    for (const name of readdirSync(this.path)) {
      if (isTemporary(name)) this.#files.rmSync(join(this.path, name), { force: true });
    }
  }

  /** Removes checkpoints after a step: damaged ones, once the run goes on from before them. */
  removeAfter(step: number): void {
    for (const later of this.steps().filter((other) => other > step)) {
      this.#files.rmSync(this.pathOf(later), { force: true });
    }
  }
}

/**
 * Refuses a checkpoint of another run.
 *
 * @param path Its path, for the message.
 * @param there What defines the run that saved it.
 * @param here What defines this run.
 * @throws {ModelError} If they differ; says where.
 */
export function checkIdentity(path: string, there: JsonObject, here: JsonObject): void {
  const found = differences(there, here);
  if (found.length === 0) return;
  const [first, second, third] = found;
  const shown = [first, second, third].filter((line) => line !== undefined).join("; ");
  throw new ModelError(
    `${path}: is of another run: ${shown}` +
      (found.length > 3 ? `; and ${found.length - 3} more` : "") +
      "; train into another folder, or give the config that it was trained with",
  );
}
