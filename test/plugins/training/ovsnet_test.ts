import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gradients, Graph } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { modelsAt } from "../../../lib/stages/models.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { float32 } from "../../../lib/tensor.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { trainingStyles } from "../../../plugins/datasets/emoji_scenes/universe.ts";
import { openPipeline } from "../../../plugins/methods/open_pipeline.ts";
import { ovsnetDocument } from "../../../plugins/methods/ovsnet.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { trainClip } from "../../../plugins/training/clip.ts";
import { classLoss } from "../../../plugins/training/decoder_loss.ts";
import { DecoderStep } from "../../../plugins/training/decoder_step.ts";
import { openFolderData } from "../../../plugins/training/folder_batches.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { exportOvsnet, trainOvsnet } from "../../../plugins/training/ovsnet.ts";
import { runTraining } from "../../../plugins/training/run_training.ts";
import { sceneBatch } from "../../../plugins/training/scene_batches.ts";
import { openTowers } from "../../../plugins/training/towers.ts";
import type { FolderConfig, OvsnetConfig } from "../../../plugins/training/train_config.ts";
import { tinyClasses, tinyClip, tinyOvsnet, tinyPicture } from "./tiny_runs.ts";

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "ovs-decoder-"));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

Deno.test("scene batches: masks share each cell, classes are one-hot, seeds decide", async () => {
  const categories = [60, 400, 700, 900];
  const others = [100, 500];
  const sprites = SpriteStore.onDemand();
  await sprites.load(
    [...categories, ...others].flatMap((category) =>
      trainingStyles.map((style) => ({ category, style }))
    ),
  );
  const numClasses = categories.length + 12;
  for (const [size, othersShare] of [[128, 0], [128, 0.5], [64, 0.5]] as const) {
    const maxSegments = 12;
    const sizes = { size, maxSegments, numClasses };
    const things = { categories, others, othersShare };
    const batch = sceneBatch(new Rng(5), 4, things, sizes, sprites);
    const cells = (size / 4) ** 2;
    let unnamed = 0;
    for (let b = 0; b < 4; b++) {
      const cover = new Float32Array(cells);
      for (let g = 0; g < maxSegments; g++) {
        const slot = b * maxSegments + g;
        const mask = batch.masks.subarray(slot * cells, (slot + 1) * cells);
        const row = batch.classes.subarray(slot * numClasses, (slot + 1) * numClasses);
        const ones = row.filter((x) => x === 1).length;
        assert.equal(row.filter((x) => x !== 0).length, ones);
        assert.equal(batch.segments[slot], mask.some((x) => x > 0) ? 1 : 0);
        assert.ok(ones <= batch.segments[slot]!);
        unnamed += batch.segments[slot]! - ones;
        mask.forEach((x, i) => cover[i]! += x);
      }
      // Every pixel belongs to a segment; only more than maxSegments of them would leave a gap.
      assert.ok(cover.every((x) => x <= 1 + 1e-6));
      assert.ok(cover.some((x) => x > 1 - 1e-6));
    }
    assert.equal(unnamed > 0, othersShare > 0, `${unnamed} segments without a class`);
    assert.deepEqual(sceneBatch(new Rng(5), 4, things, sizes, sprites), batch);
  }
});

Deno.test("class loss: a segment without a class counts neither as a name nor as nothing", async () => {
  const [queries, slots, classes] = [5, 3, 4];
  const graph = new Graph("class_loss");
  const inputs = {
    logits: graph.input("logits", [1, queries, classes + 1]),
    matching: graph.input("matching", [1, slots, queries]),
    segments: graph.input("segments", [1, slots]),
    classes: graph.input("classes", [1, slots, classes]),
  };
  const loss = classLoss(inputs.logits, inputs.matching, inputs, null, 0.1);
  graph.output("loss", loss);
  graph.output("gradient", gradients(loss, [inputs.logits])[0]!);
  const session = await (await ortNodeEngine({ threads: 1 })).load(graph.toOnnx());
  const rng = new Rng(3);
  const logits = Float32Array.from({ length: queries * (classes + 1) }, () => rng.normal());
  // Query 2 has a segment of class 1, query 4 one without a class; slot 2 is empty.
  const matching = new Float32Array(slots * queries);
  matching[2] = matching[queries + 4] = 1;
  const named = new Float32Array(slots * classes);
  named[1] = 1;
  const out = await session.run({
    logits: float32([1, queries, classes + 1], logits),
    matching: float32([1, slots, queries], matching),
    segments: float32([1, slots], Float32Array.of(1, 1, 0)),
    classes: float32([1, slots, classes], named),
  });
  const logSoftmax = (n: number, c: number) => {
    const row = logits.subarray(n * (classes + 1), (n + 1) * (classes + 1));
    return row[c]! - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
  };
  const nothing = [0, 1, 3].reduce((sum, n) => sum - 0.1 * logSoftmax(n, classes), 0);
  const expected = (nothing - logSoftmax(2, 1)) / 1.3;
  assert.ok(Math.abs((await out["loss"]!.read())[0] as number - expected) < 1e-5);
  const gradient = await out["gradient"]!.read() as Float32Array;
  const norm = (n: number) =>
    Math.hypot(...gradient.subarray(n * (classes + 1), (n + 1) * (classes + 1)));
  for (let n = 0; n < queries; n++) assert.equal(norm(n) > 0, n !== 4, `query ${n}`);
  await session.dispose();
});

Deno.test("OVSNet training on EmojiScenes: a resumed run ends with the bytes of an undisturbed one", () =>
  withFolder(async (root) => {
    const clip = tinyClip(join(root, "clip"), {
      schedule: [{ kind: "cosine", steps: 1, peak: 1e-3 }],
    });
    await trainClip(clip);
    const config = (name: string) =>
      tinyOvsnet(root, {
        out: join(root, name),
        encoder: clip.out,
        data: { kind: "emoji-scenes" },
        schedule: [
          { kind: "cosine", steps: 3, peak: 8e-4 },
          { kind: "cosine", steps: 1, peak: 1e-4 },
        ],
        network: { numQueries: 14, width: 16, heads: 2, pixelDepth: 1, depth: 2, maskWidth: 8 },
        validation: { every: 4, size: 2 },
      });
    const { checkpoint } = await trainOvsnet(await config("whole"));
    await trainOvsnet(await config("halves"), { stopAfter: 2 });
    const resumed = await trainOvsnet(await config("halves"), { resume: true });
    assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));
    const { validation } = readMetrics(join(root, "whole", "metrics.jsonl")).at(-1)!;
    assert.ok(validation!["mIoU"]! >= 0 && validation!["mIoU"]! <= 1);

    const { models } = await exportOvsnet(join(root, "whole"));
    assert.ok(Math.abs(Math.hypot(...models.voidEmbedding) - 1) < 1e-4);
    const engine = await ortNodeEngine({ threads: 1 });
    const session = await engine.load(models.maskDecoder);
    const outputs = await session.run({
      features: float32([1, 8, 4, 6]),
      pyramid4: float32([1, 8, 8, 12]),
      pyramid8: float32([1, 32, 4, 6]),
    });
    assert.deepEqual(outputs["mask_logits"]!.shape, [1, 14, 8, 12]);
    assert.deepEqual(outputs["query_embeddings"]!.shape, [1, 14, 8]);
    await session.dispose();
  }));

for (const kind of ["self_attention", "cross_attention", "gfa"] as const) {
  Deno.test(`OVSNet training with the fuser ${kind}: it resumes, validates, and its models segment`, () =>
    withFolder(async (root) => {
      const config = (name: string) =>
        tinyOvsnet(root, {
          out: join(root, name),
          fuser: kind === "gfa" ? { kind } : { kind, heads: 2 },
          validation: { every: 4, size: 2 },
        });
      const { checkpoint } = await runTraining(await config("whole"));
      await runTraining(await config("halves"), { stopAfter: 1 });
      assert.ok(!existsSync(join(root, "halves", "models")));
      const resumed = await runTraining(await config("halves"), { resume: true });
      assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));
      const records = readMetrics(join(root, "whole", "metrics.jsonl"));
      assert.ok(records[0]!["fusedLoss"] as number > 0);
      assert.deepEqual(Object.keys(records.at(-1)!.validation!), ["mIoU", `mIoU with ${kind}`]);

      await using device = await acquireDevice("cpu");
      const models = modelsAt(new URL(`file://${join(root, "whole", "models")}`));
      for (const classifier of ["cosine", "geometric_ensemble"]) {
        const document = ovsnetDocument({ fuser: kind, classifier, inputSize: 32 });
        await using pipeline = await openPipeline(document, { device, models });
        using result = await pipeline.run(
          { image: tinyPicture(1).image, vocabulary: vocabulary([...tinyClasses, "pizza"]) },
          { outputs: ["segmentation"] },
        );
        assert.equal((await result.outputs.segmentation!.labels.read()).length, 48 * 40);
      }
    }));
}

/** The gradient of one batch under some changes of the config. */
async function gradientOf(
  root: string,
  changes: Parameters<typeof tinyOvsnet>[1],
  factor = 1,
): Promise<{ grads: Float32Array; loss: number }> {
  const config: OvsnetConfig = await tinyOvsnet(root, changes);
  const data = await openFolderData(config.data as FolderConfig, {
    validates: false,
    verify: false,
  });
  await using device = await acquireDevice("cpu");
  const step = await DecoderStep.open(config, await openTowers(config.encoder), data, device);
  const params = step.layout.initialize(new Rng(1)).map((x) => factor * x);
  const rng = new Rng(2);
  const result = await step.gradient(params, await data.batch(rng, config.batch), rng);
  await step.dispose();
  return { grads: result.grads, loss: result.metrics["loss"]! };
}

function relative(a: Float32Array, b: Float32Array): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(difference / size);
}

Deno.test("micro-batches: the gradient is that of the whole batch, whatever their number", () =>
  withFolder(async (root) => {
    // Partners of proxies are drawn within a piece; everything else is the same sum.
    const loss = { proxyQuery: 0, proxyClip: 0 };
    const whole = await gradientOf(root, { batch: 4, loss });
    for (const microBatches of [2, 4]) {
      const pieces = await gradientOf(root, { batch: 4, microBatches, loss });
      assert.ok(Math.abs(pieces.loss - whole.loss) < 1e-4 * whole.loss);
      const error = relative(pieces.grads, whole.grads);
      assert.ok(error < 1e-4, `${microBatches} pieces: ${error}`);
    }
  }));

Deno.test("weights of the loss: without a term its gradient is gone", () =>
  withFolder(async (root) => {
    const none = { mask: 0, dice: 0, class: 0, proxyQuery: 0, proxyClip: 0 };
    const parts = ["mask", "dice", "class", "proxyQuery", "proxyClip"] as const;
    const zero = await gradientOf(root, { loss: none });
    assert.ok(zero.grads.every((g) => g === 0));
    for (const part of parts) {
      const one = await gradientOf(root, { loss: { ...none, [part]: 1 } });
      assert.ok(one.loss > 0, part);
      assert.ok(one.grads.some((g) => g !== 0), part);
    }
  }));

Deno.test("mask losses at points: a resumed run ends with the bytes of an undisturbed one", () =>
  withFolder(async (root) => {
    const config = (name: string) =>
      tinyOvsnet(root, { out: join(root, name), loss: { points: { count: 24 } } });
    const { checkpoint } = await trainOvsnet(await config("whole"));
    await trainOvsnet(await config("halves"), { stopAfter: 3 });
    const resumed = await trainOvsnet(await config("halves"), { resume: true });
    assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));
  }));

Deno.test("mask losses at points: many of them, drawn without looking, tell what all cells tell", () =>
  withFolder(async (root) => {
    // Matching by classes alone, and a loss of masks alone.
    const loss = { dice: 0, class: 0, proxyQuery: 0, proxyClip: 0 };
    const cells = await gradientOf(root, { loss });
    const points = { count: 4000, oversample: 1, importance: 0 };
    const sampled = await gradientOf(root, { loss: { ...loss, points } });
    assert.ok(Math.abs(sampled.loss - cells.loss) < 0.05 * cells.loss, `${sampled.loss}`);
    // Uncertain points are where the loss is near ln 2, whatever the mean over all cells is.
    const hard = await gradientOf(root, { loss: { ...loss, points: { count: 60 } } });
    assert.ok(hard.loss > 0 && hard.grads.some((g) => g !== 0));
  }));

Deno.test("a network that overflows has a loss that is no number, in one piece or in several", () =>
  withFolder(async (root) => {
    for (const microBatches of [1, 2]) {
      const { loss } = await gradientOf(root, { microBatches }, 1e25);
      assert.ok(Number.isNaN(loss), `${loss}`);
    }
  }));
