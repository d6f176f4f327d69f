/**
 * Figures of an evaluation for a terminal.
 *
 * @module
 */
import { formatTable } from "../../lib/cli/table.ts";
import type { EvaluationTiming } from "../evaluation/evaluate.ts";
import {
  countImages,
  type EvaluationResult,
  mainFigure,
  mainFigures,
  namedFigures,
  type Percent,
} from "../evaluation/result.ts";

const format = (value: Percent) => value === null ? "–" : value.toFixed(1);

/** What is printed for a person besides the figures. */
export interface EvaluationRemarks {
  /** Where the time went; null where nothing was segmented. */
  readonly timing: EvaluationTiming | null;
  /** Further lines. */
  readonly notes: readonly string[];
  /** The folder. */
  readonly out: string;
}

/** Lays out the figures. */
export function formatEvaluation(
  result: EvaluationResult,
  { timing, notes, out }: EvaluationRemarks,
): string {
  const { task, dataset, images, shard, similarity, distractors } = result;
  const columns = (titles: readonly string[]) =>
    titles.map((title, i) => ({ title, align: i === 0 ? "left" as const : "right" as const }));
  const lines = [
    formatTable(
      columns([`${dataset}, ${task}`, "%"]),
      namedFigures(result).map(([name, value]) => [name, format(value)]),
    ),
  ];
  if (distractors !== null) {
    lines.push(
      formatTable(
        columns(["irrelevant names", `${mainFigures[task].whole} of the classes in the truth`]),
        distractors.map((level) => [String(level.count), format(mainFigure(task, level))]),
      ),
    );
  }
  if (similarity !== null) {
    lines.push(`similarity to the training vocabulary: ${similarity.toFixed(3)}`);
  }
  lines.push(...notes);
  if (timing !== null && timing.images > 0) {
    const each = timing.total / timing.images;
    const added = 100 * (timing.total / timing.pipeline - 1);
    lines.push(
      `${each.toFixed(1)} ms an image; reading and scoring added ${added.toFixed(1)} % to the ` +
        "pipeline's own time",
    );
  }
  const part = shard === null ? "" : `, shard ${shard} only`;
  lines.push(
    shard === null
      ? `wrote result.json, images.jsonl and report.html to ${out}`
      : `wrote result.json and images.jsonl to ${out}; put the shards together by ovs eval-merge`,
    `${mainFigures[task].whole} ${format(mainFigure(task, result))} over ` +
      `${countImages(images)}${part}`,
    "",
  );
  return lines.join("\n");
}
