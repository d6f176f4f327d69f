/**
 * The vocabularies that an evaluation segments by, and their distance from the training vocabulary.
 *
 * @module
 */
import type { Dataset } from "../../lib/data/dataset.ts";
import { InputError } from "../../lib/errors.ts";
import { Pipeline } from "../../lib/stages/pipeline.ts";
import type { SlotName, VocabularySlot } from "../../lib/stages/slots.ts";
import type { AnyStage } from "../../lib/stages/stage.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { HostTensor } from "../../lib/tensor.ts";
import { normalizeText } from "../../lib/text/bpe.ts";
import { vocabularySimilarity } from "./similarity.ts";
import { borrowStage, type OpenPipeline } from "./split_pipeline.ts";

/**
 * The data set's classes as a vocabulary, followed by further names. Synonyms come along; what they
 * count for is the pipeline's to say.
 *
 * @param dataset The data set.
 * @param trained Names that the decoder's training knew, where somebody knows.
 * @param distractors Names after the classes.
 * @throws {InputError} If the data set has no class, or one twice.
 */
export function datasetVocabulary(
  { name, classes }: Pick<Dataset, "name" | "classes">,
  trained: readonly string[] | null,
  distractors: readonly string[],
): VocabularySlot {
  const names = [...classes.map((c) => c.name), ...distractors];
  const known = trained === null ? null : new Set(trained.map(normalizeText));
  const flags = {
    ...(known === null ? {} : { trained: names.map((text) => known.has(normalizeText(text))) }),
    ...(classes.every(({ isThing }) => isThing === null)
      ? {}
      : { isThing: names.map((_, i) => classes[i]?.isThing ?? true) }),
    ...(classes.every(({ synonyms }) => synonyms.length < 2)
      ? {}
      : { synonyms: names.map((text, i) => classes[i]?.synonyms ?? [text]) }),
  };
  try {
    return vocabulary(names, flags);
  } catch (cause) {
    throw new InputError(`data set ${name}: ${(cause as Error).message}`, { cause });
  }
}

/** How near the classes are to the training vocabulary: the file `similarity.json`. */
export interface ClassSimilarity {
  /** The mean over classes; the paper's figure. */
  readonly average: number;
  /** For each class but "others", the nearest training category and the cosine of the two. */
  readonly nearest: readonly {
    readonly name: string;
    readonly nearest: string;
    readonly similarity: number;
  }[];
}

/** Embeds names by the stages of a pipeline that need nothing but words; null where there are none. */
async function embed(
  pipeline: OpenPipeline,
  names: readonly string[],
  signal: AbortSignal | undefined,
): Promise<HostTensor<"float32"> | null> {
  const available = new Set<SlotName>(["vocabulary"]);
  const stages: AnyStage[] = [];
  for (const stage of pipeline.stages) {
    if (!stage.needs.every((slot) => available.has(slot))) continue;
    stages.push(borrowStage(stage, {}));
    for (const slot of stage.gives) available.add(slot);
    if (available.has("text")) break;
  }
  if (!available.has("text")) return null;
  const encoder = new Pipeline<"vocabulary", SlotName>(pipeline.device, ["vocabulary"], stages);
  using result = await encoder.run({ vocabulary: vocabulary(names) }, {
    outputs: ["text"],
    ...(signal === undefined ? {} : { signal }),
  });
  const { text } = result.outputs;
  return new HostTensor("float32", text.shape, (await text.read()).slice());
}

/**
 * Measures how near a data set's classes are to the training vocabulary, by the pipeline's own text
 * encoder.
 *
 * @returns Null where the pipeline's text embeddings need more than words.
 */
export async function classSimilarity(
  pipeline: OpenPipeline,
  { classes, othersIndex }: Pick<Dataset, "classes" | "othersIndex">,
  trained: readonly string[],
  signal?: AbortSignal,
): Promise<ClassSimilarity | null> {
  const names = classes.map(({ name }) => name).filter((_, c) => c !== othersIndex);
  const [train, test] = [
    await embed(pipeline, trained, signal),
    await embed(pipeline, names, signal),
  ];
  if (train === null || test === null) return null;
  const { average, nearest } = await vocabularySimilarity(
    { names: trained, embeddings: train },
    { names, embeddings: test },
    signal === undefined ? {} : { signal },
  );
  return {
    average,
    nearest: nearest.map(({ name, nearest, similarity }) => ({ name, nearest, similarity })),
  };
}
