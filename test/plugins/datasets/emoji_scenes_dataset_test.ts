import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError, OptionError } from "../../../lib/errors.ts";
import {
  EmojiScenes,
  emojiScenesSplits,
} from "../../../plugins/datasets/emoji_scenes/emoji_scenes_dataset.ts";
import { renderSceneOnDemand } from "../../../plugins/datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../../../plugins/datasets/emoji_scenes/seeds.ts";
import { loadSplits, seenNames } from "../../../plugins/datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { datasetKinds } from "../../../plugins/datasets/open_dataset.ts";

/** An empty cache of sprites, so that the machine's own doesn't matter. */
async function withCache(body: (cacheDir: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "ovs-sprites-"));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

Deno.test("EmojiScenes: the first scene of seen is that of the first unseen seed", () =>
  withCache(async (cacheDir) => {
    const dataset = new EmojiScenes({ split: "seen", scenes: 1, cacheDir });
    const { image, labels, segments } = await dataset.read(0);
    const { seen, others } = loadSplits();
    const scene = await renderSceneOnDemand(
      { seed: firstUnseenSeed, categories: seen, others },
      SpriteStore.onDemand(),
    );
    assert.deepEqual(image.rgb, scene.rgb);
    assert.deepEqual(labels, scene.labels);
    assert.deepEqual([...segments!.ids], [...scene.segmentIds]);
    assert.deepEqual(
      segments!.segments.map(({ id, label, area }) => [id, label, area]),
      scene.segments.map(({ id, label, area }) => [id, label, area]),
    );
  }));

Deno.test("EmojiScenes: segments, labels and classes agree, in every split", () =>
  withCache(async (cacheDir) => {
    const looks = new Set<string>();
    for (const split of emojiScenesSplits) {
      const dataset = new EmojiScenes({ split, scenes: 2, size: 64, othersShare: 0.5, cacheDir });
      const others = dataset.othersIndex;
      assert.equal(dataset.classes.at(-1)?.name, "others");
      assert.equal(others, dataset.classes.length - 1);
      let numOthers = 0;
      for (let i = 0; i < 2; i++) {
        const { id, image, labels, segments } = await dataset.read(i);
        assert.equal(id, dataset.id(i));
        looks.add(image.rgb.join());
        const known = new Map(segments!.segments.map((segment) => [segment.id, segment]));
        const areas = new Map<number, number>();
        segments!.ids.forEach((id, at) => {
          assert.equal(known.get(id)?.label, labels[at]);
          areas.set(id, (areas.get(id) ?? 0) + 1);
        });
        for (const { id, area, label, isThing, isCrowd } of known.values()) {
          assert.equal(areas.get(id), area);
          assert.equal(isThing, dataset.classes[label]!.isThing);
          assert.equal(isCrowd, false);
          if (label === others) numOthers++;
        }
      }
      assert.ok(numOthers > 0, `${split} shows others`);
    }
    // Other categories, styles and seeds: no two images are alike.
    assert.equal(looks.size, 2 * emojiScenesSplits.length);
  }));

Deno.test("EmojiScenes: a held-out twin lays out the same things, in another style", () =>
  withCache(async (cacheDir) => {
    const [plain, twin] = ["far", "far-held-out"].map((split) =>
      new EmojiScenes({ split, scenes: 1, cacheDir })
    );
    assert.deepEqual(plain!.classes, twin!.classes);
    const [a, b] = [await plain!.read(0), await twin!.read(0)];
    const labels = (sample: typeof a) => new Set(sample.segments!.segments.map((s) => s.label));
    const shared = [...labels(a)].filter((label) => labels(b).has(label));
    // Outlines differ, so a thing may be hidden in the one and not in the other.
    assert.ok(shared.length >= labels(a).size - 2, `${shared.length} of ${labels(a).size}`);
    assert.notDeepEqual(a.image.rgb, b.image.rgb);
  }));

Deno.test("EmojiScenes: seen has the decoder's training vocabulary, and others", () => {
  const { classes } = new EmojiScenes({ split: "seen" });
  assert.deepEqual(classes.map(({ name }) => name), [...seenNames(), "others"]);
  const things = (split: string) =>
    new Set(new EmojiScenes({ split }).classes.slice(0, -13).map(({ name }) => name));
  for (const split of ["near", "far"]) {
    assert.equal([...things(split)].filter((name) => things("seen").has(name)).length, 0);
  }
});

Deno.test("EmojiScenes: what the fingerprint depends on, and what is refused", async () => {
  const print = (options: ConstructorParameters<typeof EmojiScenes>[0]) =>
    new EmojiScenes(options).fingerprint();
  const base = await print({ scenes: 3 });
  assert.equal(await print({ scenes: 3, split: "seen", size: 128 }), base);
  const others = await Promise.all([
    print({ scenes: 4 }),
    print({ scenes: 3, size: 96 }),
    print({ scenes: 3, othersShare: 0 }),
    print({ scenes: 3, split: "seen-held-out" }),
    print({ scenes: 3, split: "far" }),
  ]);
  assert.equal(new Set([base, ...others]).size, 6);
  assert.throws(() => new EmojiScenes({ split: "fat" }), (error: unknown) => {
    return error instanceof InputError && error.message.includes('did you mean "far"');
  });
  for (const scenes of [0, 1.5, 2 ** 24 + 1]) {
    assert.throws(() => new EmojiScenes({ scenes }), OptionError);
  }
  const kind = datasetKinds.find(({ kind }) => kind === "emoji-scenes");
  assert.deepEqual(kind?.splits, emojiScenesSplits);
});
