import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelError } from "../../../lib/errors.ts";
import { trainClip } from "../../../plugins/training/clip.ts";
import { exportClipImage, trainClipImage } from "../../../plugins/training/clip_image.ts";
import { trainClipText } from "../../../plugins/training/clip_text.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { openTowers } from "../../../plugins/training/towers.ts";
import {
  type ClipImageConfig,
  type ClipTextConfig,
  readTrainConfig,
} from "../../../plugins/training/train_config.ts";
import { tinyClip } from "./tiny_runs.ts";

function tinyImage(clip: string, out: string): ClipImageConfig {
  return readTrainConfig({
    stage: "clip-image",
    out,
    seed: 5,
    batch: 1,
    clip,
    schedule: [{ kind: "cosine", steps: 16, peak: 1e-2 }],
    log: { every: 4 },
  }, "tiny") as ClipImageConfig;
}

Deno.test("image tuning: pictures come nearer to their names, the finished texts stay", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-image-"));
  try {
    const [clip, text] = [join(root, "clip"), join(root, "text")];
    const refuses = (dir: string, fault: (error: Error) => boolean) =>
      assert.rejects(
        trainClipImage(tinyImage(dir, join(root, "refused"))),
        (error) => error instanceof ModelError && fault(error),
      );
    await refuses(clip, ({ message }) => message.includes(clip));
    await assert.rejects(exportClipImage(clip), ModelError);
    await trainClip(tinyClip(clip));
    await refuses(
      clip,
      ({ message }) => /a run of stage "clip"; must be "clip-text"/.test(message),
    );
    await trainClipText(
      readTrainConfig({
        stage: "clip-text",
        out: text,
        seed: 4,
        batch: 64,
        clip,
        views: 1,
        schedule: [{ kind: "cosine", steps: 2, peak: 3e-3 }],
      }, "tiny") as ClipTextConfig,
    );
    const [whole, halves] = [join(root, "whole"), join(root, "halves")];
    const { checkpoint, finished } = await trainClipImage(tinyImage(text, whole));
    assert.ok(finished);
    await trainClipImage(tinyImage(text, halves), { stopAfter: 7 });
    const resumed = await trainClipImage(tinyImage(text, halves), { resume: true });
    assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));

    const records = readMetrics(join(whole, "metrics.jsonl"));
    const [first, last] = [records[0]!, records.at(-1)!];
    assert.ok(last["naming"]! < first["naming"]!, `${last["naming"]} of ${first["naming"]}`);

    const [before, after] = [await openTowers(text), await openTowers(whole)];
    assert.notDeepEqual(after.imageEncoder, before.imageEncoder);
    assert.deepEqual(after.textEncoder, before.textEncoder);
    assert.equal(after.tokenizer, before.tokenizer);
  } finally {
    rmSync(root, { recursive: true });
  }
});
