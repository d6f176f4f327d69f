import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "../../../lib/rng.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import { Sprite, SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { emojiUniverse, trainingStyles } from "../../../plugins/datasets/emoji_scenes/universe.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { exportClip, trainClip } from "../../../plugins/training/clip.ts";
import { clipBatch, picturesPerMosaic } from "../../../plugins/training/clip_batches.ts";
import { drawPicture } from "../../../plugins/training/pictures.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { tinyClip } from "./tiny_runs.ts";

async function loadedSprites(categories: readonly number[]): Promise<SpriteStore> {
  const store = SpriteStore.onDemand();
  await store.load(
    categories.flatMap((category) => trainingStyles.map((style) => ({ category, style }))),
  );
  return store;
}

Deno.test("CLIP batches: every picture is a mean of cells, every target a distribution", async () => {
  const universe = emojiUniverse().slice(40, 60);
  const sprites = await loadedSprites(universe.map(({ index }) => index));
  for (const seed of [1, 2, 3]) {
    const batch = clipBatch(new Rng(seed), 2, universe, sprites);
    const pairs = batch.captions.length;
    assert.equal(pairs, 2 * picturesPerMosaic);
    const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
    let twins = 0;
    for (let i = 0; i < pairs; i++) {
      assert.ok(Math.abs(sum(batch.pool.subarray(i * 256, (i + 1) * 256)) - 1) < 1e-5);
      const row = batch.captionTargets.subarray(i * pairs, (i + 1) * pairs);
      assert.ok(Math.abs(sum(row) - 1) < 1e-6);
      assert.ok(row[i]! > 0, "a picture's own caption is right for it");
      const column: Float32Array = Float32Array.from(
        { length: pairs },
        (_, j) => batch.pictureTargets[j * pairs + i]!,
      );
      assert.ok(Math.abs(sum(column) - 1) < 1e-6);
      const others = batch.twinTargets.subarray(i * pairs, (i + 1) * pairs);
      assert.equal(others[i], 0, "no picture is its own twin");
      assert.ok(sum(others) === 0 || Math.abs(sum(others) - 1) < 1e-6);
      twins += Math.round(sum(others));
      for (let j = 0; j < pairs; j++) {
        if (others[j]! > 0) assert.ok(row[j]! > 0, "twins share their captions");
      }
    }
    assert.ok(twins >= pairs / 2, `${twins} of ${pairs} have a twin`);
    for (const value of batch.images) assert.ok(value >= 0 && value <= 1);
    assert.deepEqual(clipBatch(new Rng(seed), 2, universe, sprites), batch);
  }
});

Deno.test("CLIP batches: an outline is drawn where the colours of a drawing meet", () => {
  // Half red, half green, on nothing.
  const size = 72;
  const rgba = new Uint8Array(4 * size * size);
  for (let y = 12; y < 60; y++) {
    for (let x = 12; x < 60; x++) {
      rgba.set(x < 36 ? [255, 0, 0, 255] : [0, 255, 0, 255], 4 * (y * size + x));
    }
  }
  const sprite = new Sprite(size, rgba);
  const side = 64;
  let outlined = 0;
  const runs = 200;
  for (let seed = 0; seed < runs; seed++) {
    const canvas = {
      size: side,
      planes: new Float32Array(3 * side * side).fill(1),
      coverage: new Float32Array(side * side),
    };
    drawPicture(canvas, sprite, { x: 32, y: 32, scale: 60, mirror: true }, new Rng(seed));
    const covered = canvas.coverage.reduce((a, b) => a + b, 0);
    // 48 of 72 pixels wide, drawn 60 high; stretched by 0.87 to 1.15, and an outline around it.
    const square = (48 / 72 * 60) ** 2;
    assert.ok(covered > 0.8 * square && covered < 1.45 * square, `${covered} of ${square}`);
    canvas.coverage.forEach((value, i) => {
      if (value === 0) assert.equal(canvas.planes[i], 1, "what isn't covered stays");
    });
    // Along the middle row, the meeting of the two halves is darker than both.
    const light = (x: number) =>
      [0, 1, 2].reduce((sum, c) => sum + canvas.planes[(c * side + 32) * side + x]!, 0);
    const middle = Math.min(...[29, 30, 31, 32, 33, 34].map(light));
    if (middle < 0.8 * Math.min(light(24), light(40))) outlined++;
  }
  assert.ok(outlined > 0.3 * runs && outlined < 0.7 * runs, `${outlined} of ${runs} have outlines`);
});

Deno.test("CLIP training: a resumed run ends with the bytes of an undisturbed one", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-clip-"));
  try {
    const [whole, halves] = [join(root, "whole"), join(root, "halves")];
    const validation = { every: 2, size: 1 };
    const { checkpoint } = await trainClip(tinyClip(whole, { validation }));
    await trainClip(tinyClip(halves, { validation }), { stopAfter: 2 });
    const resumed = await trainClip(tinyClip(halves, { validation }), { resume: true });
    assert.deepEqual(readFileSync(resumed.checkpoint), readFileSync(checkpoint));
    const found = readMetrics(join(whole, "metrics.jsonl")).flatMap(({ validation }) =>
      validation === undefined ? [] : [validation]
    );
    assert.equal(found.length, 2);
    for (const { loss, accuracy } of found) {
      assert.ok(loss! > 0 && accuracy! >= 0 && accuracy! <= 1);
    }

    // What is exported runs at any size and gives unit text embeddings.
    const models = await exportClip(whole);
    const engine = await ortNodeEngine({ threads: 1 });
    const image = await engine.load(models.imageEncoder);
    const { features, pyramid4, pyramid8 } = await image.run({ image: float32([2, 3, 64, 96]) });
    assert.deepEqual(features!.shape, [2, 8, 8, 12]);
    assert.deepEqual(pyramid4!.shape, [2, 8, 16, 24]);
    assert.deepEqual(pyramid8!.shape, [2, 32, 8, 12]);
    const text = await engine.load(models.textEncoder);
    const { embeddings } = await text.run({
      tokens: new HostTensor("int64", [2, 3], BigInt64Array.of(1n, 70n, 2n, 1n, 2n, 0n)),
      mask: float32([2, 3], Float32Array.of(1, 1, 1, 1, 1, 0)),
    });
    const rows = await embeddings!.read() as Float32Array;
    for (const row of [rows.subarray(0, 8), rows.subarray(8)]) {
      assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
    }
    await image.dispose();
    await text.dispose();
  } finally {
    rmSync(root, { recursive: true });
  }
});

Deno.test("CLIP training: micro-batches take part in one step", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-clip-"));
  try {
    const config = tinyClip(join(root, "run"), {
      batch: 2,
      microBatches: 2,
      schedule: [{ kind: "polynomial", steps: 2, peak: 1e-3 }],
      log: { every: 1 },
    });
    const { finished } = await trainClip(config);
    assert.ok(finished);
    const records = readMetrics(join(root, "run", "metrics.jsonl"));
    assert.equal(records.length, 2);
    // Pieces of one mosaic each: their loss begins near that of guessing one of its pictures.
    const guess = Math.log(picturesPerMosaic);
    const { contrast, twin, loss } = records[0] as unknown as Record<string, number>;
    assert.ok(Math.abs(contrast! - guess) < 8, `${contrast} of ${guess}`);
    assert.ok(Math.abs(contrast! + twin! - loss!) < 1e-4 * loss!);
  } finally {
    rmSync(root, { recursive: true });
  }
});

Deno.test("deno task train clip-evaluate: where nothing is trained yet, it says so", async () => {
  const cwd = mkdtempSync(join(tmpdir(), "clip-evaluate-"));
  try {
    const main = new URL("../../../plugins/training/main.ts", import.meta.url).pathname;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", main, "clip-evaluate"],
      cwd,
    }).output();
    assert.equal(code, 2);
    assert.equal(
      new TextDecoder().decode(stderr),
      "ovs: runs/clip: there is no checkpoint; train first: deno task train clip\n",
    );
  } finally {
    rmSync(cwd, { recursive: true });
  }
});
