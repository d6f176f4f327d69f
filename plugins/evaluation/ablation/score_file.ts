/**
 * What was measured with a network, one line each.
 *
 * @module
 */
import { mkdirSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import { InputError } from "../../../lib/errors.ts";
import { appendText, writeError } from "../../training/run_files.ts";
import { readJsonLines } from "../json_lines.ts";
import type { SemanticFigures } from "../result.ts";

/** One measurement on one split. */
export interface ScoreRecord {
  /** Digest of all that the figures depend on. */
  readonly key: string;
  /** The split. */
  readonly split: string;
  /** How many of its images. */
  readonly images: number;
  /** What the measurement was called. */
  readonly measurement: string;
  /** What was found, in percent. */
  readonly figures: SemanticFigures;
}

/**
 * The measurements of a network. A line is valid for its key alone: where the network, the images or
 * the pipeline are other ones, so is the key, and what the line says is no longer asked for.
 */
export class ScoreFile {
  /** Its path. */
  readonly path: string;
  readonly #records: Map<string, ScoreRecord>;

  private constructor(path: string, records: Map<string, ScoreRecord>) {
    this.path = path;
    this.#records = records;
  }

  /**
   * Reads what is there.
   *
   * @param mend Takes away a line that was cut off, so that lines may be added.
   * @throws {InputError} If a line is damaged; names it.
   */
  static async open(path: string, { mend = false } = {}): Promise<ScoreFile> {
    const records = new Map<string, ScoreRecord>();
    let [end, number] = [0, 0];
    for await (const line of readJsonLines(path)) {
      number++;
      const record = line.value as Partial<ScoreRecord> | null;
      if (typeof record?.key !== "string" || typeof record.figures !== "object") {
        throw new InputError(`${path}: line ${number} is damaged; it holds no figures`);
      }
      records.set(record.key, record as ScoreRecord);
      end = line.end;
    }
    if (mend) {
      try {
        truncateSync(path, end);
      } catch (cause) {
        if ((cause as { code?: string }).code !== "ENOENT") throw writeError(path, cause);
      }
    }
    return new ScoreFile(path, records);
  }

  /** What was found, or null where nobody has looked yet. */
  get(key: string): ScoreRecord | null {
    return this.#records.get(key) ?? null;
  }

  /** Adds lines, all at once. */
  append(records: readonly ScoreRecord[]): void {
    mkdirSync(dirname(this.path), { recursive: true });
    appendText(this.path, records.map((record) => JSON.stringify(record) + "\n").join(""));
    for (const record of records) this.#records.set(record.key, record);
  }
}
