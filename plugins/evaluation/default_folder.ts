/**
 * Where an evaluation goes that nobody named a folder for.
 *
 * @module
 */
import { join } from "node:path";
import type { Dataset } from "../../lib/data/dataset.ts";
import type { EvaluateOptions } from "./evaluate.ts";
import { type PipelineIdentity, sha256 } from "./pipeline_identity.ts";

/**
 * A folder below `out/eval`, named after the data set and a digest of all that defines the run, so
 * that the same command line finds the same folder again, and another one doesn't.
 *
 * @param dataset The data set.
 * @param fingerprint Its fingerprint.
 * @param pipeline The pipeline.
 * @param options The options.
 */
export function defaultFolder(
  dataset: Pick<Dataset, "name">,
  fingerprint: string,
  pipeline: PipelineIdentity,
  { task, limit, distractors, trained, shard }: EvaluateOptions,
): string {
  const run = { fingerprint, pipeline, task, limit, distractors, trained };
  const digest = sha256(JSON.stringify(run)).slice(0, 8);
  const name = dataset.name.replace(/[^\p{L}\p{N}]+/gu, "-");
  const part = shard === undefined ? "" : `-shard-${shard.index}-of-${shard.count}`;
  return join("out", "eval", `${name}-${task ?? "semantic"}-${digest}${part}`);
}
