/**
 * A run of any stage, from its config to the files that others use.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { exportClip, trainClip } from "./clip.ts";
import { exportClipImage, trainClipImage } from "./clip_image.ts";
import { exportClipText, trainClipText } from "./clip_text.ts";
import { exportFiles, exportOvsnet, towerFiles, trainOvsnet } from "./ovsnet.ts";
import { writeFileAtomically } from "./run_files.ts";
import type { TrainConfig } from "./train_config.ts";
import type { RunOptions, RunResult } from "./trainer.ts";

/**
 * Trains as a config says. A finished run leaves its models in the folder `models` of `config.out`,
 * by the names that `--models` looks for.
 *
 * @param config See `docs/training.md`.
 * @param options How it is started and watched.
 * @throws {InputError} If something is wrong with the data.
 * @throws {ModelError} If the towers or a checkpoint can't be used.
 * @throws {OutputError} If something can't be written, or a checkpoint is in the way.
 * @throws {TrainingError} If the loss is no number any more, or runs away.
 */
export async function runTraining(
  config: TrainConfig,
  options: RunOptions = {},
): Promise<RunResult> {
  const result = config.stage === "clip"
    ? await trainClip(config, options)
    : config.stage === "clip-text"
    ? await trainClipText(config, options)
    : config.stage === "clip-image"
    ? await trainClipImage(config, options)
    : await trainOvsnet(config, options);
  if (result.finished) {
    const folder = join(config.out, "models");
    mkdirSync(folder, { recursive: true });
    for (const [name, bytes] of Object.entries(await modelFiles(config))) {
      writeFileAtomically(join(folder, name), [bytes], options.files);
    }
  }
  return result;
}

async function modelFiles({ stage, out }: TrainConfig): Promise<Record<string, Uint8Array>> {
  if (stage === "clip") return towerFiles(await exportClip(out));
  if (stage === "clip-text") return towerFiles(await exportClipText(out));
  if (stage === "clip-image") return towerFiles(await exportClipImage(out));
  const { towers, models } = await exportOvsnet(out);
  return { ...towerFiles(towers), ...exportFiles(models) };
}
