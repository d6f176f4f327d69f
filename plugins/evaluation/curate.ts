/**
 * Benchmarks in the manner of OpenBench: categories far from a training vocabulary, no two of which
 * mean the same, out of data sets that are there.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Dataset } from "../../lib/data/dataset.ts";
import { InputError } from "../../lib/errors.ts";
import type { Image } from "../../lib/image/image.ts";
import type { Engine } from "../../lib/runtime.ts";
import { chooseDistinct } from "../../lib/similarity/choose_distinct.ts";
import { similarPairs } from "../../lib/similarity/similar_pairs.ts";
import { normalizeText } from "../../lib/text/bpe.ts";
import { importSharp } from "../codecs/import_sharp.ts";
import { type Benchmark, encodeBenchmarkLabels } from "../datasets/benchmark.ts";
import { writeError, writeTextAtomically } from "../training/run_files.ts";
import { chooseImages } from "./choose_images.ts";
import type { CurateConfig } from "./curate_config.ts";
import { CurationFolder, type ScanRecord } from "./curation_folder.ts";
import { embedVocabulary, type NamedClass } from "./embed_vocabulary.ts";
import {
  groupSame,
  type MergeReview,
  parseMergeReview,
  type ReviewedPair,
  updateReview,
} from "./merge_review.ts";
import {
  type EmbeddedVocabulary,
  type NearestCategory,
  vocabularyRows,
  vocabularySimilarity,
} from "./similarity.ts";
import type { TextEmbedder } from "./text_embedder.ts";

/** What the class of everything else is called. */
const othersName = "others";

/** What a benchmark is made from. */
export interface CurateParts {
  /** The data sets, in the config's order. */
  readonly sources: readonly Dataset[];
  /** The training vocabulary. */
  readonly training: readonly NamedClass[];
  /** Embeds the names. */
  readonly embedder: TextEmbedder;
  /** Computes products of large vocabularies; plain loops where left out. */
  readonly engine?: Engine;
}

/** Options of {@linkcode curate}. */
export interface CurateOptions {
  /** Ends the work early; the same call goes on where it stood. */
  readonly signal?: AbortSignal;
  /** Reports how far each part of the work has come. */
  readonly onProgress?: (
    part: "embedding" | "scanning" | "writing",
    done: number,
    total: number,
  ) => void;
}

/** A category of the benchmark. */
export interface CuratedCategory {
  /** Its name. */
  readonly name: string;
  /** Names of the categories that it was merged from; its own first. */
  readonly mergedFrom: readonly string[];
  /** The nearest training category. */
  readonly nearest: string;
  /** The cosine to it. */
  readonly similarity: number;
  /** Images that have it. */
  readonly images: number;
}

/** A category that the benchmark doesn't have. */
export interface DroppedCategory {
  /** Its name. */
  readonly name: string;
  /** The nearest training category. */
  readonly nearest: string;
  /** The cosine to it. */
  readonly similarity: number;
  /** Too close to training, in no image, or one more than were asked for. */
  readonly reason: "too close" | "no image" | "too many categories";
}

/** How a benchmark came about. */
export interface CurationReport {
  /** What embedded the names. */
  readonly encoder: string;
  /** The mean similarity to training: the figure that the OpenBench paper reports. */
  readonly average: number;
  /** The greatest similarity to training. */
  readonly greatest: number;
  /** The categories, in the benchmark's order. */
  readonly categories: readonly CuratedCategory[];
  /** The others, those nearest to training first. */
  readonly dropped: readonly DroppedCategory[];
  /** Images in all. */
  readonly images: number;
}

/** What {@linkcode curate} comes to: a benchmark, or questions that a person has to answer first. */
export type CurateResult =
  | { readonly state: "done"; readonly report: CurationReport }
  | {
    readonly state: "review";
    /** The file that lists the pairs. */
    readonly file: string;
    /** Those without an answer. */
    readonly open: readonly ReviewedPair[];
  };

/** A category of the sources; classes of one name are one. */
interface Category {
  readonly name: string;
  readonly synonyms: string[];
  isThing: boolean | null;
  /** The labels that mean it. */
  readonly labels: { readonly source: number; readonly label: number }[];
}

function categoriesOf(sources: readonly Dataset[]): Category[] {
  const byName = new Map<string, Category>();
  sources.forEach(({ classes, othersIndex }, source) => {
    classes.forEach(({ name, synonyms, isThing }, label) => {
      if (label === othersIndex) return;
      const known = byName.get(normalizeText(name));
      if (known === undefined) {
        const category = { name, synonyms: [...synonyms], isThing, labels: [{ source, label }] };
        byName.set(normalizeText(name), category);
        return;
      }
      join(known, { name, synonyms: [...synonyms], isThing, labels: [{ source, label }] });
    });
  });
  return [...byName.values()];
}

/** Makes one category of two. */
function join(into: Category, other: Category): void {
  const known = new Set(into.synonyms.map(normalizeText));
  into.synonyms.push(...other.synonyms.filter((text) => !known.has(normalizeText(text))));
  if (into.isThing !== other.isThing) into.isThing = null;
  into.labels.push(...other.labels);
}

/** Pairs of categories that may mean the same: their nearest rows reach the threshold. */
async function candidatePairs(
  vocabulary: EmbeddedVocabulary,
  threshold: number,
  options: { engine?: Engine; signal?: AbortSignal },
): Promise<{ first: number; second: number; cosine: number }[]> {
  const { rows, categoryOf } = vocabularyRows(vocabulary, "benchmark's");
  const found = new Map<string, { first: number; second: number; cosine: number }>();
  // The nearest rows come first, so that a pair's first cosine is its greatest.
  for (const { first, second, cosine } of await similarPairs(rows, threshold, options)) {
    const [a, b] = [categoryOf[first]!, categoryOf[second]!];
    const key = `${a} ${b}`;
    if (a !== b && !found.has(key)) found.set(key, { first: a, second: b, cosine });
  }
  return [...found.values()];
}

function readReview(file: string): MergeReview | null {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    if (code === "ENOENT") return null;
    throw new InputError(`${file}: can't be read: ${message}`, { cause });
  }
  return parseMergeReview(text, file);
}

function writeReview(file: string, review: MergeReview): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
  } catch (cause) {
    throw writeError(dirname(file), cause);
  }
  writeTextAtomically(file, JSON.stringify(review, null, 2) + "\n");
}

/**
 * Makes a benchmark:
 *
 * 1. Classes of one name in several data sets become one category. Pairs of categories whose
 *    similarity reaches `sameMeaning` are listed in the review file, and those that it says are the
 *    same are merged; unless told otherwise, it stops there until every pair has an answer.
 * 2. A category is dropped where it, or one that was merged into it, has a similarity to the nearest
 *    training category of `tooClose` or more, or no image has it.
 * 3. Of what is left, the `categories` farthest from training stay, and images are chosen by
 *    {@linkcode chooseImages}.
 * 4. Images and 16-bit label files are written; pixels of dropped categories become "others".
 *
 * A call that was cut off goes on when it is repeated.
 *
 * @param config What to make.
 * @param parts What to make it from.
 * @param options A signal and progress.
 * @throws {InputError} If nothing is left of the categories, a review file is wrong, or data can't
 * be read.
 * @throws {OutputError} If the folder holds something else, or can't be written.
 */
export async function curate(
  config: CurateConfig,
  parts: CurateParts,
  { signal, onProgress }: CurateOptions = {},
): Promise<CurateResult> {
  const { sources, training, embedder, engine } = parts;
  const how = {
    ...(engine === undefined ? {} : { engine }),
    ...(signal === undefined ? {} : { signal }),
  };
  const described = await Promise.all(sources.map(async (source) => ({
    name: source.name,
    fingerprint: await source.fingerprint(),
    images: source.length,
  })));
  const folder = CurationFolder.open(config.out, described);
  const found = categoriesOf(sources);
  if (found.length === 0) throw new InputError("the sources have no categories");
  const embed = (classes: readonly NamedClass[], at: number) =>
    embedVocabulary(classes, embedder, {
      synonyms: config.synonyms,
      ...(signal === undefined ? {} : { signal }),
      onProgress: (done, total) => onProgress?.("embedding", at + done / total, 2),
    });
  const trained = await embed(training, 0);
  const embedded = await embed(found, 1);
  const { nearest } = await vocabularySimilarity(trained, embedded, how);

  const pairs = await candidatePairs(embedded, config.sameMeaning, how);
  const merged = review(config, found, nearest, pairs);
  if ("open" in merged) return { state: "review", ...merged };
  const groups = mergeCategories(found, nearest, merged.same);

  const scan = await scanSources(sources, folder, (done, total) => {
    signal?.throwIfAborted();
    onProgress?.("scanning", done, total);
  }, signal);
  const chosen = choose(config, groups, scan, sources);
  const plan = benchmarkOf(config, chosen, sources, folder);
  const report = reportOf(chosen, embedder.description);
  folder.begin(plan.digest);
  await writeSamples(plan, sources, folder, (done, total) => {
    signal?.throwIfAborted();
    onProgress?.("writing", done, total);
  }, signal);
  folder.finish(plan.benchmark, { ...report, config });
  return { state: "done", report };
}

/** The pairs that mean the same, or the questions that are open. */
function review(
  config: CurateConfig,
  found: readonly Category[],
  nearest: readonly NearestCategory[],
  pairs: readonly { first: number; second: number; cosine: number }[],
): { same: [number, number][] } | { file: string; open: ReviewedPair[] } {
  const file = config.review.file ?? `${config.out.replace(/[\\/]+$/, "")}.review.json`;
  // Where both are dropped anyway, nobody need be asked.
  const isClose = (index: number) => nearest[index]!.similarity >= config.tooClose;
  const asked = pairs.filter(({ first, second }) => !(isClose(first) && isClose(second)));
  const before = readReview(file);
  const named = asked.map(({ first, second, cosine }) => ({
    first: found[first]!.name,
    second: found[second]!.name,
    cosine,
  }));
  const now = updateReview(named, before);
  if (now.pairs.length > 0 && JSON.stringify(now) !== JSON.stringify(before)) {
    writeReview(file, now);
  }
  const answers = now.pairs.slice(0, asked.length);
  const open = answers.filter(({ same }) => same === null);
  const { unanswered } = config.review;
  if (open.length > 0 && unanswered === "stop") return { file, open };
  const isSame = (same: boolean | null) => same ?? unanswered === "merge";
  return {
    same: asked.flatMap(({ first, second }, i): [number, number][] =>
      isSame(answers[i]!.same) ? [[first, second]] : []
    ),
  };
}

/** A category after merging. */
interface Group extends Category {
  readonly mergedFrom: string[];
  /** The nearest training category of all that were merged. */
  nearest: NearestCategory;
}

function mergeCategories(
  found: readonly Category[],
  nearest: readonly NearestCategory[],
  same: readonly [number, number][],
): Group[] {
  const groups: Group[] = [];
  groupSame(found.length, same).forEach((group, i) => {
    const category = found[i]!;
    const known = groups[group];
    if (known === undefined) {
      groups[group] = { ...category, mergedFrom: [category.name], nearest: nearest[i]! };
      return;
    }
    join(known, category);
    known.mergedFrom.push(category.name);
    if (nearest[i]!.similarity > known.nearest.similarity) known.nearest = nearest[i]!;
  });
  return groups;
}

/** Counts the labels of all images, but those that are counted already. */
async function scanSources(
  sources: readonly Dataset[],
  folder: CurationFolder,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal | undefined,
): Promise<ScanRecord[]> {
  const ids = sources.map((source) =>
    Array.from({ length: source.length }, (_, i) => source.id(i))
  );
  const records = await folder.scanned(ids);
  const total = ids.flat().length;
  let position = 0;
  for (const [source, dataset] of sources.entries()) {
    for (let image = 0; image < dataset.length; image++) {
      if (position++ < records.length) continue;
      onProgress(position - 1, total);
      const { labels } = await dataset.read(image, signal === undefined ? {} : { signal });
      const counts = new Map<number, number>();
      for (const label of labels) {
        if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
      }
      const pixels = [...counts].sort(([a], [b]) => a - b);
      const record = { source, image, id: ids[source]![image]!, pixels };
      folder.addScanned(record);
      records.push(record);
    }
  }
  onProgress(total, total);
  return records;
}

/** Which categories and images the benchmark has. */
interface Choice {
  /** In the order of the sources. */
  readonly groups: readonly Group[];
  readonly samples: readonly ScanRecord[];
  /** Images of each group. */
  readonly counts: readonly number[];
  readonly dropped: readonly DroppedCategory[];
}

function choose(
  config: CurateConfig,
  groups: readonly Group[],
  scan: readonly ScanRecord[],
  sources: readonly Dataset[],
): Choice {
  const groupOf = sources.map(({ classes }) => new Int32Array(classes.length).fill(-1));
  groups.forEach(({ labels }, g) => {
    for (const { source, label } of labels) groupOf[source]![label] = g;
  });
  const areas = scan.map(({ source, pixels }) => {
    const area = new Map<number, number>();
    for (const [label, count] of pixels) {
      const group = groupOf[source]![label]!;
      if (group >= 0) area.set(group, (area.get(group) ?? 0) + count);
    }
    return area;
  });
  const { minPixels } = config.images;
  const present = areas.map((area) =>
    [...area].filter(([, count]) => count >= minPixels).map(([g]) => g)
  );
  const anywhere = new Set(present.flat());
  const there = groups.map((_, g) => g).filter((g) => anywhere.has(g));
  const kept = chooseDistinct(there.map((g) => groups[g]!.nearest.similarity), {
    from: "far",
    tooClose: config.tooClose,
    ...(config.categories === null ? {} : { count: config.categories }),
  }).map((i) => there[i]!).sort((a, b) => a - b);
  const isKept = new Set(kept);
  const dropped = groups.flatMap(({ name, nearest }, g): DroppedCategory[] => {
    if (isKept.has(g)) return [];
    const reason = nearest.similarity >= config.tooClose
      ? "too close"
      : anywhere.has(g)
      ? "too many categories"
      : "no image";
    return [{ name, nearest: nearest.nearest, similarity: nearest.similarity, reason }];
  }).sort((a, b) => b.similarity - a.similarity);
  if (kept.length === 0) {
    const close = dropped.filter(({ reason }) => reason === "too close").length;
    const small = new Set(
      areas.flatMap((area) => [...area.keys()])
        .filter((g) => groups[g]!.nearest.similarity < config.tooClose),
    ).size;
    const causes = ([
      [close, `too close to training (similarity from ${config.tooClose} on)`, "raise tooClose"],
      [small, `below images.minPixels, ${minPixels}, in every image`, "lower images.minPixels"],
      [groups.length - close - small, "in no image", "add sources"],
    ] as const).filter(([count]) => count > 0);
    throw new InputError(
      `no category is left: of ${groups.length}, ` +
        causes.map(([count, why]) => `${count} ${count === 1 ? "is" : "are"} ${why}`).join(", ") +
        `; ${causes.map(([, , advice]) => advice).join(" or ")}`,
    );
  }
  const place = new Map(kept.map((g, i) => [g, i]));
  const wanted = present.map((list) => list.flatMap((g) => place.get(g) ?? []));
  const images = chooseImages(wanted, kept.length, { ...config.images, seed: config.seed });
  const counts = new Array<number>(kept.length).fill(0);
  for (const image of images) for (const c of wanted[image]!) counts[c]!++;
  const without = counts.indexOf(0);
  if (without >= 0) {
    throw new InputError(
      `images.total is ${config.images.total}; that leaves "${groups[kept[without]!]!.name}" ` +
        `without an image; raise it, or let categories be fewer than ${kept.length}`,
    );
  }
  return {
    groups: kept.map((g) => groups[g]!),
    samples: images.map((image) => scan[image]!),
    counts,
    dropped,
  };
}

/** What is written, and how labels become those of the benchmark. */
interface Plan {
  readonly benchmark: Benchmark;
  readonly samples: readonly ScanRecord[];
  readonly newLabel: readonly Int32Array[];
  readonly digest: string;
}

function benchmarkOf(
  config: CurateConfig,
  { groups, samples }: Choice,
  sources: readonly Dataset[],
  folder: CurationFolder,
): Plan {
  const classes: Benchmark["classes"] = groups.map(({ name, synonyms, isThing }) => ({
    name,
    synonyms: [name, ...synonyms.filter((text) => text !== name)],
    isThing,
  }));
  const othersIndex = config.others ? classes.length : null;
  if (othersIndex !== null) {
    const taken = classes.find(({ name }) => normalizeText(name) === othersName);
    if (taken !== undefined) {
      throw new InputError(
        `a category of the sources is called "${taken.name}" like the class of everything else; ` +
          "set others to false",
      );
    }
    classes.push({ name: othersName, synonyms: [othersName], isThing: null });
  }
  const newLabel = sources.map((source) =>
    new Int32Array(source.classes.length).fill(othersIndex ?? -1)
  );
  groups.forEach(({ labels }, c) => {
    for (const { source, label } of labels) newLabel[source]![label] = c;
  });
  const benchmark: Benchmark = {
    format: "ovstage-benchmark",
    version: 1,
    name: config.name,
    classes,
    othersIndex,
    samples: samples.map(({ source, id }, i) => ({
      id: sources.length === 1 ? id : `${source + 1}/${id}`,
      ...folder.files(i),
    })),
  };
  const digest = createHash("sha256")
    .update(JSON.stringify([benchmark, newLabel.map((table) => [...table])])).digest("hex");
  return { benchmark, samples, newLabel, digest };
}

async function writeSamples(
  { benchmark, samples, newLabel }: Plan,
  sources: readonly Dataset[],
  folder: CurationFolder,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const [i, { source, image: index }] of samples.entries()) {
    onProgress(i, samples.length);
    const files = benchmark.samples[i]!;
    if (folder.has(files.image) && folder.has(files.labels)) continue;
    const options = signal === undefined ? {} : { signal };
    const { image, labels } = await sources[source]!.read(index, options);
    const table = newLabel[source]!;
    const mapped = labels.map((label) => label < 0 ? -1 : table[label]!);
    folder.write(files.labels, encodeBenchmarkLabels(mapped, image.width, image.height));
    folder.write(files.image, await encodePng(image));
  }
  onProgress(samples.length, samples.length);
}

async function encodePng({ rgb, width, height }: Image): Promise<Uint8Array> {
  const sharp = await importSharp();
  return await sharp(rgb, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

function reportOf({ groups, samples, counts, dropped }: Choice, encoder: string): CurationReport {
  const similarities = groups.map(({ nearest }) => nearest.similarity);
  return {
    encoder,
    average: similarities.reduce((sum, value) => sum + value, 0) / similarities.length,
    greatest: Math.max(...similarities),
    categories: groups.map(({ name, mergedFrom, nearest }, c) => ({
      name,
      mergedFrom,
      nearest: nearest.nearest,
      similarity: nearest.similarity,
      images: counts[c]!,
    })),
    dropped,
    images: samples.length,
  };
}
