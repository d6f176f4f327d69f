/**
 * The rows of a vocabulary, with synonyms or without.
 *
 * @module
 */
import type { DatasetClass } from "../../lib/data/dataset.ts";
import { float32 } from "../../lib/tensor.ts";
import type { EmbeddedVocabulary } from "./similarity.ts";
import type { EmbedOptions, TextEmbedder } from "./text_embedder.ts";

/** Categories by their names. */
export type NamedClass = Pick<DatasetClass, "name" | "synonyms">;

/** Options of {@linkcode embedVocabulary}. */
export interface EmbedVocabularyOptions extends EmbedOptions {
  /** Whether synonyms get rows of their own; the name alone where left out. */
  readonly synonyms?: boolean;
}

/**
 * Embeds the categories of a vocabulary.
 *
 * @param classes The categories.
 * @param embedder Gives the embeddings; is asked once, for all texts that differ.
 * @throws {InputError} If the embedder has no embedding of a text.
 */
export async function embedVocabulary(
  classes: readonly NamedClass[],
  embedder: TextEmbedder,
  { synonyms = false, ...options }: EmbedVocabularyOptions = {},
): Promise<EmbeddedVocabulary> {
  const texts = classes.map(({ name, synonyms: all }) =>
    synonyms ? [...new Set([name, ...all])] : [name]
  );
  const different = [...new Set(texts.flat())];
  const rowOf = new Map(different.map((text, row) => [text, row]));
  const { data, shape } = await embedder.embed(different, options);
  const size = shape[1]!;
  const rows = new Float32Array(texts.flat().length * size);
  const categories = texts.flatMap((list, category) => list.map(() => category));
  texts.flat().forEach((text, i) => {
    const row = rowOf.get(text)!;
    rows.set(data.subarray(row * size, (row + 1) * size), i * size);
  });
  return {
    names: classes.map(({ name }) => name),
    embeddings: float32([categories.length, size], rows),
    categories,
  };
}
