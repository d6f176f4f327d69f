import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelError } from "../../../lib/errors.ts";
import { trainClip } from "../../../plugins/training/clip.ts";
import { exportClipText, trainClipText } from "../../../plugins/training/clip_text.ts";
import { embedNames } from "../../../plugins/training/embed_names.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { openTowers } from "../../../plugins/training/towers.ts";
import { type ClipTextConfig, readTrainConfig } from "../../../plugins/training/train_config.ts";
import { tinyClip } from "./tiny_runs.ts";

function tinyText(clip: string, out: string, steps = 30): ClipTextConfig {
  return readTrainConfig({
    stage: "clip-text",
    out,
    seed: 4,
    batch: 64,
    clip,
    views: 1,
    schedule: [{ kind: "cosine", steps, peak: 3e-3 }],
    log: { every: 5 },
  }, "tiny") as ClipTextConfig;
}

Deno.test("text tuning: captions come nearer to their subjects, and the image tower stays", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-text-"));
  try {
    const clip = join(root, "clip");
    await trainClip(tinyClip(clip));
    const [whole, halves] = [join(root, "whole"), join(root, "halves")];
    const { checkpoint, finished } = await trainClipText(tinyText(clip, whole));
    assert.ok(finished);
    await trainClipText(tinyText(clip, halves), { stopAfter: 13 });
    const resumed = await trainClipText(tinyText(clip, halves), { resume: true });
    assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));

    const records = readMetrics(join(whole, "metrics.jsonl"));
    const [first, last] = [records[0]!, records.at(-1)!];
    assert.ok(
      last["distance"]! < first["distance"]!,
      `${last["distance"]} of ${first["distance"]}`,
    );

    const [before, after] = [await openTowers(clip), await openTowers(whole)];
    assert.deepEqual(after.imageEncoder, before.imageEncoder);
    assert.equal(after.tokenizer, before.tokenizer);
    const names = ["dog", "guitar"];
    const rows = [await embedNames(before, names), await embedNames(after, names)];
    assert.notDeepEqual(rows[0]!.data, rows[1]!.data);
    for (let i = 0; i < names.length; i++) {
      const row = rows[1]!.data.subarray(i * 8, (i + 1) * 8);
      assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-4);
    }
  } finally {
    rmSync(root, { recursive: true });
  }
});

Deno.test("text tuning: without its image tower it neither starts nor exports", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-text-"));
  try {
    const nowhere = join(root, "nowhere");
    await assert.rejects(
      trainClipText(tinyText(nowhere, join(root, "run"))),
      (error: unknown) => error instanceof ModelError && error.message.includes(nowhere),
    );
    await assert.rejects(exportClipText(nowhere), ModelError);
  } finally {
    rmSync(root, { recursive: true });
  }
});
