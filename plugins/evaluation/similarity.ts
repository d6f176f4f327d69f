/**
 * How far a test vocabulary is from the training vocabulary, as OpenBench measures it.
 *
 * @module
 */
import { InputError, ShapeError } from "../../lib/errors.ts";
import { type CosineOptions, CosineRows } from "../../lib/similarity/cosine_blocks.ts";
import { nearestRows } from "../../lib/similarity/nearest_rows.ts";
import { formatShape, type HostTensor } from "../../lib/tensor.ts";
import { normalizeText } from "../../lib/text/bpe.ts";

/** Categories and their text embeddings. */
export interface EmbeddedVocabulary {
  /** C names. */
  readonly names: readonly string[];
  /** `F_T`: float32 C×D, a row per name, of any length but 0. */
  readonly embeddings: HostTensor<"float32">;
  /**
   * Where categories have several rows, one per synonym: each row's category, ascending, every
   * category at least once. The similarity of two categories is then that of their nearest rows.
   */
  readonly categories?: ArrayLike<number>;
}

/** A test category and the training category that is nearest to it. */
export interface NearestCategory {
  /** The test category's name. */
  readonly name: string;
  /** The training category's name. */
  readonly nearest: string;
  /** The training category's index; of equally near ones, the lowest. */
  readonly nearestIndex: number;
  /** The cosine of their embeddings, −1 to 1. */
  readonly similarity: number;
}

/** The test categories of a range of similarity. */
export interface HistogramBin {
  /** The least similarity, inclusive. */
  readonly from: number;
  /** The greatest, exclusive except for 1. */
  readonly to: number;
  /** How many test categories lie in it. */
  readonly count: number;
}

/** How similar a test vocabulary is to a training vocabulary. */
export interface VocabularySimilarity {
  /** The mean of `nearest`'s similarities: the figure that the OpenBench paper reports. */
  readonly average: number;
  /** The same over test categories whose name no training category has; null where there is none. */
  readonly averageOfNew: number | null;
  /** The middle one of the similarities. */
  readonly median: number;
  /** For each test category, in the vocabulary's order. */
  readonly nearest: readonly NearestCategory[];
  /** The test categories closest to a training category, the closest first. */
  readonly closest: readonly NearestCategory[];
  /** The test categories farthest from all training categories, the farthest first. */
  readonly farthest: readonly NearestCategory[];
  /** Test categories whose name a training category has, whatever its case and spaces. */
  readonly sameName: readonly string[];
  /** Bins of 0.05 from −1 to 1. */
  readonly histogram: readonly HistogramBin[];
}

/** Options of {@linkcode vocabularySimilarity}. */
export interface SimilarityOptions extends CosineOptions {
  /** How many pairs `closest` and `farthest` hold; 10 where left out. */
  readonly extremes?: number;
}

const binsPerUnit = 20;

/** Counts similarities in bins of 0.05, from −1 to 1. */
export function similarityHistogram(similarities: Iterable<number>): HistogramBin[] {
  const counts = new Array<number>(2 * binsPerUnit).fill(0);
  for (const similarity of similarities) {
    const bin = Math.floor(similarity * binsPerUnit) + binsPerUnit;
    counts[Math.min(bin, counts.length - 1)]!++;
  }
  return counts.map((count, bin) => ({
    from: (bin - binsPerUnit) / binsPerUnit,
    to: (bin + 1 - binsPerUnit) / binsPerUnit,
    count,
  }));
}

/** The rows of a vocabulary, checked, and the category of each. */
export function vocabularyRows(
  { names, embeddings, categories }: EmbeddedVocabulary,
  what: string,
): { rows: CosineRows; categoryOf: Int32Array } {
  if (names.length === 0) throw new InputError(`the ${what} vocabulary is empty; name a category`);
  const categoryOf = Int32Array.from(categories ?? names.map((_, i) => i));
  const steps = categoryOf.every((category, row) => {
    const before = row === 0 ? -1 : categoryOf[row - 1]!;
    return category === before + 1 || category === before && row > 0;
  });
  if (
    !steps || categoryOf.at(-1) !== names.length - 1 || embeddings.shape[0] !== categoryOf.length
  ) {
    throw new ShapeError(
      `the ${what} vocabulary has ${names.length} names, ${categoryOf.length} rows by its ` +
        `categories, and embeddings of shape ${
          formatShape(embeddings.shape)
        }; each name must have ` +
        "its rows, in order",
    );
  }
  const name = (row: number) => `the ${what} category "${names[categoryOf[row]!]}"`;
  return { rows: new CosineRows(embeddings, name), categoryOf };
}

/** The nearest training category of each test category, and its similarity. */
async function nearestCategories(
  train: EmbeddedVocabulary,
  test: EmbeddedVocabulary,
  options: CosineOptions,
): Promise<NearestCategory[]> {
  const [a, b] = [vocabularyRows(test, "test"), vocabularyRows(train, "training")];
  const { index, cosine } = await nearestRows(a.rows, b.rows, options);
  const nearest = new Int32Array(test.names.length);
  const similarity = new Float64Array(test.names.length).fill(-Infinity);
  a.categoryOf.forEach((category, row) => {
    const other = b.categoryOf[index[row]!]!;
    const isBetter = cosine[row]! > similarity[category]! ||
      cosine[row] === similarity[category] && other < nearest[category]!;
    if (isBetter) [nearest[category], similarity[category]] = [other, cosine[row]!];
  });
  return test.names.map((name, category) => ({
    name,
    nearest: train.names[nearest[category]!]!,
    nearestIndex: nearest[category]!,
    similarity: similarity[category]!,
  }));
}

const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;

/**
 * Measures a test vocabulary against a training vocabulary, as the OpenBench paper does: for each
 * test category t, max over training categories s of cos(e_t, e_s); then the average.
 *
 * No C_test × C_train matrix is ever held; the figures are float64 and don't depend on the engine.
 *
 * @param train What the model was trained on.
 * @param test What it is tested on; in the same embedding space.
 * @param options An engine for large vocabularies, a signal, and how many pairs to name.
 * @throws {InputError} If a vocabulary is empty, or an embedding is all zeros or not finite; names
 * the category.
 * @throws {ShapeError} If names and rows, or the spaces, don't fit together.
 *
 * @example
 * ```ts
 * import { float32, vocabularySimilarity } from "@ovstage/ovstage";
 * const { average, nearest } = await vocabularySimilarity(
 *   { names: ["dog", "car"], embeddings: float32([2, 2], Float32Array.of(1, 0, 0, 1)) },
 *   { names: ["puppy"], embeddings: float32([1, 2], Float32Array.of(4, 3)) },
 * );
 * console.log(average, nearest[0]!.nearest); // 0.8 dog
 * ```
 */
export async function vocabularySimilarity(
  train: EmbeddedVocabulary,
  test: EmbeddedVocabulary,
  options: SimilarityOptions = {},
): Promise<VocabularySimilarity> {
  const { extremes = 10, ...how } = options;
  const nearest = await nearestCategories(train, test, how);
  const known = new Set(train.names.map(normalizeText));
  const isKnown = ({ name }: NearestCategory) => known.has(normalizeText(name));
  const ofNew = nearest.filter((pair) => !isKnown(pair)).map(({ similarity }) => similarity);
  const sorted = [...nearest].sort((a, b) => b.similarity - a.similarity);
  const middle = sorted.length >> 1;
  return {
    average: mean(nearest.map(({ similarity }) => similarity)),
    averageOfNew: ofNew.length === 0 ? null : mean(ofNew),
    median: sorted.length % 2 === 1
      ? sorted[middle]!.similarity
      : (sorted[middle - 1]!.similarity + sorted[middle]!.similarity) / 2,
    nearest,
    closest: sorted.slice(0, extremes),
    farthest: sorted.toReversed().slice(0, extremes),
    sameName: nearest.filter(isKnown).map(({ name }) => name),
    histogram: similarityHistogram(nearest.map(({ similarity }) => similarity)),
  };
}
