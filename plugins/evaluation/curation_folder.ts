/**
 * The folder of a curated benchmark: what it was made from, what was found image by image, and the
 * benchmark itself.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { InputError, OutputError } from "../../lib/errors.ts";
import { benchmarkFile } from "../datasets/benchmark.ts";
import {
  appendText,
  writeError,
  writeFileAtomically,
  writeTextAtomically,
} from "../training/run_files.ts";
import { readJsonLines } from "./json_lines.ts";

/** A data set that images come from. */
export interface CurationSource {
  /** Its name. */
  readonly name: string;
  /** See `Dataset.fingerprint`. */
  readonly fingerprint: string;
  /** How many images it has. */
  readonly images: number;
}

/** How many pixels of which label an image has. */
export interface ScanRecord {
  /** Number of the source. */
  readonly source: number;
  /** Number of the image in it. */
  readonly image: number;
  /** The image's id. */
  readonly id: string;
  /** Labels of the source, and their numbers of pixels. */
  readonly pixels: readonly (readonly [label: number, count: number])[];
}

/** The file `curation.json`. */
interface Marker {
  readonly format: "ovstage-curation";
  readonly version: 1;
  readonly sources: readonly CurationSource[];
  /** Digest of what is written to the folder; null until that is known. */
  readonly selection: string | null;
  /** How it came about; null until everything is written. */
  readonly report: unknown;
}

const names = { marker: "curation.json", scan: "scan.jsonl", images: "images", labels: "labels" };

/** A folder that nobody but `ovs curate` writes to. */
export class CurationFolder {
  /** The folder. */
  readonly path: string;
  #marker: Marker;

  private constructor(path: string, marker: Marker) {
    this.path = path;
    this.#marker = marker;
  }

  /**
   * Opens a folder, or makes it.
   *
   * @throws {OutputError} If it holds something else, or a benchmark from other data, or can't be
   * written.
   * @throws {InputError} If its files are damaged.
   */
  static open(path: string, sources: readonly CurationSource[]): CurationFolder {
    let files: string[];
    try {
      mkdirSync(path, { recursive: true });
      files = readdirSync(path);
    } catch (cause) {
      const code = (cause as { code?: string }).code;
      if (code !== "EEXIST" && code !== "ENOTDIR") throw writeError(path, cause);
      throw new OutputError(`${path}: a file is in the way; choose another folder as out`, {
        cause,
      });
    }
    const marker = join(path, names.marker);
    if (files.includes(names.marker)) {
      const found = readMarker(marker);
      if (JSON.stringify(found.sources) !== JSON.stringify(sources)) {
        const list = (all: readonly CurationSource[]) =>
          all.map(({ name, images }) => `${name} (${images} images)`).join(", ");
        throw new OutputError(
          `${path}: is made from other data, ${list(found.sources)}; this is ${list(sources)}; ` +
            "choose another folder as out",
        );
      }
      return new CurationFolder(path, found);
    }
    // A temporary file of ours may be left where the first write was cut off.
    const foreign = files.find((name) => name !== `.${names.marker}.tmp`);
    if (foreign !== undefined) {
      throw new OutputError(
        `${path}: holds "${foreign}" and is no folder of ovs curate; choose another one as out, ` +
          "new or empty",
      );
    }
    const fresh: Marker = {
      format: "ovstage-curation",
      version: 1,
      sources,
      selection: null,
      report: null,
    };
    const folder = new CurationFolder(path, fresh);
    folder.#mark({});
    return folder;
  }

  #mark(changes: Partial<Marker>): void {
    this.#marker = { ...this.#marker, ...changes };
    const text = JSON.stringify(this.#marker, null, 2) + "\n";
    writeTextAtomically(join(this.path, names.marker), text);
  }

  /**
   * What the scan has found so far. What was cut off of its last line is taken away.
   *
   * @throws {InputError} If a line is damaged; names it.
   */
  async scanned(ids: readonly (readonly string[])[]): Promise<ScanRecord[]> {
    const path = join(this.path, names.scan);
    const order = ids.flatMap((list, source) => list.map((id, image) => ({ source, image, id })));
    const records: ScanRecord[] = [];
    let end = 0;
    for await (const line of readJsonLines(path)) {
      end = line.end;
      const record = line.value as Partial<ScanRecord> | null;
      const wanted = order[records.length];
      const fits = wanted !== undefined && record?.source === wanted.source &&
        record.image === wanted.image && record.id === wanted.id && Array.isArray(record.pixels);
      if (!fits) {
        throw new InputError(
          `${path}: line ${records.length + 1} is damaged; it isn't that of ` +
            `${wanted === undefined ? "any image" : `image "${wanted.id}"`}; remove the file`,
        );
      }
      records.push(record as ScanRecord);
    }
    try {
      if (existsSync(path)) truncateSync(path, end);
    } catch (cause) {
      throw writeError(path, cause);
    }
    return records;
  }

  /** Adds what the scan found in one more image. */
  addScanned(record: ScanRecord): void {
    appendText(join(this.path, names.scan), JSON.stringify(record) + "\n");
  }

  /**
   * Makes the folder ready for what is written to it. Pictures of another choice, which never became
   * a benchmark, are removed.
   *
   * @param selection Digest of what will be written.
   * @throws {OutputError} If another benchmark is there, complete.
   */
  begin(selection: string): void {
    const { selection: before, report } = this.#marker;
    if (before !== selection) {
      if (report !== null) {
        throw new OutputError(
          `${this.path}: holds a benchmark of other categories or images; choose another folder ` +
            "as out, or remove this one",
        );
      }
      try {
        for (const name of [names.images, names.labels, benchmarkFile]) {
          rmSync(join(this.path, name), { recursive: true, force: true });
        }
      } catch (cause) {
        throw writeError(this.path, cause);
      }
      this.#mark({ selection });
    }
    try {
      mkdirSync(join(this.path, names.images), { recursive: true });
      mkdirSync(join(this.path, names.labels), { recursive: true });
    } catch (cause) {
      throw writeError(this.path, cause);
    }
  }

  /** Where the files of a sample lie, as paths from the folder. */
  files(sample: number): { image: string; labels: string } {
    const name = `${String(sample).padStart(6, "0")}.png`;
    return { image: `${names.images}/${name}`, labels: `${names.labels}/${name}` };
  }

  /** Whether a file is there: what is there is complete. */
  has(file: string): boolean {
    return existsSync(join(this.path, file));
  }

  /** Writes a file. */
  write(file: string, bytes: Uint8Array): void {
    writeFileAtomically(join(this.path, file), [bytes]);
  }

  /** Writes the benchmark, and how it came about. */
  finish(benchmark: unknown, report: unknown): void {
    writeTextAtomically(
      join(this.path, benchmarkFile),
      JSON.stringify(benchmark, null, 2) + "\n",
    );
    this.#mark({ report });
  }
}

function readMarker(path: string): Marker {
  let marker: Partial<Marker> | null;
  try {
    marker = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new InputError(`${path}: is damaged: ${(cause as Error).message}`, { cause });
  }
  if (marker?.format === "ovstage-curation" && marker.version === 1) return marker as Marker;
  throw new InputError(`${path}: was not written by this version of ovs curate`);
}
