import assert from "node:assert/strict";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openDataset } from "../../../../plugins/datasets/open_dataset.ts";
import { evaluate } from "../../../../plugins/evaluation/evaluate.ts";
import {
  ablationOutlook,
  openAblation,
  runAblation,
} from "../../../../plugins/evaluation/ablation/run_ablation.ts";
import { openPipeline } from "../../../../plugins/methods/open_pipeline.ts";
import { acquireDevice } from "../../../../plugins/runtimes/mod.ts";
import { readMetrics } from "../../../../plugins/training/metrics_log.ts";
import {
  countingRegistry,
  type Json,
  lastingFiles,
  readTinyPlan,
  writeTinyWorld,
} from "./tiny_plan.ts";

const root = mkdtempSync(join(tmpdir(), "ovs-ablation-"));
globalThis.addEventListener("unload", () => rmSync(root, { recursive: true, force: true }));
const recipe = await writeTinyWorld(root);
const whole = join(root, "whole");

/** Opens the tiny plan. */
async function open(out: string, changes: Json = {}, runs: Record<string, number> = {}) {
  return await openAblation(readTinyPlan(root, out, changes), recipe, {
    where: "plan.json",
    registry: countingRegistry(runs),
  });
}

Deno.test("ablation: every network is trained, and an image goes through each only once", async () => {
  const runs: Record<string, number> = {};
  const ablation = await open(whole, {}, runs);
  assert.deepEqual(ablation.work.networks.map(({ name }) => name), [
    ...["baseline-1", "pc-1", "cross-1", "pc-gamma-4-1"],
    ...["baseline-2", "pc-2", "cross-2", "pc-gamma-4-2"],
  ]);
  const before = await ablationOutlook(ablation);
  assert.deepEqual(before.seconds, { train: null, evaluate: null });
  const outcome = await runAblation(ablation);
  const images = 3 + 2;
  assert.equal(runs["image-encoder"], 8 * images);
  assert.equal(runs["decoder"], 8 * images);
  assert.equal(runs["pooler"], 8 * images);
  // Two splits, embedded once for all networks.
  assert.equal(runs["text-encoder"], 2);
  // query, gfa, geometric, gfa with ω 0.5; the others have one each.
  assert.equal(runs["segmenter"], 2 * (4 + 3) * images);

  const { results } = outcome!;
  assert.deepEqual(results.missing, { figures: 0, of: 2 * 2 * (4 + 3) });
  assert.deepEqual(results.budget, { steps: 3, batch: 1 });
  assert.deepEqual(results.splits.map(({ split, images }) => [split, images]), [
    ["val", 2],
    ["train", 3],
  ]);
  assert.equal(
    readFileSync(join(whole, "results.json"), "utf8").trim(),
    JSON.stringify(results, null, 2),
  );

  // Nothing is left, and doing it again changes nothing.
  const after = await ablationOutlook(ablation);
  assert.deepEqual(after.seconds, { train: 0, evaluate: 0 });
  assert.ok(after.networks.every((n) => n.done === n.steps && n.measured === n.figures));
  const files = lastingFiles(whole);
  const again: Record<string, number> = {};
  await runAblation(await open(whole, {}, again));
  assert.deepEqual(again, {});
  assert.deepEqual(lastingFiles(whole), files);
});

Deno.test("ablation: what is off costs nothing, and the budgets are the same", () => {
  const terms = (name: string) =>
    Object.keys(readMetrics(join(whole, name, "metrics.jsonl"))[0]!).sort();
  const plain = terms("baseline-1");
  assert.ok(!plain.some((term) => term.startsWith("proxy")), plain.join(" "));
  assert.deepEqual(terms("pc-1"), [...plain, "proxyClip", "proxyQuery"].sort());
  assert.deepEqual(terms("cross-1"), [...plain, "fusedLoss", "proxyClip", "proxyQuery"].sort());
  for (const name of ["baseline-1", "pc-1", "cross-1", "pc-gamma-4-2"]) {
    assert.equal(readMetrics(join(whole, name, "metrics.jsonl")).at(-1)!.step, 3);
  }
  // The same seed draws the same batch and the same first parameters.
  const first = (name: string) => readMetrics(join(whole, name, "metrics.jsonl"))[0]!;
  assert.equal(first("baseline-1")["maskLoss"], first("pc-1")["maskLoss"]);
  assert.notEqual(first("baseline-1")["maskLoss"], first("baseline-2")["maskLoss"]);
});

Deno.test("ablation: the figures are those that evaluate finds", async () => {
  const { work, splits } = await open(whole);
  const { results } = (await runAblation(await open(whole), { only: "report" }))!;
  await using device = await acquireDevice("cpu", { threads: 1 });
  const [table] = results.tables;
  const different = new Set(
    table!.rows.flatMap(({ scores }) => Object.values(scores).flatMap(({ values }) => values)),
  );
  assert.ok(different.size > 4, `${different.size} figures that differ`);
  for (const r of [1, 3, 4]) {
    const { variant, measurement, scores } = table!.rows[r]!;
    const { stages } = work.measurements.get(variant)!.find(({ name }) => name === measurement)!;
    const models = pathToFileURL(join(whole, `${variant}-2`, "models") + "/");
    await using pipeline = await openPipeline({ version: 1, stages }, { device, models });
    for (const { split } of splits) {
      const options = readTinyPlan(root).evaluation.options;
      const dataset = await openDataset("folder", { ...options, split });
      const { result } = await evaluate(pipeline, dataset);
      assert.ok("mIoU" in result);
      assert.equal(scores[split]!.values[1], result.mIoU, `${variant} ${measurement} ${split}`);
    }
  }
});

Deno.test("ablation: wherever it is stopped, it ends with the same bytes", async () => {
  const out = join(root, "stopped");
  let stops = 0;
  for (let lives = 0, finished = false; !finished; lives++) {
    const stop = new AbortController();
    // Every life is longer than the one before it, so that the last one comes.
    let left = 2 + 4 * lives;
    const tick = () => --left === 0 && stop.abort();
    let measuring: string | null = null;
    try {
      await runAblation(await open(out, { seeds: [2] }), {
        signal: stop.signal,
        onTrain: tick,
        onEvaluate({ what }) {
          measuring = what.split(" ")[0]!;
          tick();
        },
      });
      finished = true;
    } catch (error) {
      assert.equal((error as Error).name, "AbortError");
      stops++;
      // A kill in the midst of writing leaves the beginning of a line.
      if (measuring !== null) appendFileSync(join(out, measuring, "scores.jsonl"), '{"key":"01');
    }
  }
  assert.ok(stops >= 3, `${stops}`);
  // The same of the run that nobody disturbed, the other seed's networks left out.
  await runAblation(await open(whole, { seeds: [2] }), { only: "report" });
  const reference = Object.entries(lastingFiles(whole)).filter(([name]) => !/-1\//.test(name));
  assert.deepEqual(lastingFiles(out), Object.fromEntries(reference));
});

Deno.test("ablation: figures that are missing are said to be, and never guessed", async () => {
  const out = join(root, "partly");
  const { results: reference } = (await runAblation(await open(whole), { only: "report" }))!;
  for (const variant of ["baseline", "pc", "cross", "pc-gamma-4"]) {
    cpSync(join(whole, `${variant}-2`), join(out, `${variant}-2`), { recursive: true });
  }
  rmSync(join(out, "cross-2", "scores.jsonl"));
  const notes: string[] = [];
  const runs: Record<string, number> = {};
  assert.equal(
    await runAblation(await open(out, {}, runs), {
      only: "evaluate",
      onNote: (note) => notes.push(note),
    }),
    null,
  );
  assert.deepEqual(notes, [
    "not trained yet, and left out: baseline-1, pc-1, cross-1, pc-gamma-4-1",
  ]);
  assert.equal(runs["decoder"], 5, "what is measured isn't measured again");
  const { results, report } = (await runAblation(await open(out), { only: "report" }))!;
  assert.deepEqual(results.missing, { figures: 14, of: 28 });
  const markdown = readFileSync(report, "utf8");
  assert.match(markdown, /14 of 28 figures are not measured yet/);
  assert.match(markdown, /\| baseline \| [\d.]+ \(1 of 2 seeds\) \|/);
  results.tables[0]!.rows.forEach(({ scores }, r) => {
    const { values } = reference.tables[0]!.rows[r]!.scores["train"]!;
    assert.deepEqual(scores["train"]!.values, [null, values[1]]);
  });
});

Deno.test("ablation: more images or another setting measures what is new, and nothing else", async () => {
  const runs: Record<string, number> = {};
  const sweeps = readTinyPlan(root).sweeps.with(0, {
    ...readTinyPlan(root).sweeps[0]!,
    values: [0.5, 0.7, 0.9],
  });
  const { results } = (await runAblation(await open(whole, { sweeps }, runs)))!;
  assert.equal(runs["segmenter"], 2 * 5);
  assert.equal(results.missing.figures, 0);
  const few = await openAblation(readTinyPlan(root, whole), recipe, {
    where: "plan.json",
    limit: 1,
  });
  const limited = (await runAblation(few))!;
  assert.deepEqual(limited.results.splits.map(({ images }) => images), [1, 1]);
});

Deno.test("ablation: a folder of another plan and damaged files are refused by name", async () => {
  const changed = await open(whole, {
    changes: { schedule: [{ kind: "cosine", steps: 4, peak: 1e-3 }] },
  });
  const other =
    /baseline-1: holds a network of another plan: schedule\[0\]\.steps is 3 there and 4 here; choose/;
  await assert.rejects(runAblation(changed), other);
  await assert.rejects(runAblation(changed, { only: "evaluate" }), other);
  await assert.rejects(ablationOutlook(changed), other);

  const scores = join(whole, "pc-2", "scores.jsonl");
  const text = readFileSync(scores, "utf8");
  writeFileSync(scores, text.replace('"figures"', '"figuers"'));
  await assert.rejects(
    runAblation(await open(whole)),
    /pc-2\/scores\.jsonl: line 1 is damaged; it holds no figures/,
  );
  writeFileSync(scores, text);

  // Another network's figures are not taken for this one's.
  const model = join(whole, "pc-2", "models", "ovsnet.json");
  const json = readFileSync(model, "utf8");
  writeFileSync(model, json.replace(/"logitScale":[\d.]+/, '"logitScale":1.5'));
  const { results } = (await runAblation(await open(whole), { only: "report" }))!;
  assert.equal(results.missing.figures, 2);
  writeFileSync(model, json);

  // A tokenizer that differs, if only by a space.
  writeFileSync(model, json.replace(/"logitScale":[\d.]+/, '"logitScale":1.5'));
  appendFileSync(join(whole, "cross-2", "models", "tokenizer.json"), " ");
  const runs: Record<string, number> = {};
  await assert.rejects(
    runAblation(await open(whole, { seeds: [2] }, runs)),
    /whole\/cross-2: has other towers than pc-2; networks of one plan share theirs/,
  );
});
