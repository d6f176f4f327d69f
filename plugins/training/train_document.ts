/**
 * Training from a JSON document, for programs.
 *
 * @module
 */
import { runTraining } from "./run_training.ts";
import { readTrainConfig } from "./train_config.ts";
import type { RunOptions, RunResult } from "./trainer.ts";

/**
 * Trains as a document says: what `ovs train CONFIG` does with a file.
 *
 * @param document The fields that `docs/training.md` lists; those with a default may be left out.
 * @param options How the run is started and watched, and what to call the document in messages.
 * @returns How far it got, and its checkpoint.
 * @throws {InputError} If a field or something in the data is wrong; names it.
 * @throws {ModelError} If the towers or a checkpoint can't be used.
 * @throws {OutputError} If something can't be written, or a checkpoint is in the way.
 * @throws {TrainingError} If the loss is no number any more, or runs away.
 *
 * @example
 * ```ts ignore
 * const { checkpoint } = await trainFrom({
 *   stage: "ovsnet",
 *   out: "runs/mine",
 *   seed: 1,
 *   batch: 8,
 *   schedule: [{ kind: "cosine", steps: 2000, peak: 8e-4 }],
 *   data: { kind: "folder", path: "data/mine", classes: ["road", "building"] },
 * });
 * ```
 */
export async function trainFrom(
  document: Readonly<Record<string, unknown>>,
  { name = "the config", ...options }: RunOptions & { readonly name?: string } = {},
): Promise<RunResult> {
  return await runTraining(readTrainConfig(document, name), options);
}
