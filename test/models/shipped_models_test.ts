import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { Image } from "../../lib/image/image.ts";
import type { Device } from "../../lib/runtime.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { renderScene } from "../../plugins/datasets/emoji_scenes/scene.ts";
import { loadSplits, seenNames } from "../../plugins/datasets/emoji_scenes/splits.ts";
import { firstUnseenSeed } from "../../plugins/datasets/emoji_scenes/seeds.ts";
import { SpriteStore } from "../../plugins/datasets/emoji_scenes/sprites.ts";
import { trainingStyles } from "../../plugins/datasets/emoji_scenes/universe.ts";
import { openOvsnet } from "../../plugins/methods/ovsnet.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { evaluateScenes } from "../../plugins/training/evaluate.ts";

const models = new URL("../../models/", import.meta.url);

async function seenSprites(): Promise<SpriteStore> {
  const store = SpriteStore.onDemand();
  await store.load(
    loadSplits().seen.flatMap((category) => trainingStyles.map((style) => ({ category, style }))),
  );
  return store;
}

Deno.test("shipped models: less than 12 MB in all", () => {
  const bytes = readdirSync(models).reduce(
    (n, file) => n + statSync(new URL(file, models)).size,
    0,
  );
  assert.ok(bytes < 12e6, `${bytes} bytes`);
});

Deno.test("shipped models: mIoU of at least 66 over 100 unseen scenes", async () => {
  await using device = await acquireDevice("cpu");
  await using pipeline = await openOvsnet({ device });
  const matrix = await evaluateScenes(pipeline, await seenSprites(), {
    scenes: 100,
    firstSeed: firstUnseenSeed,
  });
  const mIoU = 100 * matrix.meanIou();
  assert.ok(mIoU >= 66, `mIoU ${mIoU.toFixed(1)} over ${matrix.numScored} classes`);
});

const probe = await acquireDevice("webgpu", { networks: "cpu" }).catch(() => null);
await probe?.dispose();

Deno.test({
  name: "shipped models: WGSL and CPU give the same label for 99.9 % of pixels",
  ignore: probe === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1",
  fn: async () => {
    const [names, sprites, categories] = [seenNames(), await seenSprites(), loadSplits().seen];
    const labelsOn = async (device: Device, seed: number) => {
      await using pipeline = await openOvsnet({ device });
      const { width, height, rgb } = renderScene({ seed, categories, sprites });
      using result = await pipeline.run({
        image: new Image(width, height, rgb),
        vocabulary: vocabulary(names),
      });
      return await result.outputs.segmentation.labels.read();
    };
    await using cpu = await acquireDevice("cpu");
    await using gpu = await acquireDevice("webgpu", { networks: "cpu" });
    let [same, all] = [0, 0];
    for (let i = 0; i < 5; i++) {
      const [expected, labels] = [
        await labelsOn(cpu, firstUnseenSeed + i),
        await labelsOn(gpu, firstUnseenSeed + i),
      ];
      same += labels.filter((label, p) => label === expected[p]).length;
      all += labels.length;
    }
    assert.ok(same >= 0.999 * all, `${same} of ${all} pixels`);
  },
});
