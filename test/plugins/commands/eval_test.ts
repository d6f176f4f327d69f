import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import sharp from "sharp";
import { evaluateCommand } from "../../../plugins/commands/eval.ts";
import { evalMerge } from "../../../plugins/commands/eval_merge.ts";
import { evalReport } from "../../../plugins/commands/eval_report.ts";
import type { EvaluationResult } from "../../../plugins/evaluation/result.ts";
import { filesOf } from "../evaluation/tiny_run.ts";
import { runOvs } from "./run_ovs.ts";
import { writeTinyModels } from "./tiny_models.ts";

const root = mkdtempSync(join(tmpdir(), "ovs-eval-"));
globalThis.addEventListener("unload", () => rmSync(root, { recursive: true, force: true }));
const at = (...path: string[]) => join(root, ...path);
const main = new URL("../../../plugins/commands/main.ts", import.meta.url).pathname;
const count = 160;

writeTinyModels(at("models"));
for (const folder of ["images", "annotations"]) {
  mkdirSync(at("data", folder, "val"), { recursive: true });
}
writeFileSync(at("classes.txt"), "dog\n<i>guitar</i>\nslice of pizza\n");
const encode = (channels: 1 | 3, values: number) => {
  const data = Uint8Array.from({ length: 16 * 12 * channels }, (_, i) => (i * i * 7) % values);
  const pixels = sharp(data, { raw: { width: 16, height: 12, channels } });
  return (channels === 1 ? pixels.toColourspace("b-w") : pixels).png().toBuffer();
};
const [image, label] = await Promise.all([encode(3, 253), encode(1, 3)]);
for (let i = 0; i < count; i++) {
  const name = `${String(i).padStart(3, "0")}<b>.png`;
  writeFileSync(at("data", "images", "val", name), image);
  writeFileSync(at("data", "annotations", "val", name), label);
}

const data = ["folder", at("data"), "--split", "val", "--classes", at("classes.txt")];
const models = ["--models", at("models"), "--device", "cpu"];
const few = [...data, ...models, "--limit", "6"];

Deno.test("ovs eval: JSON, files and a report; shards merge to the same bytes", async () => {
  const more = ["--distractors", "0,20", "--train", "emoji-seen"];
  const outcome = await runOvs(root, "eval", ...few, ...more, "--out", "whole", "--json");
  assert.equal(outcome.code, 0, outcome.stderr);
  const result = JSON.parse(outcome.stdout) as EvaluationResult;
  assert.equal(readFileSync(at("whole", "result.json"), "utf8"), outcome.stdout);
  assert.ok("mIoU" in result && result.mIoU! >= 0 && result.mIoU! <= 100);
  assert.deepEqual([result.images, result.task], [6, "semantic"]);
  assert.deepEqual(result.classes.map(({ name }) => name), [
    "dog",
    "<i>guitar</i>",
    "slice of pizza",
  ]);
  assert.deepEqual(result.distractors?.map((level) => level.count), [0, 20]);
  const html = readFileSync(at("whole", "report.html"), "utf8");
  assert.ok(!html.includes("<i>guitar") && !html.includes("000<b>"));
  const run = JSON.parse(readFileSync(at("whole", "run.json"), "utf8"));
  assert.match(run.pipeline.models["image_encoder.onnx"], /^[0-9a-f]{64}$/);

  // 2/2 is another name of 0/2.
  const shards = ["2/2", "1/2"];
  const outcomes = await Promise.all(
    shards.map((shard, i) =>
      runOvs(root, "eval", ...few, ...more, "--out", `part ${i}`, "--shard", shard)
    ),
  );
  for (const { code, stdout, stderr } of outcomes) {
    assert.equal(code, 0, stderr);
    assert.match(stdout, /over 3 images, shard [01]\/2 only\n$/);
  }
  const merged = await runOvs(root, "eval-merge", "part 1", "part 0", "--out", "merged", "--json");
  assert.equal(merged.code, 0, merged.stderr);
  assert.equal(merged.stdout, outcome.stdout);
  assert.deepEqual(filesOf(at("merged")), filesOf(at("whole")));
});

Deno.test("ovs eval: SIGTERM leaves a folder that --resume goes on with", async () => {
  const all = [...data, ...models];
  const lines = () => {
    try {
      return readFileSync(at("stopped", "images.jsonl"), "utf8").split("\n").length - 1;
    } catch {
      return 0;
    }
  };
  const args = ["run", "-A", "--quiet", main, "eval", ...all, "--out", "stopped"];
  const child = new Deno.Command(process.execPath, {
    args,
    cwd: root,
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const said = new Response(child.stderr).text();
  const poll = setInterval(() => {
    if (lines() < 3) return;
    // Once: a second signal ends the process at once.
    clearInterval(poll);
    child.kill("SIGTERM");
  }, 2);
  const [{ code }, stderr] = await Promise.all([child.status, said]);
  clearInterval(poll);
  assert.equal(code, 143, stderr);
  assert.match(stderr, /stopped after image \d+; go on with --resume: stopped\n$/);
  const stoppedAt = lines();
  assert.ok(stoppedAt >= 3 && stoppedAt < count);

  // Another pipeline has nothing to look for here.
  const other = await runOvs(
    root,
    "eval",
    ...all,
    "--out",
    "stopped",
    "--resume",
    "--omega",
    "0.3",
  );
  assert.deepEqual([other.code, other.stdout], [2, ""]);
  assert.match(
    other.stderr,
    /^ovs: stopped: is another evaluation: pipeline\.document\.stages\[4\]\.options\.omega is [\d.]+ there and 0\.3 here; /,
  );
  const again = await runOvs(root, "eval", ...all, "--out", "stopped");
  assert.match(again.stderr, /holds a part of this evaluation; go on with --resume/);
  const resumed = await runOvs(root, "eval", ...all, "--out", "stopped", "--resume");
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.match(resumed.stdout, new RegExp(`mIoU [\\d.]+ over ${count} images\n$`));
  const whole = await runOvs(root, "eval", ...all, "--out", "undisturbed");
  assert.equal(whole.code, 0, whole.stderr);
  assert.deepEqual(filesOf(at("stopped")), filesOf(at("undisturbed")));
});

Deno.test("ovs eval: what can't be is refused by name", async () => {
  const refused: [args: string[], message: RegExp][] = [
    [[], /DATASET is missing/],
    [["voc22"], /there is no data set "voc22"; did you mean "voc2[01]"\?/],
    [["voc21"], /voc21: PATH is missing/],
    [["folder", at("data")], /folder: --classes FILE is missing/],
    [["voc21", at("data"), "--image-suffix", ".jpg"], /takes no --image-suffix; .* PATH, --split$/],
    [["emoji-scenes", at("data")], /takes no PATH; it takes --scenes, --split$/],
    [
      ["folder", at("data"), "--classes", "sky, apple"],
      /sky, apple: no such file; .*a name a line/,
    ],
    [["voc21", at("nowhere")], /nowhere/],
    [[...data, "--split", "test"], /--split is given twice/],
    [[...few, "--limit", "2"], /--limit is given twice/],
    [[...data, "--limit", "0"], /--limit 0: it must be a whole number from 1/],
    [[...data, "--limit", "2.5"], /--limit 2\.5: it must be/],
    [[...data, "--ignore-label", "65536"], /--ignore-label 65536: it must .* from 0 to 65535$/],
    [[...data, "--shard", "3"], /--shard 3: it must be I\/N/],
    [[...data, "--shard", "3/2"], /--shard 3\/2: it must be I\/N .* I at most N, as 0\/4/],
    [[...data, "--shard", "0/0"], /--shard 0\/0: it must be I\/N with N at least 1/],
    [[...data, "--task", "depth"], /--task "depth" is unknown/],
    [[...data, "--distractors", "0,many"], /--distractors many: it must be a whole number/],
    [[...data, "--seed", "1"], /--seed is for --distractors/],
    [
      [...data, "--distractors", "1", "--distractor-vocab", at("none.txt")],
      /none\.txt: no such fi/,
    ],
    [[...data, "--synonyms", "best"], /pooling is "best"/],
    [[...data, "--prompts", "poem"], /prompts is "poem"/],
    [[...data, "--omega", "2"], /omega is 2/],
    [[...few, "--task", "panoptic"], /has no truth for panoptic segmentation/],
    [[...few, "--shard", "0/9"], /6 images make no 9 shards/],
  ];
  for (const [args, message] of refused) {
    await assert.rejects(evaluateCommand(args), (error: Error) => {
      assert.match(error.message, message);
      return error.constructor !== Error;
    }, args.join(" "));
  }
  await assert.rejects(evalMerge([]), /DIR is missing/);
  await assert.rejects(evalMerge([at("nowhere")]), /nowhere: holds no evaluation/);
  await assert.rejects(evalReport([at("nowhere")]), /nowhere: holds no evaluation/);
});

Deno.test("ovs eval: --scenes says how many scenes there are, and is for emoji-scenes alone", async () => {
  const args = ["eval", "emoji-scenes", ...models, "--scenes", "2", "--json"];
  const { code, stdout, stderr } = await runOvs(root, ...args, "--out", "scenes");
  assert.equal(code, 0, stderr);
  assert.equal((JSON.parse(stdout) as EvaluationResult).images, 2);
  for (const [wrong, message] of [["0", /--scenes 0: it must be/], ["x", /--scenes x/]] as const) {
    const refused = await runOvs(root, "eval", "emoji-scenes", ...models, "--scenes", wrong);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, message);
  }
  const other = await runOvs(root, "eval", ...few, "--scenes", "2");
  assert.equal(other.code, 2);
  assert.match(other.stderr, /data set folder: takes no --scenes/);
});

Deno.test("ovs eval: one image is not images", async () => {
  const one = ["emoji-scenes", ...models, "--scenes", "1", "--out", "one"];
  const { code, stdout, stderr } = await runOvs(root, "eval", ...one);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /mIoU [\d.]+ over 1 image\n$/);
  const html = readFileSync(at("one", "report.html"), "utf8");
  assert.match(html, /, 1 image</);
  assert.doesNotMatch(html, /\b1 images/);
});
