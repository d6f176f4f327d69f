/**
 * The part of a pipeline that doesn't depend on the words.
 *
 * @module
 */
import { Pipeline, type PipelineResult } from "../../lib/stages/pipeline.ts";
import type {
  ImageSlot,
  SlotName,
  Slots,
  SlotSpecs,
  VocabularySlot,
} from "../../lib/stages/slots.ts";
import { type AnyStage, formatStage } from "../../lib/stages/stage.ts";

/** A pipeline from an image and words. */
export type OpenPipeline = Pipeline<"image" | "vocabulary", SlotName>;

/** The stages of a pipeline, in two groups that keep their order. */
export interface StageGroups {
  /** Those whose results are the same for every vocabulary. */
  readonly once: readonly AnyStage[];
  /** Those that have to run again for another vocabulary. */
  readonly again: readonly AnyStage[];
}

/**
 * Finds the stages that one image needs only once, whatever the vocabularies. A stage has to run
 * again where it reads the vocabulary, or a slot that such a stage gave; and also where it gives a
 * slot that such a stage before it reads or gives, for it can't go first then.
 *
 * @param stages A chain.
 *
 * @example
 * ```ts
 * import { groupStages } from "@ovstage/ovstage/evaluation";
 * const stage = (name: string, needs: string[], gives: string[]) =>
 *   ({ role: "any", name, needs, gives, run: () => ({}) }) as Parameters<typeof groupStages>[0][0];
 * const { once } = groupStages([
 *   stage("image encoder", ["image"], ["features"]),
 *   stage("text encoder", ["vocabulary"], ["text"]),
 *   stage("decoder", ["features"], ["maskLogits"]),
 *   stage("classifier", ["maskLogits", "text"], ["classLogits"]),
 * ]);
 * console.log(once.map(({ name }) => name)); // ["image encoder", "decoder"]
 * ```
 */
export function groupStages(stages: readonly AnyStage[]): StageGroups {
  const [once, again]: [AnyStage[], AnyStage[]] = [[], []];
  const worded = new Set<SlotName>(["vocabulary"]);
  const touched = new Set<SlotName>();
  for (const stage of stages) {
    const { needs, gives } = stage;
    if (!needs.some((slot) => worded.has(slot)) && !gives.some((slot) => touched.has(slot))) {
      once.push(stage);
      continue;
    }
    again.push(stage);
    for (const slot of gives) worded.add(slot);
    for (const slot of [...needs, ...gives]) touched.add(slot);
  }
  return { once, again };
}

/** A stage that somebody else disposes of, and that knows the slots of all. */
export function borrowStage(stage: AnyStage, slots: SlotSpecs): AnyStage {
  const { role, name, needs, gives } = stage;
  return { role, name, needs, gives, slots, run: (inputs, context) => stage.run(inputs, context) };
}

/** Called with the outputs for the vocabulary of that number; they are freed afterwards. */
export type Visit = (
  outputs: { readonly [Name in SlotName]: Slots[Name] },
  level: number,
) => Promise<void>;

/**
 * Runs a pipeline on one image under several vocabularies, and what doesn't depend on them once.
 */
export class SplitPipeline {
  /** Which stages run once an image, and which again. */
  readonly groups: StageGroups;
  readonly #whole: OpenPipeline;
  readonly #outputs: readonly SlotName[];
  readonly #parts: { first: OpenPipeline; second: OpenPipeline; between: SlotName[] } | null;

  /**
   * @param pipeline An open pipeline; it stays the caller's.
   * @param outputs The slots to hand over.
   */
  constructor(pipeline: OpenPipeline, outputs: readonly SlotName[]) {
    this.#whole = pipeline;
    this.#outputs = outputs;
    const { once, again } = this.groups = groupStages(pipeline.stages);
    if (once.length === 0 || again.length === 0) {
      this.#parts = null;
      return;
    }
    const { device, stages } = pipeline;
    const slots: SlotSpecs = Object.assign({}, ...stages.map((stage) => stage.slots ?? {}));
    const lend = (group: readonly AnyStage[]) => group.map((stage) => borrowStage(stage, slots));
    const given = new Set(once.flatMap(({ gives }) => gives));
    const between = new Set<SlotName>();
    const later = new Set<SlotName>();
    for (const { needs, gives } of again) {
      for (const slot of needs) if (given.has(slot) && !later.has(slot)) between.add(slot);
      for (const slot of gives) later.add(slot);
    }
    for (const slot of outputs) if (given.has(slot) && !later.has(slot)) between.add(slot);
    const open = (inputs: readonly SlotName[], group: readonly AnyStage[]) =>
      new Pipeline(device, inputs, lend(group)) as unknown as OpenPipeline;
    this.#parts = {
      first: open(["image"], once),
      second: open(["image", "vocabulary", ...between], again),
      between: [...between],
    };
  }

  /** Says which stages run once an image, or why none do. */
  explain(): string {
    const list = (stages: readonly AnyStage[]) => stages.map(formatStage).join(", ");
    const { once, again } = this.groups;
    if (this.#parts !== null) {
      return `once an image: ${list(once)}; again for every vocabulary: ${list(again)}`;
    }
    return once.length === 0
      ? `all stages run again for every vocabulary: each of ${list(again)} depends on it`
      : "no stage depends on the vocabulary";
  }

  /**
   * Segments an image.
   *
   * @param image The image.
   * @param vocabularies The vocabularies, at least one.
   * @param visit Called for each of them, in order.
   * @returns Wall time inside the pipeline in milliseconds.
   * @throws {OvsError} As `Pipeline.run`.
   */
  async run(
    image: ImageSlot,
    vocabularies: readonly VocabularySlot[],
    visit: Visit,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const options = { ...(signal === undefined ? {} : { signal }) };
    let milliseconds = 0;
    const timed = async <T>(work: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      try {
        return await work();
      } finally {
        milliseconds += performance.now() - start;
      }
    };
    const parts = vocabularies.length > 1 ? this.#parts : null;
    const shared: PipelineResult<SlotName> | null = parts === null
      ? null
      : await timed(() =>
        parts.first.run({ image } as Pick<Slots, "image" | "vocabulary">, {
          ...options,
          outputs: parts.between,
        })
      );
    try {
      for (const [level, vocabulary] of vocabularies.entries()) {
        using result = await timed(() =>
          (parts?.second ?? this.#whole).run({ image, vocabulary, ...shared?.outputs }, {
            ...options,
            outputs: this.#outputs,
          })
        );
        await visit(result.outputs, level);
      }
    } finally {
      shared?.dispose();
    }
    return milliseconds;
  }
}
