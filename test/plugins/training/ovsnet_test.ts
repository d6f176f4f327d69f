import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { trainingStyles } from "../../../plugins/datasets/emoji_scenes/universe.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { type ClipConfig, clipConfig, trainClip } from "../../../plugins/training/clip.ts";
import {
  exportOvsnet,
  type OvsnetConfig,
  ovsnetConfig,
  trainOvsnet,
} from "../../../plugins/training/ovsnet.ts";
import { maskSize, maxSegments, sceneBatch } from "../../../plugins/training/scene_batches.ts";

const clip: ClipConfig = {
  ...clipConfig,
  steps: 1,
  mosaics: 1,
  image: { ...clipConfig.image, stemWidth: 8, width: 16, depth: 2, heads: 2, jointSize: 8 },
  text: { ...clipConfig.text, vocabularySize: 600, width: 16, depth: 1, heads: 2, jointSize: 8 },
};

const tiny: OvsnetConfig = {
  ...ovsnetConfig,
  steps: 3,
  restart: { steps: 1, learningRate: 1e-4 },
  scenes: 2,
  clip,
  decoder: {
    ...ovsnetConfig.decoder,
    numQueries: 14,
    width: 16,
    heads: 2,
    pixelDepth: 1,
    depth: 2,
    maskWidth: 8,
    jointSize: 8,
  },
};

Deno.test("scene batches: masks share each cell, classes are one-hot, seeds decide", async () => {
  const categories = [60, 400, 700, 900];
  const sprites = SpriteStore.onDemand();
  await sprites.load(
    categories.flatMap((category) => trainingStyles.map((style) => ({ category, style }))),
  );
  const numClasses = categories.length + 12;
  const batch = sceneBatch(new Rng(5), 2, categories, numClasses, sprites);
  const cells = maskSize * maskSize;
  for (let b = 0; b < 2; b++) {
    const cover = new Float32Array(cells);
    for (let g = 0; g < maxSegments; g++) {
      const slot = b * maxSegments + g;
      const mask = batch.masks.subarray(slot * cells, (slot + 1) * cells);
      const row = batch.classes.subarray(slot * numClasses, (slot + 1) * numClasses);
      const ones = row.filter((x) => x === 1).length;
      assert.equal(row.filter((x) => x !== 0).length, ones);
      assert.equal(ones, mask.some((x) => x > 0) ? 1 : 0);
      mask.forEach((x, i) => cover[i]! += x);
    }
    // Every pixel belongs to a segment; only more than maxSegments of them would leave a gap.
    assert.ok(cover.every((x) => x <= 1 + 1e-6));
    assert.ok(cover.some((x) => x > 1 - 1e-6));
  }
  assert.deepEqual(sceneBatch(new Rng(5), 2, categories, numClasses, sprites), batch);
});

Deno.test("OVSNet training: a resumed run ends with the bytes of an undisturbed one", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-decoder-"));
  try {
    const clipDir = join(root, "clip");
    await trainClip(clipDir, clip);
    const [whole, halves] = [join(root, "whole"), join(root, "halves")];
    await trainOvsnet(whole, clipDir, tiny);
    await trainOvsnet(halves, clipDir, tiny, { stopAfter: 2 });
    await trainOvsnet(halves, clipDir, tiny);
    assert.deepEqual(
      readFileSync(join(halves, "checkpoint.bin")),
      readFileSync(join(whole, "checkpoint.bin")),
    );

    const models = exportOvsnet(whole, tiny);
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
  } finally {
    rmSync(root, { recursive: true });
  }
});
