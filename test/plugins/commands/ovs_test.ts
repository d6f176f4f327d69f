import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import type { SegmentationDocument } from "../../../plugins/commands/segment_file.ts";
import { type Outcome, runOvs } from "./run_ovs.ts";
import { writeTinyModels } from "./tiny_models.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-cli-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
const at = (...path: string[]) => join(dir, ...path);

const ovs = (...args: string[]) => runOvs(dir, ...args);

let models: string | undefined;
/** Segments with small models of random weights on the CPU. */
function segment(...args: string[]): Promise<Outcome> {
  if (models === undefined) writeTinyModels(models = at("models"));
  return ovs("segment", ...args, "--models", models, "--device", "cpu");
}

const scene = () => {
  const pixels = Uint8Array.from({ length: 37 * 23 * 3 }, (_, i) => (i * i * 7) % 253);
  return sharp(pixels, { raw: { width: 37, height: 23, channels: 3 } });
};
const png = await scene().png().toBuffer();
writeFileSync(at("scene.png"), png);
writeFileSync(at("notes.png"), "a text, whatever its name says\n");
writeFileSync(at("short.png"), png.subarray(0, 300));
writeFileSync(at("empty.png"), "");
mkdirSync(at("folder.png"));
writeFileSync(at("gap.txt"), "dog\n\nguitar\n");
writeFileSync(at("latin1.txt"), new Uint8Array([0x64, 0xf6, 0x67]));
writeFileSync(at("broken.json"), '{"version": 1,');
writeFileSync(at("order.json"), '{"version":1,"stages":[{"role":"fuser","name":"gfa"}]}');
writeFileSync(at("unknown.json"), '{"version":1,"stages":[{"role":"fuser","name":"gfaa"}]}');
writeFileSync(at("no_plugin.ts"), "export const nothing = 1;\n");
const dogs = ["--classes", "dog, guitar, slice of pizza"];

const refused: [what: string, args: string[], message: RegExp][] = [
  ["a missing file", ["gone.png", ...dogs], /^ovs: gone\.png: no such file/],
  ["a directory", ["folder.png", ...dogs], /folder\.png: is a folder; name an image file/],
  ["a text file named .png", ["notes.png", ...dogs], /notes\.png: is not a PNG, JPEG or WebP/],
  ["a PNG cut short", ["short.png", ...dogs], /short\.png: the PNG data is cut short/],
  ["an empty file", ["empty.png", ...dogs], /empty\.png: is empty/],
  ["no classes", ["scene.png"], /no classes; name them with --classes/],
  ["an empty class list", ["scene.png", "--classes", " "], /--classes: no classes; name at least/],
  [
    "the same class twice",
    ["scene.png", "--classes", "dog, guitar,  DOG "],
    /"DOG" is there twice \(name 1 and name 3\)/,
  ],
  ["an empty class name", ["scene.png", "--classes", "dog,,cat"], /name 2 of 3 is empty/],
  ["a blank line in a class list", ["scene.png", "--classes-file", "gap.txt"], /gap\.txt: line 2/],
  ["a class list that is no UTF-8", ["scene.png", "--classes-file", "latin1.txt"], /not UTF-8/],
  ["a missing class list", ["scene.png", "--classes-file", "no.txt"], /no\.txt: no such file/],
  ["two class lists", ["scene.png", ...dogs, "--classes-file", "gap.txt"], /both given/],
  ["omega 1.5", ["scene.png", ...dogs, "--omega", "1.5"], /omega is 1\.5; .*above 0 and below 1/],
  ["omega nan", ["scene.png", ...dogs, "--omega", "nan"], /--omega nan: is no number; .*below 1/],
  ["omega 0", ["scene.png", ...dogs, "--omega", "0"], /omega is 0; .*above 0 and below 1/],
  ["omega -1", ["scene.png", ...dogs, "--omega", "-1"], /omega is -1; .*above 0 and below 1/],
  ["lambda 0", ["scene.png", ...dogs, "--lambda", "0"], /lambda is 0; .*above 0/],
  ["omega without a value", ["scene.png", ...dogs, "--omega", "--json"], /--omega needs a value/],
  ["omega where none is", ["scene.png", ...dogs, "--fuser", "mean", "--omega", "0.5"], /no option/],
  [
    "an unknown fuser",
    ["scene.png", ...dogs, "--fuser", "gfaa"],
    /unknown fuser "gfaa"; did you mean "gfa"\? known: gfa, mean, clip, query/,
  ],
  [
    "an unknown classifier",
    ["scene.png", ...dogs, "--classifier", "cosin"],
    /unknown classifier "cosin"; did you mean "cosine"\?/,
  ],
  ["an unknown device", ["scene.png", ...dogs, "--device", "gpu"], /"gpu".*auto, cpu or webgpu/],
  ["an unknown flag", ["scene.png", ...dogs, "--fusser", "gfa"], /--fusser; did you mean --fuser/],
  ["a flag twice", ["scene.png", ...dogs, ...dogs], /--classes is given twice/],
  ["two images", ["scene.png", "short.png", ...dogs], /unexpected argument "short\.png"/],
  ["no image", dogs, /IMAGE is missing/],
  [
    "an unwritable output folder",
    ["scene.png", ...dogs, "--out", join("empty.png", "results")],
    /output folder empty\.png.results: a file is in the way; choose another folder/,
  ],
  [
    "a file as output folder",
    ["scene.png", ...dogs, "--out", "empty.png"],
    /empty\.png: a file is/,
  ],
  ["a missing plugin", ["scene.png", ...dogs, "--plugin", "gone.ts"], /plugin gone\.ts: no such/],
  [
    "a module that is no plugin",
    ["scene.png", ...dogs, "--plugin", "no_plugin.ts"],
    /no_plugin\.ts: no default export/,
  ],
  ["a missing document", ["scene.png", ...dogs, "--pipeline", "gone.json"], /gone\.json: no such/],
  [
    "a broken document",
    ["scene.png", ...dogs, "--pipeline", "broken.json"],
    /broken\.json: .*no JSON/,
  ],
  [
    "a document in the wrong order",
    ["scene.png", ...dogs, "--pipeline", "order.json"],
    /order\.json: .*gfa.*needs/,
  ],
  [
    "a document with an unknown stage, which no flag is to blame for",
    ["scene.png", ...dogs, "--pipeline", "unknown.json", "--task", "panoptic"],
    /unknown\.json: unknown fuser "gfaa"; did you mean "gfa"/,
  ],
  ["models that are not there", ["scene.png", ...dogs, "--models", "folder.png"], /no such file/],
];

Deno.test("ovs segment: what can't be is refused in one line, with exit code 2", async (t) => {
  const queue = refused.map((entry) => ({ entry, outcome: null as Outcome | null }));
  let next = 0;
  // Two at a time: each is a process of its own.
  await Promise.all([1, 2].map(async () => {
    while (next < queue.length) {
      const item = queue[next++]!;
      item.outcome = await ovs("segment", ...item.entry[1]);
    }
  }));
  for (const { entry: [what, , message], outcome } of queue) {
    await t.step(what, () => {
      const { code, stdout, stderr } = outcome!;
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.match(stderr, /^ovs: [^\n]+\n$/);
      assert.equal(stdout, "");
    });
  }
  await t.step("nothing is left behind", () => {
    assert.ok(!existsSync(at("out")));
    assert.deepEqual(readdirSync(dir).filter((name) => /tmp|overlay|labels/.test(name)), []);
  });
});

Deno.test("ovs: help, version, unknown commands", async () => {
  const [help, segmentHelp, demoHelp, version, unknown] = await Promise.all([
    ovs("--help"),
    ovs("segment", "--help"),
    ovs("demo", "--help"),
    ovs("--version"),
    ovs("segmnt", "scene.png"),
  ]);
  assert.match(help.stdout, /segment +label every pixel/);
  for (
    const flag of ["--classes", "--classes-file", "--fuser", "--classifier", "--omega", "--device"]
  ) {
    assert.ok(segmentHelp.stdout.includes(flag));
  }
  const segmentFlags = segmentHelp.stdout.replace(/\s+/g, " ");
  assert.match(segmentFlags, /--lambda NUMBER [^-]+, above 0 and at most 1,000,000\./);
  assert.match(segmentFlags, /--min-score NUMBER [^-]+ from 0 to 1, /);
  assert.match(demoHelp.stdout, /--seed/);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  assert.deepEqual([help.code, segmentHelp.code, demoHelp.code, version.code], [0, 0, 0, 0]);
  assert.deepEqual([unknown.code, unknown.stdout], [2, ""]);
  assert.match(unknown.stderr, /unknown command "segmnt"; did you mean "segment"\?/);
});

/** Class indices from a palette PNG, by its colours. */
async function readLabels(path: string, document: SegmentationDocument): Promise<number[]> {
  const { data } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
  const index = new Map(document.segments.map((segment) => [segment.color, segment.index]));
  return Array.from({ length: data.length / 3 }, (_, i) => {
    const color = "#" + data.subarray(3 * i, 3 * i + 3).toString("hex");
    return color === "#000000" ? -1 : index.get(color)!;
  });
}

Deno.test("ovs segment: the three files and the JSON say the same, at the image's own size", async () => {
  const { code, stdout, stderr } = await segment("scene.png", ...dogs, "--out", "a/b", "--json");
  assert.equal(code, 0, stderr);
  assert.deepEqual(readdirSync(at("a", "b")).sort(), [
    "scene.json",
    "scene.labels.png",
    "scene.overlay.png",
  ]);
  assert.equal(readFileSync(at("a/b/scene.json"), "utf8"), stdout);
  const document = JSON.parse(stdout) as SegmentationDocument;
  assert.deepEqual(document.image, { file: "scene.png", width: 37, height: 23 });
  assert.deepEqual(document.classes, ["dog", "guitar", "slice of pizza"]);
  const labels = await readLabels(at("a/b/scene.labels.png"), document);
  const fromMasks = new Array(37 * 23).fill(-1);
  let area = document.voidArea;
  for (const { label, index, score, area: own, bbox, mask, color } of document.segments) {
    assert.equal(label, document.classes[index]);
    assert.ok(score > 0 && Number.isFinite(score));
    assert.match(color, /^#[0-9a-f]{6}$/);
    assert.deepEqual(mask.size, [23, 37]);
    assert.ok(bbox[0] >= 0 && bbox[0] + bbox[2] <= 37 && bbox[1] >= 0 && bbox[1] + bbox[3] <= 23);
    decodeRle(mask).forEach((inside, i) => {
      if (inside) fromMasks[i] = index;
    });
    area += own;
  }
  assert.equal(area, 37 * 23);
  assert.deepEqual(labels, fromMasks);
  const overlay = await sharp(at("a/b/scene.overlay.png")).metadata();
  assert.ok(overlay.width >= 37 && overlay.height > 23);
});

Deno.test("ovs segment: a table for people", async () => {
  const { code, stdout, stderr } = await segment("scene.png", ...dogs, "--out", "table");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^class +score +area\n/);
  assert.match(stdout, /(dog|guitar|slice of pizza) +\d\.\d{3} +\d+\.\d %/);
  assert.match(stdout, /scene\.png: 37×23 pixels, 3 classes, \d+ ms\ndevice: CPU/);
  assert.match(stdout, /wrote scene\.overlay\.png, scene\.labels\.png, scene\.json to table\n$/);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stdout, /\x1b/);
  const one = await segment("scene.png", "--classes", "dog", "--out", "table");
  assert.match(one.stdout, /37×23 pixels, 1 class, \d+ ms\n/);
});

Deno.test("ovs segment: EXIF orientation counts", async () => {
  await scene().withMetadata({ orientation: 6 }).jpeg().toFile(at("turned.jpg"));
  const { code, stdout, stderr } = await segment("turned.jpg", ...dogs, "--json");
  assert.equal(code, 0, stderr);
  const { image } = JSON.parse(stdout) as SegmentationDocument;
  assert.deepEqual([image.width, image.height], [23, 37]);
  const { width, height } = await sharp(at("out/turned.labels.png")).metadata();
  assert.deepEqual([width, height], [23, 37]);
});

Deno.test("ovs segment: one pixel; emoji, Chinese and commands for terminals as names", async () => {
  await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } }).png()
    .toFile(at("dot.png"));
  const names = ["狗", "🍕", "한국어", "café", "\x1b[31mred", "مرحبا", "👨‍👩‍👧"];
  const { code, stdout, stderr } = await segment("dot.png", "--classes", names.join(", "));
  assert.equal(code, 0, stderr);
  const document: SegmentationDocument = JSON.parse(readFileSync(at("out/dot.json"), "utf8"));
  assert.deepEqual(document.classes, names);
  assert.equal(document.segments.reduce((sum, { area }) => sum + area, document.voidArea), 1);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stdout, /\x1b/);
});

Deno.test("ovs segment: 20,000 classes, and then 16-bit labels", async () => {
  const names = Array.from({ length: 20000 }, (_, i) => `thing ${i}`);
  writeFileSync(at("many.txt"), names.join("\r\n") + "\r\n\r\n");
  const { code, stdout, stderr } = await segment(
    "scene.png",
    "--classes-file",
    "many.txt",
    "--out",
    "many",
    "--json",
  );
  assert.equal(code, 0, stderr);
  const document = JSON.parse(stdout) as SegmentationDocument;
  assert.deepEqual([document.classes.length, document.voidValue], [20000, 65535]);
  const { data } = await sharp(at("many/scene.labels.png")).toColourspace("grey16")
    .raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
  const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
  for (const { index, mask } of document.segments) {
    decodeRle(mask).forEach((inside, i) => {
      if (inside) assert.equal(values[i], index);
    });
  }
});

Deno.test("ovs segment: every fuser, and one from outside", async () => {
  writeFileSync(
    at("first.ts"),
    `export default {
  role: "fuser",
  name: "first",
  description: "what the image says, and nothing else",
  needs: ["pooled"],
  gives: ["fused"],
  options: {},
  create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }),
};
`,
  );
  const masks = new Map<string, string>();
  for (const fuser of ["gfa", "mean", "clip", "query", "first"]) {
    const { code, stdout, stderr } = await segment(
      "scene.png",
      ...dogs,
      "--json",
      "--fuser",
      fuser,
      ...(fuser === "first" ? ["--plugin", "first.ts"] : []),
    );
    assert.equal(code, 0, stderr);
    masks.set(fuser, JSON.stringify((JSON.parse(stdout) as SegmentationDocument).segments));
  }
  assert.equal(masks.get("first"), masks.get("clip"));
  assert.notEqual(masks.get("query"), masks.get("clip"));
});

Deno.test("ovs segment: another classifier, unless it lacks what it has to know", async () => {
  const by = (classifier: string) =>
    segment("scene.png", ...dogs, "--json", "--classifier", classifier);
  const found: string[] = [];
  for (const classifier of ["query_void", "cosine"]) {
    const { code, stdout, stderr } = await by(classifier);
    assert.equal(code, 0, stderr);
    found.push(JSON.stringify((JSON.parse(stdout) as SegmentationDocument).segments));
  }
  assert.notEqual(found[0], found[1]);
  const { code, stderr } = await by("geometric_ensemble");
  assert.equal(code, 2);
  assert.match(stderr, /has to know which categories the decoder was trained on/);
});

Deno.test("ovs segment: a file that can't be replaced leaves no other behind", async () => {
  mkdirSync(at("taken", "scene.json"), { recursive: true });
  const { code, stderr } = await segment("scene.png", ...dogs, "--out", "taken");
  assert.equal(code, 2);
  assert.match(stderr, /^ovs: taken.scene\.json: a folder of that name is in the way\n$/);
  assert.deepEqual(readdirSync(at("taken")), ["scene.json"]);
});

Deno.test("ovs segment: 8000×6000 pixels", async () => {
  await sharp({ create: { width: 8000, height: 6000, channels: 3, background: "#346" } })
    .png({ compressionLevel: 1 }).toFile(at("huge.png"));
  const names = Array.from({ length: 20 }, (_, i) => `thing ${i}`).join(",");
  const { code, stdout, stderr } = await segment("huge.png", "--classes", names, "--json");
  assert.equal(code, 0, stderr);
  const { image, segments, voidArea } = JSON.parse(stdout) as SegmentationDocument;
  assert.deepEqual([image.width, image.height], [8000, 6000]);
  assert.equal(segments.reduce((sum, { area }) => sum + area, voidArea), 48_000_000);
  const { width, height } = await sharp(at("out/huge.labels.png")).metadata();
  assert.deepEqual([width, height], [8000, 6000]);
});

Deno.test("ovs demo: the shipped models segment an unseen scene", async () => {
  const { code, stdout, stderr } = await ovs("demo", "--device", "cpu", "--out", "demo");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\nmIoU \d+\.\d over \d+ classes, \d+ ms\n$/);
  assert.deepEqual(readdirSync(at("demo")).sort(), [
    "scene.comparison.png",
    "scene.json",
    "scene.labels.png",
    "scene.overlay.png",
    "scene.png",
  ]);
  // The file that was written is segmented like any other.
  const again = await ovs("segment", "demo/scene.png", "--classes", "dog, guitar", "--json");
  assert.equal(again.code, 0, again.stderr);
});

Deno.test("ovs demo: seeds that training uses, and sizes out of range, are refused", async () => {
  const [low, high, size] = await Promise.all([
    ovs("demo", "--seed", "2147483647"),
    ovs("demo", "--seed", "4294967296"),
    ovs("demo", "--size", "0"),
  ]);
  for (const { code, stderr } of [low, high, size]) {
    assert.equal(code, 2);
    assert.match(stderr, /^ovs: --(seed|size) \d+: it must be a whole number from \d+ to \d+\n$/);
  }
});
