/**
 * Training from a config: CLIP's towers and OVSNet's decoder. See `docs/training.md`.
 *
 * @module
 */
export {
  LabelledFolder,
  type LabelledFolderOptions,
} from "../datasets/labelled_folder/labelled_folder.ts";
export { type Checkpoint, CheckpointFolder, readCheckpoint } from "./checkpoint.ts";
export { type MetricsRecord, readMetrics } from "./metrics_log.ts";
export { runTraining } from "./run_training.ts";
export {
  parseTrainConfig,
  readTrainConfig,
  type TrainConfig,
  type TrainConfigInput,
  trainJsonSchema,
} from "./train_config.ts";
export type { RunOptions, RunResult, TrainProgress } from "./trainer.ts";
