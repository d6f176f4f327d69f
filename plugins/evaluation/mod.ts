/**
 * Evaluation: figures and reports of any pipeline on any data set. `docs/evaluation.md` is a
 * tutorial.
 *
 * @module
 */
export * from "./charts.ts";
export * from "./default_folder.ts";
export * from "./distractors.ts";
export {
  evaluate,
  type EvaluateOptions,
  type EvaluateProgress,
  type Evaluation,
  type EvaluationFolder,
  type EvaluationTiming,
} from "./evaluate.ts";
export * from "./curate.ts";
export { type CurateConfig, readCurateConfig } from "./curate_config.ts";
export {
  embedVocabulary,
  type EmbedVocabularyOptions,
  type NamedClass,
} from "./embed_vocabulary.ts";
export type { ReviewedPair } from "./merge_review.ts";
export { mergeEvaluations } from "./merge.ts";
export * from "./pipeline_identity.ts";
export { renderReport, writeReport } from "./report.ts";
export * from "./result.ts";
export { type EvaluationTask, evaluationTasks, type Shard } from "./run_folder.ts";
export {
  type EmbedOptions,
  type EncoderOptions,
  openEmbeddingFile,
  openTextEncoder,
  type TextEmbedder,
} from "./text_embedder.ts";
export { groupStages, type OpenPipeline, type StageGroups } from "./split_pipeline.ts";
