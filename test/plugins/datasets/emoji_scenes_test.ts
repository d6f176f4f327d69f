import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { InputError, OptionError, ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { CosineRows } from "../../../lib/similarity/cosine_blocks.ts";
import { similarPairs } from "../../../lib/similarity/similar_pairs.ts";
import { float32 } from "../../../lib/tensor.ts";
import { builtinRegistry } from "../../../plugins/builtin.ts";
import {
  type Canvas,
  drawSprite,
  sinCos,
} from "../../../plugins/datasets/emoji_scenes/composite.ts";
import {
  othersName,
  planScene,
  renderScene,
  renderSceneOnDemand,
  type Scene,
  type SceneOptions,
  sceneVocabulary,
} from "../../../plugins/datasets/emoji_scenes/scene.ts";
import {
  chooseNearAndFar,
  chooseSeen,
  distinctCategories,
  loadSplits,
  seenNames,
} from "../../../plugins/datasets/emoji_scenes/splits.ts";
import {
  Sprite,
  type SpriteSource,
  SpriteStore,
} from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { openTextEncoder } from "../../../plugins/evaluation/text_embedder.ts";
import { modelSource } from "../../../plugins/methods/open_pipeline.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { renderStuff, stuffCategories } from "../../../plugins/datasets/emoji_scenes/textures.ts";
import {
  emojiUniverse,
  heldOutStyle,
  iconName,
  styles,
  trainingStyles,
} from "../../../plugins/datasets/emoji_scenes/universe.ts";

/** FNV-1a over bytes, as hexadecimal. */
function hash(bytes: Uint8Array): string {
  let h = 0x811c9dc5;
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0).toString(16);
}

function bytesOf(scene: Scene): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(scene.segments));
  const parts = [
    scene.rgb,
    new Uint8Array(scene.segmentIds.buffer),
    new Uint8Array(scene.labels.buffer),
    text,
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Sprites drawn by arithmetic: discs, rings and bars, so that no rasteriser is involved. */
class ShapeSprites implements SpriteSource {
  readonly #made = new Map<string, Sprite>();

  sprite(category: number, style: string): Sprite {
    const key = `${category} ${style}`;
    let sprite = this.#made.get(key);
    if (!sprite) {
      const size = 72;
      const rng = new Rng(category * 4 + styles.indexOf(style as "noto"));
      const colour = [rng.integer(256), rng.integer(256), rng.integer(256)];
      const kind = rng.integer(3);
      const rgba = new Uint8Array(size * size * 4);
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const r = (x - 35.5) ** 2 + (y - 35.5) ** 2;
          const inside = kind === 0
            ? r < 1100
            : kind === 1
            ? r < 1100 && r > 300
            : x > 26 && x < 45;
          if (inside) rgba.set([...colour, 255], (y * size + x) * 4);
        }
      }
      this.#made.set(key, sprite = new Sprite(size, rgba));
    }
    return sprite;
  }
}

const shapes = new ShapeSprites();

Deno.test("universe: names and codes are unique, order is by index", () => {
  const universe = emojiUniverse();
  assert.ok(universe.length > 1400 && universe.length < 1700, `${universe.length} categories`);
  assert.equal(new Set(universe.map(({ name }) => name)).size, universe.length);
  assert.equal(new Set(universe.map(({ hexcode }) => hexcode)).size, universe.length);
  universe.forEach((category, i) => {
    assert.equal(category.index, i);
    assert.equal(category.captions[0], category.name);
    assert.equal(new Set(category.captions).size, category.captions.length);
  });
  assert.equal(emojiUniverse(), universe);
});

Deno.test("universe: no flags, keycaps, skin tones, regional letters; all styles draw each", () => {
  for (const { hexcode, name, group, subgroup } of emojiUniverse()) {
    assert.doesNotMatch(hexcode, /1F3F[B-F]|1F1[EF][0-9A-F]|20E3|E00/, name);
    assert.doesNotMatch(name, /^flag:|keycap|skin tone|^input |regional/);
    assert.ok(group !== "flags" && group !== "component" && subgroup !== "alphanum", name);
    for (const style of styles) assert.ok(iconName(hexcode, style), `${name} in ${style}`);
  }
  const names = new Set(emojiUniverse().map(({ name }) => name));
  for (const name of ["red heart", "dog", "guitar", "pizza", "sun"]) {
    assert.ok(names.has(name), name);
  }
  for (const name of [...stuffCategories, othersName]) assert.ok(!names.has(name), name);
  assert.ok(!trainingStyles.includes(heldOutStyle));
});

Deno.test("sprites: drawings in all styles are not blank, colour is premultiplied", async () => {
  const universe = emojiUniverse();
  const rng = new Rng(3);
  // The thinnest drawings, and some by chance.
  const thin = ["white cane", "dim button", "pause button", "wavy dash", "upwards button"];
  const categories = [
    ...universe.filter(({ name }) => thin.includes(name)).map(({ index }) => index),
    ...Array.from({ length: 20 }, () => rng.integer(universe.length)),
  ];
  const store = SpriteStore.onDemand({ size: 36 });
  await store.load(categories.flatMap((category) => styles.map((style) => ({ category, style }))));
  for (const category of categories) {
    for (const style of styles) {
      const { rgba, box, size } = store.sprite(category, style);
      const label = `${universe[category]!.name} in ${style}`;
      assert.equal(rgba.length, size * size * 4);
      let opaque = 0;
      for (let i = 0; i < rgba.length; i += 4) {
        const a = rgba[i + 3]!;
        assert.ok(Math.max(rgba[i]!, rgba[i + 1]!, rgba[i + 2]!) <= a, label);
        if (a >= 128) opaque++;
      }
      assert.ok(opaque >= 0.02 * size * size, `${label}: ${opaque} opaque pixels`);
      assert.ok(opaque <= box.width * box.height && box.x + box.width <= size, label);
    }
  }
});

Deno.test("sprites: what was not loaded, and nonsense, are named", async () => {
  const store = SpriteStore.onDemand();
  assert.throws(
    () => store.sprite(7, "noto"),
    (e) => e instanceof InputError && /7/.test(e.message),
  );
  await assert.rejects(store.load([{ category: 99999, style: "noto" }]), InputError);
  assert.throws(() => SpriteStore.onDemand({ size: 0 }), OptionError);
  assert.throws(() => SpriteStore.onDemand({ size: 7.5 }), OptionError);
});

Deno.test("sprites: a half mip level keeps the mean", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 8 * 8 * 4, maxLength: 8 * 8 * 4 }),
    (rgba) => {
      const { half } = new Sprite(8, rgba);
      const mean = (bytes: Uint8Array, c: number) => {
        let sum = 0;
        for (let i = c; i < bytes.length; i += 4) sum += bytes[i]!;
        return sum / (bytes.length / 4);
      };
      assert.equal(half.size, 4);
      for (let c = 0; c < 4; c++) assert.ok(Math.abs(mean(half.rgba, c) - mean(rgba, c)) <= 0.5);
    },
  ));
});

Deno.test("sprite cache: reused when sound, rebuilt when cut short, damaged or stale", async () => {
  const cacheDir = await mkdtemp(join(tmpdir(), "ovs-sprites-"));
  try {
    const categories = emojiUniverse().slice(600, 604);
    let built = 0;
    const open = (more: { size?: number } = {}) => {
      built = 0;
      return SpriteStore.open({
        cacheDir,
        categories,
        styles: ["twemoji"],
        size: 24,
        onProgress: ({ done }) => built = done,
        ...more,
      });
    };
    const pixels = (store: SpriteStore) =>
      hash(Uint8Array.from(categories.flatMap((c) => [...store.sprite(c.index, "twemoji").rgba])));
    const first = pixels(await open());
    assert.equal(built, 4);
    assert.equal(pixels(await open()), first);
    assert.equal(built, 0, "a sound cache is not built again");

    const files = await readdir(cacheDir);
    assert.equal(files.length, 1, "no temporary file is left");
    const path = join(cacheDir, files[0]!);
    const sound = new Uint8Array(await readFile(path));
    const damage: Record<string, (bytes: Uint8Array) => Uint8Array> = {
      "cut short": (bytes) => bytes.subarray(0, bytes.length - 1),
      "empty": () => new Uint8Array(0),
      "half a header": (bytes) => bytes.subarray(0, 100),
      "a flipped bit": (bytes) => bytes.map((b, i) => i === bytes.length - 999 ? b ^ 1 : b),
      "another version": (bytes) => bytes.map((b, i) => i < 512 && b === 0x40 ? 0x41 : b),
      "not JSON": (bytes) => bytes.map((b, i) => i === 0 ? 0 : b),
      "too long": (bytes) => Uint8Array.from([...bytes, 0]),
    };
    for (const [what, apply] of Object.entries(damage)) {
      await writeFile(path, apply(sound));
      assert.equal(pixels(await open()), first, what);
      assert.equal(built, 4, what);
      assert.deepEqual(new Uint8Array(await readFile(path)), sound, what);
    }
  } finally {
    await rm(cacheDir, { recursive: true });
  }
});

Deno.test("sprite cache: an abort stops it and leaves no half-written file", async () => {
  const cacheDir = await mkdtemp(join(tmpdir(), "ovs-sprites-"));
  try {
    const controller = new AbortController();
    await assert.rejects(
      SpriteStore.open({
        cacheDir,
        categories: emojiUniverse().slice(0, 30),
        styles: ["twemoji"],
        size: 16,
        signal: controller.signal,
        onProgress: ({ done }) => done === 5 && controller.abort(),
      }),
      { name: "AbortError" },
    );
    assert.deepEqual(await readdir(cacheDir), []);
  } finally {
    await rm(cacheDir, { recursive: true });
  }
});

Deno.test("textures: same seed, same bytes; committed bytes; seeds differ", () => {
  const all = stuffCategories.map((name) => renderStuff(name, 64, 48, new Rng(5)));
  stuffCategories.forEach((name, i) => {
    assert.deepEqual(renderStuff(name, 64, 48, new Rng(5)), all[i], name);
    assert.notDeepEqual(renderStuff(name, 64, 48, new Rng(6)), all[i], name);
    assert.ok(new Set(all[i]).size > 8, `${name} is nearly flat`);
  });
  assert.equal(hash(Uint8Array.from(all.flatMap((rgb) => [...rgb]))), "f4c39611");
  assert.throws(() => renderStuff("lava" as "sky", 8, 8, new Rng(0)), InputError);
});

Deno.test("composite: sine and cosine", () => {
  fc.assert(fc.property(fc.double({ min: -50, max: 50, noNaN: true }), (angle) => {
    const [s, c] = sinCos(angle);
    assert.ok(Math.abs(s - Math.sin(angle)) < 1e-9 && Math.abs(c - Math.cos(angle)) < 1e-9);
  }));
});

Deno.test("composite: an upright sprite at its own size is copied exactly", () => {
  const rng = new Rng(1);
  const size = 8;
  const rgba = Uint8Array.from(
    { length: size * size * 4 },
    (_, i) => i % 4 === 3 ? 255 : rng.integer(256),
  );
  const target: Canvas = {
    width: 12,
    height: 10,
    rgb: new Uint8Array(12 * 10 * 3).fill(9),
    ids: new Uint16Array(12 * 10),
  };
  const covered = drawSprite(target, new Sprite(size, rgba), { x: 6, y: 5, scale: 8, id: 3 });
  assert.equal(covered, 64);
  for (let y = 0; y < 10; y++) {
    for (let x = 0; x < 12; x++) {
      const inside = x >= 2 && x < 10 && y >= 1 && y < 9;
      assert.equal(target.ids![y * 12 + x], inside ? 3 : 0);
      for (let c = 0; c < 3; c++) {
        const want = inside ? rgba[((y - 1) * size + x - 2) * 4 + c] : 9;
        assert.equal(target.rgb[(y * 12 + x) * 3 + c], want);
      }
    }
  }
});

Deno.test("composite: any placement stays inside, and counts what it marks", () => {
  const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  fc.assert(fc.property(
    fc.record({
      x: number(-40, 80),
      y: number(-40, 80),
      scale: number(0.5, 90),
      rotation: number(-7, 7),
      flip: fc.boolean(),
      hue: number(-1, 1),
      brightness: number(0, 2),
      contrast: number(0, 2),
      shadow: fc.record({ dx: number(-9, 9), dy: number(-9, 9), strength: number(0, 1) }),
    }),
    (placement) => {
      const target: Canvas = {
        width: 40,
        height: 31,
        rgb: new Uint8Array(40 * 31 * 3).fill(100),
        ids: new Uint16Array(40 * 31),
      };
      const covered = drawSprite(target, shapes.sprite(2, "noto"), { ...placement, id: 9 });
      assert.equal(target.ids!.filter((id) => id === 9).length, covered);
      assert.ok(target.ids!.every((id) => id === 0 || id === 9));
    },
  ));
  const target = { width: 4, height: 4, rgb: new Uint8Array(48) };
  assert.throws(() => drawSprite(target, shapes.sprite(0, "noto"), { x: 1, y: 1, scale: 0 }), {
    code: "OPTION",
  });
});

const sceneOptions = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  size: fc.constantFrom(32, 77, 128, 160),
  categories: fc.constantFrom([5], [10, 900, 20, 30], loadSplits().seen),
  others: fc.constantFrom<number[][]>([], [1, 2, 3], [77]),
  othersShare: fc.constantFrom(0, 0.15, 1),
  styles: fc.constantFrom(trainingStyles, [heldOutStyle] as const),
}) satisfies fc.Arbitrary<SceneOptions>;

Deno.test("scenes: labels, ids, segments and vocabulary agree exactly", () => {
  fc.assert(
    fc.property(sceneOptions, (options) => {
      const scene = renderScene({ ...options, sprites: shapes });
      const { width, height, segments, segmentIds, labels } = scene;
      const vocabulary = sceneVocabulary(options.categories);
      assert.deepEqual([width, height], [options.size, options.size]);
      assert.equal(segmentIds.length, width * height);
      assert.equal(labels.length, width * height);
      assert.equal(scene.rgb.length, width * height * 3);
      const byId = new Map(segments.map((segment) => [segment.id, segment]));
      assert.equal(byId.size, segments.length);
      const area = new Map<number, number>();
      const box = new Map<number, [number, number, number, number]>();
      for (let i = 0; i < segmentIds.length; i++) {
        const id = segmentIds[i]!;
        const segment = byId.get(id)!;
        assert.ok(segment, `pixel ${i} has an id without a segment`);
        assert.equal(labels[i], segment.label);
        area.set(id, (area.get(id) ?? 0) + 1);
        const [x, y] = [i % width, Math.floor(i / width)];
        const b = box.get(id) ?? [x, y, x, y];
        box.set(id, [Math.min(b[0], x), Math.min(b[1], y), Math.max(b[2], x), Math.max(b[3], y)]);
      }
      let objects = 0;
      for (const segment of segments) {
        const { id, label, category, categoryIndex, kind } = segment;
        assert.equal(segment.area, area.get(id));
        const [left, top, right, bottom] = box.get(id)!;
        assert.deepEqual(segment.box, {
          x: left,
          y: top,
          width: right - left + 1,
          height: bottom - top + 1,
        });
        assert.equal(category, vocabulary[label]);
        if (kind !== "stuff") objects++;
        if (kind === "thing") assert.equal(options.categories[label], categoryIndex);
        if (kind === "stuff") assert.equal(categoryIndex, -1);
        if (kind === "others") {
          assert.ok(options.others.includes(categoryIndex));
          assert.equal(label, vocabulary.length - 1);
        }
      }
      assert.ok(objects >= 2 && objects <= 8, `${objects} objects`);
      const stuff = segments.filter(({ kind }) => kind === "stuff").map(({ label }) => label);
      assert.equal(new Set(stuff).size, stuff.length);
    }),
    { numRuns: 60 },
  );
});

Deno.test("scenes: same seed, same bytes, whatever was rendered between; committed bytes", () => {
  fc.assert(
    fc.property(sceneOptions, fc.nat(), (options, other) => {
      const first = hash(bytesOf(renderScene({ ...options, sprites: shapes })));
      renderScene({ ...options, seed: other, sprites: shapes });
      const again = renderScene({ ...options, sprites: new ShapeSprites() });
      assert.equal(hash(bytesOf(again)), first);
    }),
    { numRuns: 10 },
  );
  const scene = renderScene({ seed: 42, categories: [10, 900, 20, 30], sprites: shapes });
  assert.equal(hash(scene.rgb), "8599bb80");
  assert.equal(hash(new Uint8Array(scene.segmentIds.buffer)), "b8730b37");
});

Deno.test("scenes: without others, or with a share of 0, none; with a share of 1, nothing else", () => {
  for (let seed = 0; seed < 20; seed++) {
    const kinds = (options: Partial<SceneOptions>) =>
      new Set(
        renderScene({ seed, categories: [5, 6, 7], size: 64, ...options, sprites: shapes })
          .segments.map(({ kind }) => kind),
      );
    assert.ok(!kinds({}).has("others"));
    assert.ok(!kinds({ others: [1, 2], othersShare: 0 }).has("others"));
    assert.ok(!kinds({ others: [1, 2], othersShare: 1 }).has("thing"));
  }
});

Deno.test("scenes: on demand and from a full store are the same scene", async () => {
  const options = { seed: 11, categories: loadSplits().seen, styles: ["twemoji"] as const };
  const store = SpriteStore.onDemand();
  const scene = await renderSceneOnDemand(options, store);
  assert.deepEqual(renderScene({ ...options, sprites: store }), scene);
});

Deno.test("scenes: bad options are named", () => {
  const base = { seed: 0, categories: [1, 2] };
  const cases: [Partial<SceneOptions>, RegExp][] = [
    [{ size: 31 }, /size 31/],
    [{ size: 128.5 }, /size 128.5/],
    [{ categories: [] }, /categories/],
    [{ styles: [] }, /styles/],
    [{ othersShare: 1.5 }, /othersShare 1.5/],
    [{ othersShare: NaN }, /othersShare NaN/],
    [{ categories: [123456] }, /123456/],
    [{ others: [1], othersShare: 1 }, /in the vocabulary as well/],
  ];
  for (const [wrong, message] of cases) {
    assert.throws(
      () => planScene({ ...base, ...wrong }),
      (error) => error instanceof OptionError && message.test(error.message),
    );
  }
  const blank = { sprite: () => new Sprite(8, new Uint8Array(8 * 8 * 4)) };
  assert.throws(() => renderScene({ ...base, size: 32, sprites: blank }), OptionError);
});

Deno.test("splits: 159 seen emoji and 12 textures make 171 distinct names", () => {
  const { seen } = loadSplits();
  assert.equal(seen.length, 159);
  assert.deepEqual(seen, chooseSeen(), "splits.json is what the seed draws");
  const names = seenNames();
  assert.equal(new Set(names).size, 171);
  const distinct = new Set(distinctCategories().map(({ index }) => index));
  assert.ok(seen.every((index) => distinct.has(index)));
});

Deno.test("splits: near and far, once chosen, are disjoint and full; before that, an error", async () => {
  const url = new URL("../../../plugins/datasets/emoji_scenes/splits.json", import.meta.url);
  const { near, far } = JSON.parse(await readFile(url, "utf8"));
  const splits = loadSplits();
  if (near.length === 0) {
    assert.throws(() => splits.near, (e) => e instanceof InputError && /"near"/.test(e.message));
    assert.throws(() => splits.others, InputError);
  } else {
    assert.deepEqual([near.length, far.length], [150, 286]);
    const all = [...splits.seen, ...splits.near, ...splits.far, ...splits.others];
    assert.equal(new Set(all).size, all.length);
    assert.equal(all.length, distinctCategories().length);
  }
});

Deno.test("splits: far and near as defined, on random embeddings", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.double({ min: 0.5, max: 1, noNaN: true }),
      async (seed, same) => {
        const rng = new Rng(seed);
        const [count, dimensions] = [60, 5];
        const names = Array.from({ length: count }, (_, i) => `c${i}`);
        const rows = float32(
          [count, dimensions],
          Float32Array.from({ length: count * dimensions }, () => rng.uniform(-1, 1)),
        );
        const all = new CosineRows(rows);
        const cosine = (a: string, b: string) =>
          all.cosine(Number(a.slice(1)), all, Number(b.slice(1)));
        const seen = names.slice(0, 10);
        const options = { near: 5, far: 6, sameMeaning: same };
        let chosen;
        try {
          chosen = await chooseNearAndFar(names, seen, rows, options);
        } catch (error) {
          // Where too many names mean the same, it says so.
          return assert.ok(error instanceof InputError && /sameMeaning/.test(error.message));
        }
        const { near, far } = chosen;
        const similarity = (name: string) => Math.max(...seen.map((s) => cosine(name, s)));
        const both = [...near, ...far];
        assert.deepEqual([near.length, far.length], [5, 6]);
        assert.equal(new Set([...both, ...seen]).size, 21);
        both.forEach((a, i) => both.slice(0, i).forEach((b) => assert.ok(cosine(a, b) < same)));
        assert.ok(near.every((name) => similarity(name) < same));
        // The least similar candidate of all is far.
        const least = Math.min(...names.slice(10).map(similarity));
        assert.equal(similarity(far[0]!), least);
        const rising = far.map(similarity);
        assert.deepEqual(rising, [...rising].sort((a, b) => a - b));
        const falling = near.map(similarity);
        assert.deepEqual(falling, [...falling].sort((a, b) => b - a));
      },
    ),
    { numRuns: 50 },
  );
  await assert.rejects(chooseNearAndFar(["a"], [], float32([3, 1])), ShapeError);
  await assert.rejects(chooseNearAndFar(["a"], ["b"], float32([1, 2])), InputError);
});

Deno.test("splits: one command chooses them anew by the shipped text encoder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ovstage-splits-"));
  try {
    const script = new URL(
      "../../../plugins/datasets/emoji_scenes/choose_splits.ts",
      import.meta.url,
    );
    const out = join(folder, "splits.json");
    const run = (...args: string[]) =>
      new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) =>
        execFile(
          process.execPath,
          ["run", "-A", "--quiet", fileURLToPath(script), ...args, "--out", out],
          (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }),
        )
      );
    const strict = await run("--same", "0.5");
    assert.equal(strict.code, 2);
    assert.match(
      strict.stderr,
      /only \d+ of (286 far|150 near) categories .*; --same 0\.\d+ leaves enough\n$/,
    );
    assert.deepEqual(await readdir(folder), []);
    const { code, stdout, stderr } = await run();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^near: 150 categories.*\nfar: 286 categories/);
    const { seed, seen, near, far } = JSON.parse(await readFile(out, "utf8"));
    const universe = emojiUniverse();
    assert.equal(seed, 2026);
    assert.deepEqual(seen, chooseSeen().map((index) => universe[index]!.hexcode));
    assert.deepEqual([near.length, far.length], [150, 286]);
    assert.equal(new Set([...seen, ...near, ...far]).size, 159 + 150 + 286);
    const distinct = new Map(distinctCategories().map(({ hexcode, name }) => [hexcode, name]));
    assert.ok([...near, ...far].every((code) => distinct.has(code)));

    const names = [
      ...seenNames({ seen: chooseSeen() }),
      ...[...near, ...far].map((code) => distinct.get(code)!),
    ];
    const device = await acquireDevice("cpu");
    await using encoder = await openTextEncoder({
      registry: builtinRegistry(),
      device,
      models: modelSource(),
    });
    const rows = new CosineRows(await encoder.embed(names));
    const same = Number(/a cosine of ([\d.]+) on/.exec(stdout)![1]);
    const pairs = await similarPairs(rows, same);
    // Training categories may be alike; of the others, none is like another or like them.
    assert.deepEqual(pairs.filter(({ second }) => second >= 171), []);
    const similarity = names.slice(171).map((_, i) =>
      Math.max(...Array.from({ length: 171 }, (_, s) => rows.cosine(171 + i, rows, s)))
    );
    assert.ok(Math.max(...similarity.slice(150)) < Math.min(...similarity.slice(0, 150)));
    await device.dispose();
  } finally {
    await rm(folder, { recursive: true });
  }
});
