/**
 * The figures of a run, one JSON object a line.
 *
 * @module
 */
import { closeSync, fsyncSync, openSync, readFileSync } from "node:fs";
import { appendText, type FileSystem, writeTextAtomically } from "./run_files.ts";

/** One line: the means of the steps since the last one, or a validation. */
export interface MetricsRecord {
  /** Steps done. */
  readonly step: number;
  /** Figures of a validation after this step; a line has these, or those of training. */
  readonly validation?: Readonly<Record<string, number>>;
  /** Means over the steps since the last line: `loss`, its terms, `gradNorm`, `learningRate`. */
  readonly [figure: string]: number | Readonly<Record<string, number>> | undefined;
}

/**
 * Reads a metrics file; lines that were cut off are left out.
 *
 * @returns Nothing where there is no file.
 */
export function readMetrics(path: string): MetricsRecord[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line) => {
    try {
      const record = JSON.parse(line) as MetricsRecord;
      return typeof record?.step === "number" ? [record] : [];
    } catch {
      return [];
    }
  });
}

/** A metrics file that agrees with the checkpoint from which the run goes on. */
export class MetricsLog {
  /** The file. */
  readonly path: string;
  readonly #files: FileSystem | undefined;

  /**
   * @param path The file.
   * @param step Where the run goes on: lines of later steps will be written again, so they go now.
   */
  constructor(path: string, step: number, files?: FileSystem) {
    this.path = path;
    this.#files = files;
    const lines = readMetrics(path).filter((record) => record.step <= step)
      .map((record) => JSON.stringify(record) + "\n");
    writeTextAtomically(path, lines.join(""), files);
  }

  /** Adds a line. */
  append(record: MetricsRecord): void {
    appendText(this.path, JSON.stringify(record) + "\n", this.#files);
  }

  /** Waits until the lines are on the disk: those before a checkpoint shall outlive what it does. */
  sync(): void {
    const fd = openSync(this.path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}
