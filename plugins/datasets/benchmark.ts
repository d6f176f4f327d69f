/**
 * Benchmarks of this project's own format: what `ovs curate` writes and `ovs eval` takes.
 *
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { encode } from "fast-png";
import { z } from "zod";
import { InputError, ShapeError } from "../../lib/errors.ts";
import { configErrors } from "../training/config_errors.ts";
import { FileDataset } from "./file_dataset.ts";
import { LabelTable } from "./label_table.ts";

/** The label value that counts nowhere. */
export const benchmarkIgnored = 65535;

/** What a folder's benchmark file is called. */
export const benchmarkFile = "benchmark.json";

const name = z.string().regex(/\S/);
const relative = z.string().min(1).refine((path) => !isAbsolute(path));

/** A benchmark document. Paths start from its own folder, with `/` between their parts. */
export interface Benchmark {
  /** What the document is. */
  format: "ovstage-benchmark";
  /** Of the format. */
  version: 1;
  /** What to call it. */
  name: string;
  /** The classes; label values index them. */
  classes: { name: string; synonyms: string[]; isThing: boolean | null }[];
  /** The class of what no other class means; null where there is none. */
  othersIndex: number | null;
  /** The images: a name, once in the benchmark, an image file and a 16-bit label PNG. */
  samples: { id: string; image: string; labels: string }[];
}

const benchmarkSchema: z.ZodType<Benchmark> = z.strictObject({
  format: z.literal("ovstage-benchmark"),
  version: z.literal(1),
  name: name.describe("what to call it"),
  classes: z.array(z.strictObject({
    name,
    synonyms: z.array(name).min(1).describe("names that mean the class, its own first"),
    isThing: z.boolean().nullable().describe("null where nobody says"),
  })).min(1).max(benchmarkIgnored),
  othersIndex: z.int().min(0).nullable().describe("the class of what no other class means"),
  samples: z.array(z.strictObject({
    id: name.describe("the image's name, once in the benchmark"),
    image: relative.describe("an image file"),
    labels: relative.describe(
      `a 16-bit grey PNG: a class's index, or ${benchmarkIgnored} where a pixel counts nowhere`,
    ),
  })).min(1),
});

/**
 * Checks a document.
 *
 * @param json What was parsed from the file.
 * @param path The file, for messages.
 * @throws {InputError} If it is none; names the field and what it must be.
 */
export function parseBenchmark(json: unknown, path: string): Benchmark {
  const parsed = benchmarkSchema.safeParse(json);
  if (!parsed.success) {
    const schema = z.toJSONSchema(benchmarkSchema) as Record<string, unknown>;
    throw new InputError(`${path}: ${configErrors(parsed.error.issues, json, schema)[0]}`);
  }
  const { classes, othersIndex, samples } = parsed.data;
  const once = (what: string, values: readonly string[]) => {
    const seen = new Map<string, number>();
    values.forEach((value, i) => {
      const first = seen.get(value);
      if (first !== undefined) {
        throw new InputError(`${path}: ${what} ${first} and ${i} are both called "${value}"`);
      }
      seen.set(value, i);
    });
  };
  once("classes", classes.map(({ name }) => name));
  once("samples", samples.map(({ id }) => id));
  classes.forEach(({ name, synonyms }, c) => {
    if (synonyms[0] === name) return;
    throw new InputError(
      `${path}: classes[${c}].synonyms begins with "${synonyms[0]}"; it must with "${name}"`,
    );
  });
  if (othersIndex !== null && othersIndex >= classes.length) {
    throw new InputError(
      `${path}: othersIndex is ${othersIndex}; it must be null or below ${classes.length}, the ` +
        "number of classes",
    );
  }
  return parsed.data;
}

/**
 * The label file of a sample.
 *
 * @param labels height × width class indices; −1 where a pixel counts nowhere.
 * @returns The bytes of a 16-bit PNG.
 * @throws {ShapeError} If there are not height × width labels, or one doesn't fit.
 */
export function encodeBenchmarkLabels(
  labels: Int32Array,
  width: number,
  height: number,
): Uint8Array<ArrayBuffer> {
  if (labels.length !== width * height) {
    throw new ShapeError(
      `labels: ${width}×${height} pixels take ${width * height} labels, got ${labels.length}`,
    );
  }
  const data = Uint16Array.from(labels, (label) => {
    if (label >= -1 && label < benchmarkIgnored) return label < 0 ? benchmarkIgnored : label;
    throw new ShapeError(`labels: ${label} is not one of -1 to ${benchmarkIgnored - 1}`);
  });
  return Uint8Array.from(encode({ width, height, depth: 16, channels: 1, data }));
}

/**
 * Opens a benchmark.
 *
 * @param path The document, or the folder that holds it as `benchmark.json`.
 * @throws {InputError} If the file is missing or no benchmark.
 */
export async function openBenchmark(path: string): Promise<FileDataset> {
  const isFolder = await stat(path).then((found) => found.isDirectory(), () => false);
  const file = isFolder ? join(path, benchmarkFile) : path;
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = cause instanceof SyntaxError
      ? `is no valid JSON: ${cause.message}`
      : missing
      ? "no such file; it must be a benchmark that ovs curate wrote"
      : `can't be read: ${(cause as Error).message}`;
    throw new InputError(`${file}: ${why}`, { cause });
  }
  const { name, classes, othersIndex, samples } = parseBenchmark(json, file);
  const folder = dirname(file);
  return new FileDataset({
    name,
    classes,
    othersIndex,
    files: samples.map(({ id, image, labels }) => ({
      id,
      image: join(folder, image),
      labels: join(folder, labels),
    })),
    table: new LabelTable(classes.map((_, c) => c), { ignored: [benchmarkIgnored], wide: true }),
  });
}
