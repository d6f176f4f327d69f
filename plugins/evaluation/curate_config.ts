/**
 * What defines a curated benchmark: one JSON document, and its schema.
 *
 * @module
 */
import { resolve } from "node:path";
import { z } from "zod";
import { InputError } from "../../lib/errors.ts";
import { datasetKinds } from "../datasets/open_dataset.ts";
import { configErrors } from "../training/config_errors.ts";

const text = z.string().min(1);
const count = z.int().min(1).max(2 ** 31 - 1);
const cosine = z.number().gt(-1).max(1);

/** A checked config, defaults filled in; `docs/similarity.md` says what each field is. */
export interface CurateConfig {
  /** What to call the benchmark. */
  name: string;
  /** Folder that it goes to. */
  out: string;
  /** Of the choice of images. */
  seed: number;
  /** The vocabulary to be far from. */
  training: string | string[];
  /** Where the images come from. */
  sources: {
    dataset: string;
    options: Record<string, string | number | boolean | string[]>;
  }[];
  /** What embeds the names. */
  embedding: {
    embeddings?: string | undefined;
    encoder?: string | undefined;
    prompts?: string | undefined;
    models?: string | undefined;
  };
  /** Whether synonyms count as well as names. */
  synonyms: boolean;
  /** Categories are dropped from this similarity to a training category on. */
  tooClose: number;
  /** Two categories may mean the same from this similarity on. */
  sameMeaning: number;
  /** Which pairs mean the same, for a person to say. */
  review: { file?: string | undefined; unanswered: "stop" | "merge" | "separate" };
  /** Most categories; null for all. */
  categories: number | null;
  /** Whether what is no category becomes the class others. */
  others: boolean;
  /** How images are balanced. */
  images: { least: number; most: number | null; total: number | null; minPixels: number };
}

const curateSchema: z.ZodType<CurateConfig> = z.strictObject({
  name: text.describe("what to call the benchmark"),
  out: text.describe("folder that it goes to; new, empty, or of an earlier run of the same config"),
  seed: z.int().min(0).max(2 ** 32 - 1).default(0).describe("of the choice of images"),
  training: z.union([text, z.array(text).min(1)]).describe(
    "the vocabulary to be far from: a built-in name, a file of names, or a list of names",
  ),
  sources: z.array(z.strictObject({
    dataset: text.describe("kind of the data set, such as ade847; see docs/datasets.md"),
    options: z.record(
      z.string(),
      z.union([text, z.number(), z.boolean(), z.array(text)]),
    ).default({}).describe("how it is opened: path, split and whatever else its kind takes"),
  })).min(1).describe("where the images come from"),
  embedding: z.strictObject({
    embeddings: text.optional().describe("a safetensors file with embeddings of your own"),
    encoder: text.optional().describe("name of the text encoder, onnx where left out"),
    prompts: text.optional().describe("vild or photo, the encoder's own where left out"),
    models: text.optional().describe("folder of the model files"),
  }).prefault({}).describe("what embeds the names"),
  synonyms: z.boolean().default(true).describe("whether synonyms count as well as names"),
  tooClose: cosine.default(0.8).describe(
    "categories are dropped from this similarity to a training category on",
  ),
  sameMeaning: cosine.default(0.9).describe(
    "two categories may mean the same from this similarity on",
  ),
  review: z.strictObject({
    file: text.optional().describe("where the pairs are listed, `out` + .review.json if left out"),
    unanswered: z.enum(["stop", "merge", "separate"]).default("stop").describe(
      "what becomes of pairs that nobody has confirmed or refused yet",
    ),
  }).prefault({}).describe("which pairs mean the same, for a person to say"),
  categories: count.nullable().default(null).describe(
    "most categories, the farthest from training; null for all",
  ),
  others: z.boolean().default(true).describe(
    "whether what is no category becomes the class others; else it counts nowhere",
  ),
  images: z.strictObject({
    least: count.default(1).describe("images that each category should have at least"),
    most: count.nullable().default(null).describe("images that it should have at most"),
    total: count.nullable().default(null).describe("most images in all"),
    minPixels: count.default(1).describe("pixels from which on a category is in an image"),
  }).prefault({}).describe("how images are balanced"),
});

/** The config's JSON Schema. */
export function curateJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(curateSchema, { io: "input" }) as Record<string, unknown>;
}

/** The same text for the same images, however their path and the default split are written. */
function sourceKey({ dataset, options }: CurateConfig["sources"][number]): string {
  const { path } = options;
  const whole = {
    split: datasetKinds.find(({ kind }) => kind === dataset)?.splits[0],
    ...options,
    ...(typeof path === "string" ? { path: resolve(path) } : {}),
  };
  return JSON.stringify([dataset, Object.entries(whole).sort(([a], [b]) => a < b ? -1 : 1)]);
}

/** What a schema can't say. */
function* relations({ sources, images, embedding }: CurateConfig): Generator<string> {
  const keys = sources.map(sourceKey);
  for (const [i, key] of keys.entries()) {
    const first = keys.indexOf(key);
    if (first === i) continue;
    const { dataset } = sources[i]!;
    yield `sources[${first}] and sources[${i}] are the same images of ${dataset}, and would be ` +
      "written twice; list them once";
  }
  if (images.most !== null && images.most < images.least) {
    yield `images.most is ${images.most}; it must be at least images.least, ${images.least}`;
  }
  const other = (["encoder", "prompts", "models"] as const)
    .find((field) => embedding[field] !== undefined);
  if (embedding.embeddings !== undefined && other !== undefined) {
    yield `embedding.embeddings and embedding.${other} are both given; give one of the two`;
  }
}

/**
 * Checks a document and fills in its defaults.
 *
 * @param document What a JSON file holds.
 * @param where What to call it in messages, such as its path.
 * @throws {InputError} If a field is unknown, missing or outside its domain; names every such field.
 *
 * @example
 * ```ts
 * import { readCurateConfig } from "./curate_config.ts";
 * const config = readCurateConfig({
 *   name: "far from COCO",
 *   out: "data/far",
 *   training: "coco-stuff171",
 *   sources: [{ dataset: "ade847", options: { path: "ADE20K" } }],
 * }, "far.json");
 * console.log(config.tooClose); // 0.8
 * ```
 */
export function readCurateConfig(document: unknown, where: string): CurateConfig {
  const { success, data, error } = curateSchema.safeParse(document);
  const faults = success
    ? [...relations(data)]
    : configErrors(error.issues, document, curateJsonSchema());
  if (faults.length > 0) throw new InputError(`${where}: ${faults.join("; ")}`);
  return data!;
}

/**
 * Reads a config from JSON text; see {@linkcode readCurateConfig}.
 *
 * @throws {InputError} If the text is no JSON, or as {@linkcode readCurateConfig}.
 */
export function parseCurateConfig(text: string, where: string): CurateConfig {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${where}: is no valid JSON: ${(cause as Error).message}`, { cause });
  }
  return readCurateConfig(document, where);
}
