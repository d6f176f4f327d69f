/**
 * Runs of training as others find them: the newest checkpoint, and the config that made it.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";
import { CheckpointFolder } from "./checkpoint.ts";
import { readTrainConfig, type TrainConfig } from "./train_config.ts";

/** A run's parameters and what defines it. */
export interface OpenedRun<Stage extends TrainConfig["stage"]> {
  /** Steps done. */
  readonly step: number;
  /** The config; its `out` is where the run was found. */
  readonly config: Extract<TrainConfig, { stage: Stage }>;
  /** The parameters. */
  readonly params: Float32Array;
}

/**
 * Which stage a run is of.
 *
 * @throws {ModelError} If there is no checkpoint, or all are damaged.
 */
export async function runStage(dir: string): Promise<TrainConfig["stage"]> {
  return (await newestConfig(dir)).config.stage;
}

async function newestConfig(dir: string) {
  const found = await new CheckpointFolder(dir).newest();
  if (found === null) throw new ModelError(`${dir}: there is no checkpoint; train first`);
  const { circumstances: _, ...fields } = found.identity;
  return { found, config: readTrainConfig({ out: dir, ...fields }, dir) };
}

/**
 * Reads a run's newest checkpoint.
 *
 * @param dir The run's folder.
 * @param stage The stage that it has to be of.
 * @throws {ModelError} If there is none, all are damaged, or the run is of another stage.
 */
export async function openRun<const Stage extends TrainConfig["stage"]>(
  dir: string,
  stage: Stage,
): Promise<OpenedRun<Stage>> {
  const { found, config } = await newestConfig(dir);
  if (config.stage !== stage) {
    throw new ModelError(`${dir}: is a run of stage "${config.stage}"; must be "${stage}"`);
  }
  return {
    step: found.step,
    config: config as OpenedRun<Stage>["config"],
    params: found.params,
  };
}
