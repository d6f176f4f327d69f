import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelError, OutputError, TrainingError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { CheckpointFolder, readCheckpoint } from "../../../plugins/training/checkpoint.ts";
import { lossPlot } from "../../../plugins/training/loss_plot.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import {
  type Run,
  type RunOptions,
  type StepResult,
  train,
} from "../../../plugins/training/trainer.ts";
import type { TrainConfigInput } from "../../../plugins/training/train_config.ts";
import { fullAfter } from "./full_disk.ts";
import { tinyClip } from "./tiny_runs.ts";

/** A bowl with noise: what the loop does shows without any network. */
function bowl(
  out: string,
  changes: Partial<TrainConfigInput> = {},
  fault: (step: number) => Partial<StepResult> = () => ({}),
): Run {
  const config = tinyClip(out, {
    schedule: [{ kind: "cosine", steps: 30, peak: 0.1 }],
    checkpoint: { every: 10 },
    log: { every: 4 },
    ...changes,
  });
  const params = Float32Array.of(3, -2, 1);
  return {
    config,
    circumstances: {},
    params,
    decayMask: Uint8Array.of(1, 1, 0),
    samples: 2,
    step(step) {
      const rng = new Rng(step);
      const loss = params.reduce((sum, x) => sum + x * x, 0);
      const grads = params.map((x) => 2 * x + 0.1 * rng.normal());
      return Promise.resolve({ grads, metrics: { loss }, ...fault(step) });
    },
    validate: () => Promise.resolve({ loss: params[0]!, mIoU: 0.5 }),
  };
}

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = fs.mkdtempSync(join(tmpdir(), "ovs-trainer-"));
  try {
    await body(path);
  } finally {
    fs.rmSync(path, { recursive: true });
  }
}

/** Lines of a metrics file without what depends on the clock. */
function timeless(path: string): unknown[] {
  return readMetrics(path).map(({ samplesPerSecond: _, ...rest }) => rest);
}

Deno.test("trainer: wherever a run stops, it ends with the same weights and the same metrics", () =>
  withFolder(async (root) => {
    const whole = join(root, "whole");
    const validation = { every: 8, size: 1 };
    const result = await train(bowl(whole, { validation }));
    assert.deepEqual([result.step, result.finished], [30, true]);
    const steps = readMetrics(join(whole, "metrics.jsonl")).map(({ step }) => step);
    assert.deepEqual(steps, [4, 8, 8, 12, 16, 16, 20, 24, 24, 28, 30, 30]);
    for (let stop = 1; stop < 30; stop += 3) {
      const out = join(root, `stopped-${stop}`);
      await train(bowl(out, { validation }), { stopAfter: stop });
      // Lines that a crash leaves after the last checkpoint, and half a line.
      fs.appendFileSync(join(out, "metrics.jsonl"), `{"step":${stop + 1},"loss":9}\n{"step":`);
      await train(bowl(out, { validation }), { resume: true });
      assert.deepEqual(
        timeless(join(out, "metrics.jsonl")),
        timeless(join(whole, "metrics.jsonl")),
      );
      assert.deepEqual(
        fs.readFileSync(join(out, "checkpoint-000030.safetensors")),
        fs.readFileSync(join(whole, "checkpoint-000030.safetensors")),
      );
    }
  }));

Deno.test("trainer: a finished run goes on with more cycles as if it had had them from the start", () =>
  withFolder(async (root) => {
    const [short, long] = [join(root, "short"), join(root, "long")];
    const first = { kind: "cosine", steps: 30, peak: 0.1 } as const;
    const second = { kind: "cosine", steps: 20, peak: 0.05 } as const;
    await train(bowl(long, { schedule: [first, second] }));
    await train(bowl(short, { schedule: [first] }));
    const other = bowl(short, { schedule: [{ ...first, peak: 0.2 }, second] });
    await assert.rejects(train(other, { resume: true }), ModelError);
    const result = await train(bowl(short, { schedule: [first, second] }), { resume: true });
    assert.deepEqual([result.step, result.finished], [50, true]);
    assert.deepEqual(
      fs.readFileSync(result.checkpoint),
      fs.readFileSync(join(long, "checkpoint-000050.safetensors")),
    );
    await assert.rejects(
      train(bowl(short, { schedule: [first] }), { resume: true }),
      /is of another run: schedule/,
    );
  }));

Deno.test("trainer: an abort saves after the step under way", () =>
  withFolder(async (root) => {
    const stop = new AbortController();
    const options: RunOptions = {
      signal: stop.signal,
      onProgress: ({ step }) => step === 7 && stop.abort(),
    };
    const result = await train(bowl(root), options);
    assert.deepEqual([result.step, result.finished], [7, false]);
    assert.equal((await readCheckpoint(result.checkpoint)).step, 7);
  }));

Deno.test("trainer: a checkpoint is in the way, unless the run is to go on", () =>
  withFolder(async (root) => {
    await train(bowl(root), { stopAfter: 10 });
    await assert.rejects(
      train(bowl(root)),
      (error: unknown) =>
        error instanceof OutputError && /checkpoint of step 10.*--resume/.test(error.message),
    );
    await assert.rejects(
      train(bowl(root, { seed: 2 }), { resume: true }),
      (error: unknown) =>
        error instanceof ModelError &&
        /checkpoint-000010.*seed is 1 there and 2/.test(error.message),
    );
    // What does not change the result may differ.
    const changes = { log: { every: 7 }, checkpoint: { every: 3, keep: 1 } };
    await train(bowl(root, changes), { resume: true });
    assert.deepEqual(new CheckpointFolder(root).steps(), [30]);
  }));

Deno.test("trainer: a damaged checkpoint is refused by name, and the one before it goes on", () =>
  withFolder(async (root) => {
    const [whole, damaged] = [join(root, "whole"), join(root, "damaged")];
    await train(bowl(whole));
    await train(bowl(damaged), { stopAfter: 20 });
    const folder = new CheckpointFolder(damaged);
    fs.truncateSync(folder.pathOf(20), 200);
    const notes: string[] = [];
    await train(bowl(damaged), { resume: true, onNote: (note) => notes.push(note) });
    assert.match(notes[0]!, /^refused .*checkpoint-000020\.safetensors: is no checkpoint/);
    assert.equal(notes[1], "going on at step 10 of 30");
    assert.deepEqual(
      (await folder.newest())!.params,
      (await new CheckpointFolder(whole).newest())!.params,
    );
  }));

Deno.test("trainer: NaN stops the run, and the last good checkpoint is named", () =>
  withFolder(async (root) => {
    const cases: [string, Partial<StepResult>][] = [
      ["loss", { metrics: { loss: NaN } }],
      ["gradient", { grads: Float32Array.of(1, Infinity, 0) }],
    ];
    for (const [name, fault] of cases) {
      const out = join(root, name);
      const run = bowl(out, {}, (step) => step === 13 ? fault : {});
      await assert.rejects(
        train(run),
        (error: unknown) =>
          error instanceof TrainingError && error.code === "TRAINING" &&
          error.message.includes("at step 13") &&
          error.message.endsWith(new CheckpointFolder(out).pathOf(10)),
      );
      const { params } = (await new CheckpointFolder(out).newest())!;
      assert.ok(params.every(Number.isFinite));
    }
    const early = bowl(join(root, "early"), {}, () => ({ metrics: { loss: NaN } }));
    await assert.rejects(train(early), /at step 0; there is no checkpoint yet/);
  }));

Deno.test("trainer: a loss that runs away stops the run, unless divergence is 0", () =>
  withFolder(async (root) => {
    const runaway = (step: number) => step < 12 ? {} : { metrics: { loss: 10 ** (step - 8) } };
    await assert.rejects(
      train(bowl(join(root, "a"), {}, runaway)),
      (error: unknown) =>
        error instanceof TrainingError && /runs away.*checkpoint-000010/.test(error.message),
    );
    const result = await train(bowl(join(root, "b"), { divergence: 0 }, runaway));
    assert.equal(result.finished, true);
  }));

Deno.test("trainer: on a full disk the run stops, and goes on once there is room", () =>
  withFolder(async (root) => {
    const whole = join(root, "whole");
    await train(bowl(whole));
    for (const budget of [3500, 4200, 5000, 6500]) {
      const out = join(root, `full-${budget}`);
      const files = fullAfter(budget);
      await assert.rejects(
        train(bowl(out), { files }),
        (error: unknown) =>
          error instanceof OutputError &&
          /the disk is full.*(last good checkpoint is|no checkpoint yet)/.test(error.message),
      );
      await train(bowl(out), { resume: true });
      assert.deepEqual(
        timeless(join(out, "metrics.jsonl")),
        timeless(join(whole, "metrics.jsonl")),
      );
      assert.deepEqual(
        (await new CheckpointFolder(out).newest())!.params,
        (await new CheckpointFolder(whole).newest())!.params,
      );
    }
  }));

Deno.test("loss plots: one panel for the loss and one per validation figure, any figures at all", () => {
  const records = [
    { step: 1, loss: 100 },
    { step: 2, loss: 3, validation: undefined },
    { step: 2, validation: { loss: 4, mIoU: 0.1, "a<b": 1 } },
    { step: 3, loss: 0.5 },
  ].map(({ validation, ...rest }) => validation ? { ...rest, validation } : rest);
  const svg = lossPlot(records, "clip & co");
  assert.match(svg, /clip &amp; co over 3 steps/);
  assert.match(svg, /loss \(logarithmic\)/);
  assert.match(svg, /validation: mIoU/);
  assert.match(svg, /a&lt;b/);
  for (const some of [[], [{ step: 1, loss: 0 }], [{ step: 5, loss: -1 }, { step: 6, loss: -1 }]]) {
    const text = lossPlot(some, "x");
    assert.doesNotMatch(text, /NaN|Infinity|undefined/);
    assert.ok(text.startsWith("<svg") && text.endsWith("</svg>\n"));
  }
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});
