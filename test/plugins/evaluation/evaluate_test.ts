import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { ConfusionMatrix } from "../../../lib/metrics/confusion_matrix.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { normalizeText } from "../../../lib/text/bpe.ts";
import { drawDistractors } from "../../../plugins/evaluation/distractors.ts";
import { evaluate, type EvaluateOptions } from "../../../plugins/evaluation/evaluate.ts";
import { mergeEvaluations } from "../../../plugins/evaluation/merge.ts";
import type { SemanticFigures } from "../../../plugins/evaluation/result.ts";
import {
  filesOf,
  type Runs,
  tinyDataset,
  tinyIdentity,
  tinyNames,
  tinyPipeline,
} from "./tiny_run.ts";

const root = mkdtempSync(join(tmpdir(), "ovs-evaluate-"));
globalThis.addEventListener("unload", () => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = () => join(root, String(folders++));
const words = Array.from({ length: 60 }, (_, i) => `word ${i}`);
const distractors = { counts: [5, 40], names: words, seed: 3 };

/** Evaluates the tiny data set into a folder. */
async function run(
  path: string,
  options: EvaluateOptions & { omega?: number; length?: number } = {},
  resume = false,
) {
  const { omega, length, ...rest } = options;
  return await evaluate(tinyPipeline(), tinyDataset(length === undefined ? {} : { length }), {
    folder: { path, pipeline: tinyIdentity(omega), resume },
    pictures: 1,
    ...rest,
  });
}

Deno.test("evaluate: the figures are those of one confusion matrix over all images", async () => {
  for (const others of [null, 3]) {
    const dataset = tinyDataset({ others });
    const { result, timing } = await evaluate(tinyPipeline(), dataset);
    const matrix = new ConfusionMatrix(4, { ignoreLabel: -1 });
    for (let i = 0; i < dataset.length; i++) {
      const { image, labels } = await dataset.read(i);
      using given = await tinyPipeline().run({
        image,
        vocabulary: vocabulary(dataset.classes.map(({ name }) => name)),
      }, { outputs: ["segmentation"] });
      const predicted = await given.outputs.segmentation.labels.read();
      matrix.add(labels, predicted.map((label) => label < 0 ? others ?? -1 : label));
    }
    const without = others === null ? [] : [others];
    assert.ok(result.task === "semantic" && "mIoU" in result);
    assert.equal(result.mIoU, 100 * matrix.meanIou({ without }));
    assert.equal(result.pixelAccuracy, 100 * matrix.pixelAccuracy({ without }));
    assert.deepEqual(result.classes.map(({ score }) => score), matrix.iou().map((x) => 100 * x));
    assert.equal(result.images, 11);
    assert.equal(timing.images, 11);
  }
});

Deno.test("evaluate: a run that is interrupted anywhere ends with the same bytes", async () => {
  const whole = newFolder();
  await run(whole, { distractors });
  assert.deepEqual(
    Object.keys(filesOf(whole)).filter((name) => !name.includes("pictures")),
    ["/images.jsonl", "/result.json", "/run.json"],
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 10 }), fc.nat(200), async (stopAt, torn) => {
      const path = newFolder();
      const stop = new AbortController();
      const dataset = tinyDataset({ onRead: (index) => index === stopAt && stop.abort() });
      const options = { pictures: 1, distractors };
      const folder = { path, pipeline: tinyIdentity() };
      await assert.rejects(
        evaluate(tinyPipeline(), dataset, { ...options, folder, signal: stop.signal }),
        { name: "AbortError" },
      );
      // A kill in the midst of writing leaves the beginning of a line.
      const lines = readFileSync(join(whole, "images.jsonl"), "utf8").split("\n");
      appendFileSync(join(path, "images.jsonl"), lines[stopAt]!.slice(0, torn % 80));
      const runs: Runs = {};
      await evaluate(tinyPipeline(runs), tinyDataset(), {
        ...options,
        folder: { ...folder, resume: true },
      });
      assert.deepEqual(filesOf(path), filesOf(whole));
      assert.ok((runs["image"] ?? 0) <= 11 - Math.max(0, stopAt - 1));
    }),
    { numRuns: 5 },
  );
});

Deno.test("evaluate: what a kill leaves, lines without pictures, ends with the same bytes", async () => {
  const whole = newFolder();
  await run(whole, { distractors });
  const lines = readFileSync(join(whole, "images.jsonl"), "utf8").split("\n");
  for (const killedAt of [1, 6, 11]) {
    const path = newFolder();
    mkdirSync(path);
    cpSync(join(whole, "run.json"), join(path, "run.json"));
    writeFileSync(join(path, "images.jsonl"), lines.slice(0, killedAt).join("\n") + "\n");
    // Pictures in the midst of being written, of an image that will be shown and of another one.
    const [best] = JSON.parse(readFileSync(join(whole, "result.json"), "utf8")).best;
    const name = String(best.index).padStart(6, "0");
    mkdirSync(join(path, "pictures"));
    cpSync(
      join(whole, "pictures", `${name}.image.webp`),
      join(path, "pictures", `${name}.image.webp`),
    );
    for (const torn of [`${name}.truth.webp.tmp`, "000999.image.webp.tmp"]) {
      writeFileSync(join(path, "pictures", torn), "half");
    }
    await run(path, { distractors }, true);
    assert.deepEqual(filesOf(path), filesOf(whole));
  }
});

Deno.test("evaluate: a folder with anything else in it is refused, and keeps it", async () => {
  const path = newFolder();
  mkdirSync(join(path, "pictures"), { recursive: true });
  writeFileSync(join(path, "pictures", "holiday.jpg"), "mine");
  const before = filesOf(path);
  const foreign = /holds "pictures" and is no folder of an evaluation; choose another one/;
  for (const resume of [false, true]) await assert.rejects(run(path, {}, resume), foreign);
  const shard = newFolder();
  await run(shard, { shard: { index: 0, count: 1 } });
  await assert.rejects(mergeEvaluations([shard], path), foreign);
  assert.deepEqual(filesOf(path), before);
});

Deno.test("evaluate: a second run in the folder is refused while the first is under way", async () => {
  const path = newFolder();
  let second: Promise<void> | undefined;
  const dataset = tinyDataset({
    onRead(index) {
      if (index === 3) {
        second = assert.rejects(run(path, {}, true), /process \d+ works there; wait/);
      }
    },
  });
  const folder = { path, pipeline: tinyIdentity() };
  await evaluate(tinyPipeline(), dataset, { folder, pictures: 1 });
  assert.ok(second !== undefined);
  await second;
  const whole = newFolder();
  await run(whole);
  assert.deepEqual(filesOf(path), filesOf(whole));
});

Deno.test("evaluate: what is shown at the end is the result", async () => {
  const shown: (number | null)[] = [];
  const { result } = await evaluate(tinyPipeline(), tinyDataset(), {
    onProgress: ({ score }) => shown.push(score),
  });
  assert.ok("mIoU" in result);
  assert.equal(shown.at(-1), result.mIoU);
});

Deno.test("evaluate: another run in the folder is refused, and it is said where they differ", async () => {
  const path = newFolder();
  await run(path, { limit: 5 });
  const other =
    /is another evaluation: pipeline\.document\.stages\[0\]\.options\.omega is 0\.5 there and 0\.25 here/;
  await assert.rejects(run(path, { limit: 5, omega: 0.25 }, true), other);
  await assert.rejects(run(path, { limit: 5, omega: 0.25 }), other);
  await assert.rejects(run(path, { limit: 6 }, true), /dataset\.images is 5 there and 6 here/);
  await assert.rejects(run(path, { length: 12, limit: 5 }, true), /dataset\.fingerprint is "/);
  await assert.rejects(run(path, { limit: 5, distractors }, true), /distractors is null there/);
  await assert.rejects(run(path, { limit: 5, trained: ["dog"] }, true), /trained is null there/);
  const before = filesOf(path);
  await run(path, { limit: 5 }, true);
  await run(path, { limit: 5 });
  assert.deepEqual(filesOf(path), before);
  // A part of a run is not thrown away unasked.
  rmSync(join(path, "result.json"));
  await assert.rejects(
    run(path, { limit: 5 }),
    /holds a part of this evaluation; go on with --res/,
  );
});

Deno.test("evaluate: a damaged folder is refused by name", async () => {
  const path = newFolder();
  await run(path);
  const lines = readFileSync(join(path, "images.jsonl"), "utf8").split("\n");
  const write = (changed: readonly string[]) =>
    writeFileSync(join(path, "images.jsonl"), changed.join("\n"));
  write(lines.with(3, lines[3]!.slice(5)));
  await assert.rejects(run(path, {}, true), /images\.jsonl: line 4 is damaged; it is no JSON/);
  write([...lines.slice(0, 2), ...lines.slice(3)]);
  await assert.rejects(run(path, {}, true), /line 3 is damaged; it isn't that of image 2/);
  write(lines.with(1, lines[1]!.replace("image 1", "image 7")));
  await assert.rejects(run(path, {}, true), /image 1 is ".*image 7\.png" there, and ".*image 1\.p/);
  write(lines.with(1, lines[1]!.replace(/\[\[\d+/, "[[99")));
  await assert.rejects(run(path, {}, true), /image 1 \(.*\): its line in images\.jsonl is damaged/);
  writeFileSync(join(path, "run.json"), "{");
  await assert.rejects(run(path, {}, true), /run\.json: is damaged/);
});

Deno.test("evaluate: shards in any order merge to the files of the undivided run", async () => {
  const options = { distractors, limit: 10 };
  const whole = newFolder();
  await run(whole, options);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.infiniteStream(fc.nat()), async (
      count,
      keys,
    ) => {
      const shards: { path: string; key: number }[] = [];
      for (let index = 0; index < count; index++) {
        const path = newFolder();
        const { result } = await run(path, { ...options, shard: { index, count } });
        assert.equal(result.shard, `${index}/${count}`);
        shards.push({ path, key: keys.next().value as number });
      }
      const out = newFolder();
      shards.sort((a, b) => a.key - b.key);
      await mergeEvaluations(shards.map(({ path }) => path), out);
      assert.deepEqual(filesOf(out), filesOf(whole));
      // Cut off before its end, a merge is simply done again.
      rmSync(join(out, "result.json"));
      await mergeEvaluations(shards.map(({ path }) => path), out);
      assert.deepEqual(filesOf(out), filesOf(whole));
    }),
    { numRuns: 3 },
  );
});

Deno.test("evaluate: shards that don't belong together are refused by name", async () => {
  const shard = async (index: number, count: number, options: object = {}) => {
    const path = newFolder();
    await run(path, { ...options, shard: { index, count } });
    return path;
  };
  const [a, b, c] = [await shard(0, 3), await shard(1, 3), await shard(2, 3)];
  const merge = (...paths: string[]) => mergeEvaluations(paths, newFolder());
  await assert.rejects(
    merge(a, c),
    /^InputError: shard 1\/3 is missing; name the folders of all 3/,
  );
  await assert.rejects(merge(b), /shards 0\/3, 2\/3 are missing/);
  await assert.rejects(merge(a, b, c, b), /shard 1\/3 is there twice: /);
  await assert.rejects(merge(a, await shard(1, 2)), /is shard 1\/2, and .* is 0\/3/);
  await assert.rejects(
    merge(a, b, await shard(2, 3, { omega: 0.1 })),
    /of another run than .*omega is 0\.1 there and 0\.5 here/,
  );
  await assert.rejects(merge(a, b, await shard(2, 3, { limit: 9 })), /images is 9 there and 11/);
  const whole = newFolder();
  await run(whole);
  await assert.rejects(merge(a, b, whole), /is no shard; it was made without --shard/);
  await assert.rejects(merge(a, b, newFolder()), /holds no evaluation; there is no run\.json/);
  await assert.rejects(mergeEvaluations([], newFolder()), /no shards/);
  await assert.rejects(mergeEvaluations([a, b, c], a), /is another evaluation: shard/);
  for (const path of [a, b, c]) rmSync(join(path, "pictures"), { recursive: true });
  await assert.rejects(
    merge(a, b, c),
    /the pictures of image \d+ are missing; run the shard again/,
  );
  for (const [index, path] of [a, b, c].entries()) {
    await run(path, { shard: { index, count: 3 } }, true);
  }
  await merge(a, b, c);
  const lines = readFileSync(join(c, "images.jsonl"), "utf8").split("\n");
  writeFileSync(join(c, "images.jsonl"), lines.slice(0, 2).join("\n") + "\n");
  await assert.rejects(merge(a, b, c), /shard 2\/3 isn't finished: 2 of 3 images/);
});

Deno.test("evaluate: options outside their domain, and data that doesn't fit", async () => {
  const dataset = tinyDataset();
  const refused = (options: EvaluateOptions, message: RegExp) =>
    assert.rejects(evaluate(tinyPipeline(), dataset, options), message);
  await refused({ limit: 0 }, /limit is 0; it must be a whole number from 1/);
  await refused({ limit: 1.5 }, /limit is 1\.5/);
  await refused({ shard: { index: 2, count: 2 } }, /index 2 of 2; it must be from 0 to 1/);
  await refused({ shard: { index: 0, count: 12 } }, /11 images make no 12 shards/);
  await refused({ task: "panoptic" }, /tiny: has no truth for panoptic segmentation/);
  await refused({ task: "depth" as "semantic" }, /task "depth" is unknown/);
  await refused(
    { distractors: { counts: [61], names: words } },
    /61 are asked for, and 60 of 60 names are left/,
  );
  await refused({ distractors: { counts: [-1], names: words } }, /-1 is no whole number/);
  const change = (changes: object) => ({ ...dataset, ...changes });
  await assert.rejects(evaluate(tinyPipeline(), change({ length: 0 })), /tiny: has no image/);
  await assert.rejects(
    evaluate(tinyPipeline(), tinyDataset({ names: ["a", "a"] })),
    /tiny: class "a" is there twice/,
  );
  const read = async (index: number) => {
    const sample = await dataset.read(index);
    return index === 2 ? { ...sample, labels: sample.labels.slice(1) } : sample;
  };
  await assert.rejects(
    evaluate(tinyPipeline(), change({ read })),
    /image 2\.png: the image has 9×7 pixels, and there are 62 labels; both must be of one size/,
  );
  const wild = async (index: number) => {
    const sample = await dataset.read(index);
    return { ...sample, labels: sample.labels.with(5, 4) };
  };
  await assert.rejects(
    evaluate(tinyPipeline(), change({ read: wild })),
    /image 0\.png: pixel 5: true label 4 is neither/,
  );
});

Deno.test("evaluate: with distractors, what doesn't depend on words runs once an image", async () => {
  const runs: Runs = {};
  const notes: string[] = [];
  const { result } = await evaluate(tinyPipeline(runs), tinyDataset(), {
    distractors,
    onNote: (note) => notes.push(note),
  });
  assert.deepEqual(runs, { image: 11, text: 33, segmenter: 33 });
  assert.match(notes.join(), /once an image: image-encoder "red"; again .*: text-encoder "length"/);
  assert.deepEqual(result.distractors?.map(({ count }) => count), [0, 5, 40]);
  const alone = await evaluate(tinyPipeline(), tinyDataset());
  const { distractors: curve, ...rest } = result;
  assert.deepEqual({ ...rest, distractors: null }, alone.result);
  // The tiny pipeline takes some of them for true.
  const [none, , many] = curve as readonly { mIoU: number }[];
  assert.ok(many!.mIoU < none!.mIoU);
});

Deno.test("evaluate: the curve is over the classes in the truth, whatever else is predicted", async () => {
  // The last class is in no image, but the pipeline finds it, unless distractors take its place.
  const names = [...tinyNames, "nowhere"];
  const shown = tinyDataset();
  const classes = names.map((name) => ({ name, synonyms: [name], isThing: null }));
  const { result } = await evaluate(tinyPipeline(), { ...shown, classes }, { distractors });
  assert.ok("mIoU" in result);
  const truths = result.classes.slice(0, 4);
  const [none, ...others] = result.distractors as readonly SemanticFigures[];
  assert.equal(result.classes[4]!.score, 0);
  assert.equal(result.classesScored, 5);
  assert.deepEqual([none, ...others].map((level) => level!.classesScored), [4, 4, 4]);
  assert.equal(none!.mIoU, truths.reduce((sum, { score }) => sum + score!, 0) / 4);
  assert.equal(result.mIoU, 4 * none!.mIoU! / 5);
});

Deno.test("distractors: larger sets hold smaller ones, and never a class's name", () => {
  const name = fc.constantFrom(..."abcdefghij", "A", " b ", "a  x", "A x");
  fc.assert(fc.property(
    fc.array(fc.record({ name, synonyms: fc.array(name) }), { maxLength: 4 }),
    fc.array(name, { maxLength: 14 }),
    fc.nat(20),
    fc.nat(20),
    fc.nat(),
    (classes, names, few, more, seed) => {
      const draw = (count: number) => {
        try {
          return drawDistractors(classes, { counts: [count], names, seed });
        } catch {
          return null;
        }
      };
      const [small, large] = [draw(Math.min(few, more)), draw(Math.max(few, more))];
      if (small === null) return assert.equal(large, null);
      assert.equal(small.length, Math.min(few, more));
      const keys = small.map(normalizeText);
      assert.equal(new Set(keys).size, keys.length);
      for (const { name, synonyms } of classes) {
        for (const text of [name, ...synonyms]) assert.ok(!keys.includes(normalizeText(text)));
      }
      if (large !== null) assert.deepEqual(large.slice(0, small.length), small);
    },
  ));
});
