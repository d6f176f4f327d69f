/**
 * One run of a pipeline from an image and words to the slot that a task ends in.
 *
 * @module
 */
import type { Image } from "../../lib/image/image.ts";
import type { StageTiming } from "../../lib/stages/pipeline.ts";
import type { SlotName, Slots, VocabularySlot } from "../../lib/stages/slots.ts";
import type { OpenPipeline } from "./plan_pipeline.ts";

/** Told how many stages of how many are done, and the one under way. */
export type OnProgress = (done: number, total: number, stage: string) => void;

/** What a run took. */
export interface RunTimes {
  /** Wall time of the pipeline, without loading it or decoding the image. */
  milliseconds: number;
  /** The same by stage. */
  timings: readonly StageTiming[];
}

/**
 * Runs an open pipeline, and frees what it gave.
 *
 * @param pipeline The pipeline; it stays open.
 * @param image The image.
 * @param vocabulary The words.
 * @param slot The slot that is wanted.
 * @param read Takes what is needed from it into host memory.
 */
export async function runTask<Name extends SlotName, T>(
  pipeline: OpenPipeline,
  image: Image,
  vocabulary: VocabularySlot,
  slot: Name,
  read: (value: Slots[Name]) => Promise<T> | T,
  onProgress?: OnProgress,
): Promise<RunTimes & { value: T }> {
  const start = performance.now();
  const result = await pipeline.run({ image, vocabulary }, {
    outputs: [slot],
    ...(onProgress
      ? {
        onProgress: ({ role, index, count, done, total }) =>
          onProgress(index + done / total, count, role),
      }
      : {}),
  });
  try {
    const value = await read(result.outputs[slot]);
    return { value, milliseconds: performance.now() - start, timings: result.timings };
  } finally {
    result.dispose();
  }
}

/** Times as documents have them. */
export function formatTimes(
  { milliseconds, timings }: RunTimes,
): { pipeline: number; stages: Record<string, number> } {
  return {
    pipeline: milliseconds,
    stages: Object.fromEntries(timings.map(({ role, milliseconds }) => [role, milliseconds])),
  };
}
