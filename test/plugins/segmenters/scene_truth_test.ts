import assert from "node:assert/strict";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import { Rng } from "../../../lib/rng.ts";
import { pipeline } from "../../../lib/stages/pipeline.ts";
import { type AnyPlugin, openStage } from "../../../lib/stages/plugin.ts";
import { defineStage } from "../../../lib/stages/stage.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { float32, type Tensor } from "../../../lib/tensor.ts";
import {
  renderSceneOnDemand,
  type Scene,
  sceneVocabulary,
} from "../../../plugins/datasets/emoji_scenes/scene.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { stuffCategories } from "../../../plugins/datasets/emoji_scenes/textures.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { instanceSegmenter } from "../../../plugins/segmenters/instance.ts";
import { panopticSegmenter } from "../../../plugins/segmenters/panoptic.ts";

const categories = [3, 40, 200, 555, 900];
const names = sceneVocabulary(categories);
const isThing = names.map((name) => !(stuffCategories as readonly string[]).includes(name));

/** A decoder and classifier that know the truth, and say it in another order, beside nonsense. */
function oracle({ width, height, segmentIds, segments }: Scene, active: readonly number[]) {
  const order = new Rng(width).shuffle([...segments.keys(), -1]);
  const area = width * height;
  const maskLogits = float32([order.length, height, width]);
  const logits = float32([order.length, active.length + 1]);
  order.forEach((which, n) => {
    const segment = segments[which];
    for (let i = 0; i < area; i++) {
      const inside = segment === undefined || segmentIds[i] === segment.id;
      maskLogits.data[n * area + i] = inside ? 12 : -12;
    }
    const column = segment === undefined ? active.length : active.indexOf(segment.label);
    logits.data[n * (active.length + 1) + column] = 15;
  });
  return defineStage({
    role: "decoder",
    name: "oracle",
    needs: ["vocabulary"],
    gives: ["maskLogits", "classLogits", "vocabulary"],
    run: ({ vocabulary }) => ({
      maskLogits,
      classLogits: { logits, hasVoid: true },
      vocabulary: { ...vocabulary, active },
    }),
  });
}

const scenes = await (async () => {
  const store = SpriteStore.onDemand({ size: 72 });
  const others = [10, 11];
  return await Promise.all(
    [1, 2, 3, 4].map((seed) =>
      renderSceneOnDemand({ seed, size: 32 * seed, categories, others }, store)
    ),
  );
})();

/** The names that are left where the absent ones are rejected, or all of them. */
const choices = (scene: Scene) => [
  names.map((_, index) => index),
  [...new Set(scene.segments.map(({ label }) => label))].sort((a, b) => a - b),
];

Deno.test("the truth's masks as logits give back the truth's segments", async () => {
  await using device = await acquireDevice("cpu");
  const segmenter = await openStage(panopticSegmenter, {}, { device } as never);
  for (const scene of scenes) {
    for (const active of choices(scene)) {
      const truth = pipeline(device).pipe(oracle(scene, active)).pipe(segmenter);
      using result = await truth.run({ image: scene, vocabulary: vocabulary(names, { isThing }) });
      const { ids, segments } = result.outputs.panoptic;
      const found = await ids.read();
      assert.equal(segments.length, scene.segments.length);
      for (const { id, label, area, isThing, score } of segments) {
        const own = scene.segments.find((one) => one.id === scene.segmentIds[found.indexOf(id)])!;
        assert.deepEqual([label, area, isThing], [own.label, own.area, own.kind !== "stuff"]);
        assert.ok(score > 0.99);
        assert.ok(found.every((at, i) => (at === id) === (scene.segmentIds[i] === own.id)));
      }
    }
  }
});

Deno.test("the truth's masks as logits give back the truth's objects, and no stuff", async () => {
  await using device = await acquireDevice("cpu");
  const segmenter = await openStage(instanceSegmenter, { topK: 20 }, { device } as never);
  for (const scene of scenes) {
    for (const active of choices(scene)) {
      const truth = pipeline(device).pipe(oracle(scene, active)).pipe(segmenter);
      using result = await truth.run({ image: scene, vocabulary: vocabulary(names, { isThing }) });
      const objects = scene.segments.filter(({ kind }) => kind !== "stuff");
      // The other pairs of the top 20 are those of probabilities near 0.
      const sure = result.outputs.instances.instances.filter(({ score }) => score > 0.5);
      assert.equal(sure.length, objects.length);
      for (const { label, area, box, mask } of sure) {
        const first = decodeRle(mask).indexOf(1);
        const own = objects.find(({ id }) => id === scene.segmentIds[first])!;
        assert.deepEqual([label, area], [own.label, own.area]);
        assert.deepEqual(box, [own.box.x, own.box.y, own.box.width, own.box.height]);
        decodeRle(mask).forEach((inside, i) =>
          assert.equal(inside === 1, scene.segmentIds[i] === own.id)
        );
      }
    }
  }
});

Deno.test("where nobody says which classes are things, all are", async () => {
  await using device = await acquireDevice("cpu");
  const [scene] = scenes;
  const active = names.map((_, index) => index);
  const [panoptic, instance] = [
    await openStage(panopticSegmenter, {}, { device } as never),
    await openStage(instanceSegmenter, {}, { device } as never),
  ];
  const masks = pipeline(device).pipe(oracle(scene!, active));
  const inputs = { image: scene!, vocabulary: vocabulary(names) };
  using segments = await masks.pipe(panoptic).run(inputs);
  assert.ok(segments.outputs.panoptic.segments.every(({ isThing }) => isThing));
  using objects = await masks.pipe(instance).run(inputs);
  const sure = objects.outputs.instances.instances.filter(({ score }) => score > 0.5);
  assert.equal(sure.length, scene!.segments.length);
});

Deno.test("mask logits on a device are read once", async () => {
  await using device = await acquireDevice("cpu");
  let reads = 0;
  const counted = (shape: number[], value: number): Tensor<"float32"> => ({
    dtype: "float32",
    shape,
    location: "gpu",
    read() {
      reads++;
      return Promise.resolve(float32(shape).data.fill(value));
    },
    dispose() {},
  });
  for (const plugin of [panopticSegmenter, instanceSegmenter]) {
    const segmenter = await openStage(plugin as AnyPlugin, {}, { device } as never);
    const { panoptic, instances } = await segmenter.run({
      image: scenes[0]!,
      vocabulary: vocabulary(["dog"]),
      maskLogits: counted([2, 4, 4], 5),
      classLogits: { logits: float32([2, 1]), hasVoid: false },
    }, { device, signal: new AbortController().signal, progress() {} });
    // Both masks cover everything: the first has all pixels, and both are objects.
    assert.equal(panoptic?.segments.length ?? instances?.instances.length, panoptic ? 1 : 2);
  }
  assert.equal(reads, 2);
});
