/**
 * Data sets to evaluate on: `docs/datasets.md` shows how their files must lie.
 *
 * @module
 */
export * from "../../lib/data/dataset.ts";
export * from "./open_dataset.ts";
export type { EmojiScenesOptions } from "./emoji_scenes/emoji_scenes_dataset.ts";
export {
  type Benchmark,
  benchmarkFile,
  benchmarkIgnored,
  encodeBenchmarkLabels,
  parseBenchmark,
} from "./benchmark.ts";
