import assert from "node:assert/strict";
import { Rng } from "../../../lib/rng.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { stuffCategories } from "../../../plugins/datasets/emoji_scenes/textures.ts";
import { emojiUniverse, trainingStyles } from "../../../plugins/datasets/emoji_scenes/universe.ts";
import { choosePairs } from "../../../plugins/training/clip_batches.ts";
import {
  drawCrowds,
  drawingsPerCrowd,
  picturesPerCrowd,
} from "../../../plugins/training/crowds.ts";

const universe = emojiUniverse().slice(100, 130);
const sprites = SpriteStore.onDemand();
await sprites.load(
  universe.flatMap(({ index }) => trainingStyles.map((style) => ({ category: index, style }))),
);

function draw(seed: number, crowds: number) {
  const rng = new Rng(seed);
  const drawings = choosePairs(crowds * drawingsPerCrowd, universe, rng);
  return { drawings, batch: drawCrowds(rng, drawings, emojiUniverse().length, sprites) };
}

Deno.test("crowds: every picture is named, and pooled under what can be seen of it", () => {
  const crowds = 12;
  const { drawings, batch: { images, pool, labels, shown } } = draw(1, crowds);
  assert.ok(images.every((value) => value >= 0 && value <= 1));
  const cells = pool.length / labels.length;
  let hidden = 0;
  for (let p = 0; p < labels.length; p++) {
    const [b, k] = [Math.floor(p / picturesPerCrowd), p % picturesPerCrowd];
    if (k < 2) {
      const texture = labels[p]! - emojiUniverse().length;
      assert.ok(texture >= 0 && texture < stuffCategories.length);
    } else {
      assert.equal(labels[p], drawings[b * drawingsPerCrowd + k - 2]!.category.index);
    }
    const row = pool.subarray(p * cells, (p + 1) * cells);
    const sum = row.reduce((total, weight) => total + weight, 0);
    assert.ok(row.every((weight) => weight >= 0));
    assert.ok(Math.abs(sum - shown[p]!) < 1e-5, `picture ${p}: ${sum}, shown ${shown[p]}`);
    if (shown[p] === 0) hidden++;
  }
  assert.ok(hidden > 0 && hidden < 0.2 * labels.length, `${hidden} of ${labels.length} hidden`);
});

Deno.test("crowds: the last drawing lies on top, and hides only others", () => {
  const crowds = 40;
  const { batch: { shown } } = draw(2, crowds);
  const share = (k: number) => {
    let sum = 0;
    for (let b = 0; b < crowds; b++) sum += shown[b * picturesPerCrowd + k]!;
    return sum / crowds;
  };
  assert.equal(share(picturesPerCrowd - 1), 1);
  const under = [2, 3, 4, 5].map(share);
  assert.ok(under.some((part) => part < 1), `${under}`);
});

Deno.test("crowds: the same seed draws the same", () => {
  assert.deepEqual(draw(3, 2), draw(3, 2));
  assert.notDeepEqual(draw(3, 2).batch.images, draw(4, 2).batch.images);
});
