import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type Dataset, fingerprintDataset } from "../../../lib/data/dataset.ts";
import { InputError, OutputError } from "../../../lib/errors.ts";
import { Image } from "../../../lib/image/image.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { openDataset } from "../../../plugins/datasets/open_dataset.ts";
import { chooseImages } from "../../../plugins/evaluation/choose_images.ts";
import { curate, type CurateResult } from "../../../plugins/evaluation/curate.ts";
import { readCurateConfig } from "../../../plugins/evaluation/curate_config.ts";
import {
  groupSame,
  parseMergeReview,
  updateReview,
} from "../../../plugins/evaluation/merge_review.ts";
import type { TextEmbedder } from "../../../plugins/evaluation/text_embedder.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-curate-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
let folders = 0;
const fresh = () => join(dir, String(folders++));

/** Angles in degrees: the cosine of two names is that of their difference. */
const angles: Readonly<Record<string, number>> = {
  road: 0,
  street: 10,
  lamp: 60,
  lantern: 65,
  torch: 69,
  guitar: 90,
  Guitar: 90,
  piano: 120,
  harp: 150,
  Others: 180,
};
const embedder: TextEmbedder = {
  description: "a dial",
  embed: (names) =>
    Promise.resolve(float32(
      [names.length, 2],
      Float32Array.from(names.flatMap((name) => {
        const angle = angles[name]! * Math.PI / 180;
        return [Math.cos(angle), Math.sin(angle)];
      })),
    )),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

interface FakeDataset extends Dataset {
  reads: number;
}

/** A data set of 2×2 images; labels are given per image. */
function dataset(
  name: string,
  classes: readonly (string | readonly string[])[],
  images: readonly (readonly number[])[],
  othersIndex: number | null = null,
): FakeDataset {
  const outline = {
    classes: classes.map((names) => {
      const synonyms = typeof names === "string" ? [names] : names;
      return { name: synonyms[0]!, synonyms, isThing: true };
    }),
    othersIndex,
    hasSegments: false,
    length: images.length,
    id: (i: number) => `${name}_${i}`,
  };
  return {
    ...outline,
    name,
    reads: 0,
    fingerprint: () => fingerprintDataset(outline),
    read(i) {
      this.reads++;
      const rgb = new Uint8Array(12).fill(10 * i + name.length);
      const labels = Int32Array.from(images[i]!);
      return Promise.resolve({ id: outline.id(i), image: new Image(2, 2, rgb), labels });
    },
  };
}

const first = () =>
  dataset("first", ["street", "lamp", ["guitar"], "lantern", "rest"], [
    [0, 1, 1, -1],
    [0, 0, 0, 0],
    [2, 2, 3, 4],
    [2, 2, 2, 2],
  ], 4);
const second = () => dataset("second", ["Guitar", "piano", "harp"], [[0, 1, 1, 1], [1, 1, 1, 1]]);
const training = [{ name: "road", synonyms: ["road"] }];

function configOf(out: string, changes: Record<string, unknown> = {}) {
  return readCurateConfig({
    name: "far",
    out,
    training: ["road"],
    sources: [{ dataset: "first" }, { dataset: "second" }],
    tooClose: 0.9,
    sameMeaning: 0.99,
    ...changes,
  }, "far.json");
}

const run = (
  config: ReturnType<typeof configOf>,
  sources: Dataset[] = [first(), second()],
  signal?: AbortSignal,
) => curate(config, { sources, training, embedder }, signal === undefined ? {} : { signal });

function report(result: CurateResult) {
  assert.equal(result.state, "done");
  return result.state === "done" ? result.report : assert.fail();
}

Deno.test("curate: drops, merges, maps to others, and what it writes opens as a data set", async () => {
  const out = fresh();
  const { categories, dropped, average, greatest } = report(
    await run(configOf(out, { review: { unanswered: "merge" } })),
  );
  assert.deepEqual(
    categories.map(({ name, mergedFrom, images }) => [name, mergedFrom, images]),
    [["lamp", ["lamp", "lantern"], 2], ["guitar", ["guitar"], 3], ["piano", ["piano"], 2]],
  );
  assert.deepEqual(dropped.map(({ name, reason }) => [name, reason]), [
    ["street", "too close"],
    ["harp", "no image"],
  ]);
  const cosines = [60, 90, 120].map((angle) => Math.cos(angle * Math.PI / 180));
  assert.ok(Math.abs(average - cosines.reduce((a, b) => a + b) / 3) < 1e-6);
  assert.ok(Math.abs(greatest - cosines[0]!) < 1e-6);

  const opened = await openDataset("benchmark", { path: out });
  assert.deepEqual(
    opened.classes.map(({ name, synonyms }) => [name, synonyms]),
    [["lamp", ["lamp", "lantern"]], ["guitar", ["guitar"]], ["piano", ["piano"]], [
      "others",
      ["others"],
    ]],
  );
  assert.equal(opened.othersIndex, 3);
  // The second image of the first source has nothing but street, and isn't taken.
  const ids = ["1/first_0", "1/first_2", "1/first_3", "2/second_0", "2/second_1"];
  assert.deepEqual(Array.from({ length: opened.length }, (_, i) => opened.id(i)), ids);
  const labels = await Promise.all(ids.map(async (_, i) => [...(await opened.read(i)).labels]));
  assert.deepEqual(labels, [
    [3, 0, 0, -1],
    [1, 1, 0, 3],
    [1, 1, 1, 1],
    [1, 2, 2, 2],
    [2, 2, 2, 2],
  ]);
  assert.deepEqual([...(await opened.read(1)).image.rgb], new Array(12).fill(25));
  // 16 bits, however few the classes.
  assert.equal(readFileSync(join(out, "labels", "000000.png"))[24], 16);
});

Deno.test("curate: without others, and with the farthest categories alone", async () => {
  const out = fresh();
  const config = configOf(out, {
    review: { unanswered: "separate" },
    others: false,
    categories: 2,
  });
  const { categories, dropped } = report(await run(config));
  assert.deepEqual(categories.map(({ name }) => name), ["guitar", "piano"]);
  const late = dropped.filter(({ reason }) => reason === "too many categories");
  assert.deepEqual(late.map(({ name }) => name), ["lamp", "lantern"]);
  const opened = await openDataset("benchmark", { path: out });
  assert.equal(opened.othersIndex, null);
  assert.deepEqual([...(await opened.read(0)).labels], [0, 0, -1, -1]);
});

Deno.test("curate: a category that means the same as one too close goes with it", async () => {
  const source = dataset("s", ["street", "lamp", "piano"], [[0, 1, 2, 2]]);
  const near = { ...angles, lamp: 30 };
  const dial: TextEmbedder = {
    ...embedder,
    embed: (names) =>
      Promise.resolve(float32(
        [names.length, 2],
        Float32Array.from(names.flatMap((name) => {
          const angle = near[name as keyof typeof near]! * Math.PI / 180;
          return [Math.cos(angle), Math.sin(angle)];
        })),
      )),
  };
  const config = configOf(fresh(), {
    sources: [{ dataset: "s" }],
    tooClose: 0.9,
    sameMeaning: 0.93,
    review: { unanswered: "merge" },
  });
  const result = await curate(config, { sources: [source], training, embedder: dial });
  assert.deepEqual(report(result).categories.map(({ name }) => name), ["piano"]);
});

Deno.test("curate: pairs wait for answers, and answers are kept", async () => {
  const out = fresh();
  const config = configOf(out, { sameMeaning: 0.98 });
  const asked = await run(config);
  assert.equal(asked.state, "review");
  const file = `${out}.review.json`;
  const names = () =>
    parseMergeReview(readFileSync(file, "utf8"), file).pairs
      .map(({ first, second, same }) => [first, second, same]);
  assert.deepEqual(names(), [["lamp", "lantern", null]]);
  assert.ok(!existsSync(join(out, "benchmark.json")));

  const answer = (same: unknown) => {
    const review = JSON.parse(readFileSync(file, "utf8"));
    review.pairs[0].same = same;
    writeFileSync(file, JSON.stringify(review));
  };
  answer("yes");
  await assert.rejects(
    run(config),
    /review\.json: pairs\[0\]\.same is "yes"; it must be true or false, or null/,
  );
  answer(false);
  const { categories } = report(await run(config));
  assert.deepEqual(categories.map(({ name }) => name), ["lamp", "guitar", "lantern", "piano"]);
  assert.deepEqual(names(), [["lamp", "lantern", false]]);

  // Another answer would be another benchmark: the finished one stays.
  answer(true);
  await assert.rejects(
    run(config),
    (error) =>
      error instanceof OutputError && /holds a benchmark of other categories/.test(error.message),
  );
  const other = report(await run({ ...config, out: fresh(), review: { ...config.review, file } }));
  assert.deepEqual(other.categories.map(({ name }) => name), ["lamp", "guitar", "piano"]);
});

Deno.test("curate: goes on where it was cut off, to the same bytes", async () => {
  const whole = fresh();
  const changes = { review: { unanswered: "merge" } };
  await run(configOf(whole, changes));
  const bytes = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== "curation.json")
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path.slice(folder.length), readFileSync(path, "hex")];
      }).sort(([a], [b]) => a! < b! ? -1 : 1);
  const expected = bytes(whole);
  for (let stopAt = 1; stopAt <= 11; stopAt += 2) {
    const out = fresh();
    const config = configOf(out, changes);
    const stop = new AbortController();
    let reads = 0;
    const cut = [first(), second()].map((source): Dataset => ({
      ...source,
      read(i, options) {
        if (++reads === stopAt) stop.abort(new Error("cut off"));
        return source.read(i, options);
      },
    }));
    await assert.rejects(run(config, cut, stop.signal), /cut off/);
    assert.ok(!existsSync(join(out, "benchmark.json")) || reads === 11);
    // A crash may leave half a line.
    const scan = join(out, "scan.jsonl");
    if (stopAt === 5) truncateSync(scan, readFileSync(scan).length - 5);
    const rest = [first(), second()];
    await run(config, rest);
    assert.deepEqual(bytes(out), expected);
    const again = rest[0]!.reads + rest[1]!.reads;
    assert.ok(again < 11, `${again} reads after a stop at ${stopAt}`);
    // Once it is complete nothing is read.
    const idle = [first(), second()];
    await run(config, idle);
    assert.equal(idle[0]!.reads + idle[1]!.reads, 0);
  }
});

Deno.test("curate: foreign folders and other data are left alone", async () => {
  const merge = { review: { unanswered: "merge" } };
  const foreign = fresh();
  mkdirSync(foreign);
  writeFileSync(join(foreign, "thesis.txt"), "mine");
  const refuses = async (out: string, sources: Dataset[], message: RegExp) =>
    await assert.rejects(
      run(configOf(out, merge), sources),
      (error) =>
        (error instanceof OutputError || error instanceof InputError) &&
        message.test(error.message),
      String(message),
    );
  await refuses(foreign, [first(), second()], /holds "thesis\.txt" and is no folder of ovs curate/);
  assert.deepEqual(readdirSync(foreign), ["thesis.txt"]);
  await refuses(join(foreign, "thesis.txt"), [first(), second()], /a file is in the way/);

  const out = fresh();
  await run(configOf(out, merge));
  await refuses(out, [first()], /is made from other data, first \(4 images\), second \(2 images\)/);
  const scan = join(out, "scan.jsonl");
  writeFileSync(scan, readFileSync(scan, "utf8").replace("first_0", "first_9"));
  await refuses(out, [first(), second()], /scan\.jsonl: line 1 is damaged.*"first_0"/);
  writeFileSync(join(out, "curation.json"), "{");
  await refuses(out, [first(), second()], /curation\.json: is damaged/);
  writeFileSync(join(out, "curation.json"), "{}");
  await refuses(out, [first(), second()], /was not written by this version/);
});

Deno.test("curate: what leaves nothing is said with figures", async () => {
  const merge = { review: { unanswered: "merge" } };
  await assert.rejects(
    run(configOf(fresh(), { ...merge, tooClose: -0.9 })),
    /of 6, 6 are too close to training \(similarity from -0\.9 on\); raise tooClose$/,
  );
  await assert.rejects(
    run(configOf(fresh(), { ...merge, images: { minPixels: 5 } })),
    new RegExp(
      "no category is left: of 5, 1 is too close to training \\(similarity from 0\\.9 on\\), " +
        "3 are below images\\.minPixels, 5, in every image, 1 is in no image; raise tooClose or " +
        "lower images\\.minPixels or add sources$",
    ),
  );
  await assert.rejects(
    run(configOf(fresh(), { ...merge, images: { total: 1 } })),
    /images\.total is 1; that leaves "\w+" without an image/,
  );
  const named = dataset("s", ["Others"], [[0, 0, 0, 0]]);
  await assert.rejects(
    run(configOf(fresh(), { sources: [{ dataset: "s" }] }), [named]),
    /called "Others" like the class of everything else/,
  );
});

Deno.test("curate config: errors name the field", () => {
  const good = { name: "far", out: "o", training: "voc20", sources: [{ dataset: "ade150" }] };
  const { images, tooClose } = readCurateConfig(good, "c.json");
  assert.deepEqual([images.least, images.most, tooClose], [1, null, 0.8]);
  const ade = (options: object) => ({ dataset: "ade150", options: { path: "data", ...options } });
  const same = { dataset: "a", options: { path: "./a//b/", x: 1 } };
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ sources: [] }, /c\.json: sources is \[\]; it must be a list of at least 1/],
    [
      { sources: [ade({ split: "val" }), ade({ split: "train" }), ade({})] },
      /c\.json: sources\[0\] and sources\[2\] are the same images of ade150.*list them once$/,
    ],
    [
      { sources: [{ dataset: "a", options: { x: 1, path: "a/b" } }, same] },
      /sources\[0\] and sources\[1\] are the same images of a,/,
    ],
    [{ sources: [{ dataset: 3 }] }, /sources\[0\]\.dataset is 3; it must be a string/],
    [{ training: [] }, /training is \[\]/],
    [{ tooClose: 1.5 }, /tooClose is 1\.5; it must be a finite number above -1 and at most 1/],
    [{ sameMeaning: "0.9" }, /sameMeaning is "0\.9"; it must be a finite number/],
    [{ toClose: 0.5 }, /no field toClose; did you mean "tooClose"/],
    [{ review: { unanswered: "ask" } }, /review\.unanswered is "ask"; .*stop, merge, separate/],
    [{ images: { least: 5, most: 3 } }, /images\.most is 3; it must be at least images\.least, 5/],
    [{ images: { least: 0 } }, /images\.least is 0; it must be a whole number at least 1/],
    [
      { embedding: { embeddings: "a", models: "b" } },
      /embedding\.embeddings and embedding\.models/,
    ],
    [{ categories: 0 }, /categories is 0; it must be a whole number at least 1 and .*, or null/],
    [{ name: undefined }, /name is missing/],
  ];
  for (const [change, message] of refused) {
    assert.throws(
      () => readCurateConfig({ ...good, ...change }, "c.json"),
      (error) => error instanceof InputError && message.test(error.message),
      String(message),
    );
  }
});

const presence = fc.record({
  seed: fc.integer(),
  images: fc.integer({ min: 0, max: 25 }),
  categories: fc.integer({ min: 1, max: 6 }),
  least: fc.integer({ min: 1, max: 4 }),
  spare: fc.option(fc.integer({ min: 0, max: 4 })),
  total: fc.option(fc.integer({ min: 1, max: 20 })),
});

Deno.test("choose images: enough of each where there are, never too many without need", () => {
  fc.assert(
    fc.property(presence, ({ seed, images, categories, least, spare, total }) => {
      const rng = new Rng(seed);
      const present = Array.from({ length: images }, () => {
        const all = rng.shuffle(Array.from({ length: categories }, (_, c) => c));
        return all.slice(0, rng.integer(categories + 1));
      });
      const most = spare === null ? null : least + spare;
      const options = { least, most, total, seed };
      const chosen = chooseImages(present, categories, options);
      assert.deepEqual(chosen, chooseImages(present, categories, options));
      assert.deepEqual(chosen, [...new Set(chosen)].sort((a, b) => a - b));
      assert.ok(chosen.length <= (total ?? Infinity));
      assert.ok(chosen.every((image) => present[image]!.length > 0));
      const count = (list: readonly number[], c: number) =>
        list.filter((image) => present[image]!.includes(c)).length;
      const every = present.map((_, image) => image);
      for (let c = 0; c < categories; c++) {
        const here = count(chosen, c);
        if (total === null) assert.ok(here >= Math.min(least, count(every, c)));
        if (most === null || here <= most) continue;
        // Too many only where each image is needed: some category has no more than least with it.
        const needed = chosen.some((image) =>
          present[image]!.includes(c) &&
          present[image]!.some((other) => other !== c && count(chosen, other) <= most)
        );
        assert.ok(needed, `category ${c} has ${here} of at most ${most}`);
      }
      if (total === null && most === null) {
        assert.deepEqual(chosen, every.filter((image) => present[image]!.length > 0));
      }
      // Nothing that would fit is left out.
      if (most !== null && chosen.length < (total ?? Infinity)) {
        for (const image of every) {
          if (chosen.includes(image) || present[image]!.length === 0) continue;
          assert.ok(present[image]!.some((c) => count(chosen, c) >= most));
        }
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("groups: the same as reachability, numbered by their first member", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 15 }),
      (count, raw) => {
        const pairs = raw.map(([a, b]) => [a % count, b % count] as const);
        const groups = groupSame(count, pairs);
        const label = Array.from({ length: count }, (_, i) => i);
        for (let round = 0; round < count; round++) {
          for (const [a, b] of pairs) label[a] = label[b] = Math.min(label[a]!, label[b]!);
        }
        for (let a = 0; a < count; a++) {
          for (let b = 0; b < count; b++) {
            assert.equal(groups[a] === groups[b], label[a] === label[b]);
          }
        }
        const firsts = [...groups].filter((group, i) => groups.indexOf(group) === i);
        assert.deepEqual(firsts, firsts.map((_, i) => i));
      },
    ),
  );
});

Deno.test("review: answers follow their pair, whichever name comes first; none is lost", () => {
  const pair = (first: string, second: string, same: boolean | null = null) => ({
    first,
    second,
    cosine: 0.9,
    same,
  });
  const before = {
    format: "ovstage-merge-review" as const,
    version: 1 as const,
    pairs: [pair("b", "A", true), pair("c", "d", false), pair("e", "f")],
  };
  const after = updateReview([pair("x", "y"), pair("a", "b")], before);
  assert.deepEqual(after.pairs, [pair("x", "y"), pair("a", "b", true), pair("c", "d", false)]);
  assert.deepEqual(updateReview([pair("x", "y"), pair("a", "b")], after), after);
  for (
    const [text, message] of [
      ["{", /r\.json: is no valid JSON/],
      ['{"format":"other"}', /format is "other"; it must be "ovstage-merge-review"/],
      ['{"format":"ovstage-merge-review","version":1}', /pairs is missing/],
    ] as const
  ) assert.throws(() => parseMergeReview(text, "r.json"), message);
});
