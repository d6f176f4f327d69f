/**
 * Training from a config: CLIP's towers and OVSNet's decoder. See `docs/training.md`.
 *
 * @module
 */
export {
  LabelledFolder,
  type LabelledFolderOptions,
  type LabelledImage,
  type Split,
} from "../datasets/labelled_folder/labelled_folder.ts";
export {
  type Checkpoint,
  CheckpointFolder,
  type CheckpointFolderOptions,
  type Json,
  type JsonObject,
  readCheckpoint,
} from "./checkpoint.ts";
export { type MetricsRecord, readMetrics } from "./metrics_log.ts";
export type { FileSystem } from "./run_files.ts";
export { trainFrom } from "./train_document.ts";
export { trainJsonSchema } from "./train_config.ts";
export type { RunOptions, RunResult, TrainProgress } from "./trainer.ts";
