import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { OptionError, OvsError } from "../../../lib/errors.ts";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import { numberedNames } from "../../../plugins/commands/numbered_names.ts";
import { segment } from "../../../plugins/commands/segment.ts";
import type { CocoResult, InstancesDocument } from "../../../plugins/commands/segment_instances.ts";
import type { PanopticDocument } from "../../../plugins/commands/segment_panoptic.ts";
import { readThings } from "../../../plugins/commands/thing_flags.ts";
import { formatDocument } from "../../../lib/stages/document.ts";
import { ovsnetDocument } from "../../../plugins/methods/ovsnet.ts";
import { runOvs } from "./run_ovs.ts";
import { writeTinyModels } from "./tiny_models.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-tasks-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
const at = (...path: string[]) => join(dir, ...path);
const [width, height] = [41, 29];
const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 7) % 253);
await sharp(pixels, { raw: { width, height, channels: 3 } }).png().toFile(at("scene.png"));
writeTinyModels(at("models"));
const models = ["--models", at("models"), "--device", "cpu"];
const classes = ["--classes", "dog, guitar, grass, 狗"];
const run = (...args: string[]) =>
  runOvs(dir, "segment", "scene.png", ...classes, ...models, ...args);

Deno.test("ovs segment --task panoptic: PNG and JSON say the same, in COCO's format", async () => {
  const { code, stdout, stderr } = await run(
    ...["--task", "panoptic", "--stuff", "GRASS", "--out", "p", "--json"],
    ...["--object-threshold", "0", "--overlap-threshold", "0"],
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(readdirSync(at("p")).sort(), [
    "scene.json",
    "scene.overlay.png",
    "scene.panoptic.png",
  ]);
  assert.equal(readFileSync(at("p/scene.json"), "utf8"), stdout);
  const { images, categories, annotations: [annotation] } = JSON.parse(stdout) as PanopticDocument;
  assert.deepEqual(images, [{ id: 1, file_name: "scene.png", width, height }]);
  assert.deepEqual(categories, [
    { id: 1, name: "dog", isthing: 1 },
    { id: 2, name: "guitar", isthing: 1 },
    { id: 3, name: "grass", isthing: 0 },
    { id: 4, name: "狗", isthing: 1 },
  ]);
  assert.deepEqual([annotation.image_id, annotation.file_name], [1, "scene.panoptic.png"]);
  const { data, info } = await sharp(at("p", annotation.file_name)).raw()
    .toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [width, height, 3]);
  const ids = Array.from(
    { length: width * height },
    (_, i) => data[3 * i]! + 256 * data[3 * i + 1]! + 65536 * data[3 * i + 2]!,
  );
  const segments = annotation.segments_info;
  assert.ok(segments.length > 0);
  assert.deepEqual(
    new Set(ids.filter((id) => id !== 0)),
    new Set(segments.map(({ id }) => id)),
  );
  for (const { id, area, bbox: [x, y, w, h], category_id, iscrowd, score } of segments) {
    assert.equal(ids.filter((other) => other === id).length, area);
    const inside = ids.flatMap((other, i) => other === id ? [i] : []);
    const xs = inside.map((i) => i % width);
    const ys = inside.map((i) => Math.floor(i / width));
    assert.deepEqual([x, y], [Math.min(...xs), Math.min(...ys)]);
    assert.deepEqual([x + w - 1, y + h - 1], [Math.max(...xs), Math.max(...ys)]);
    assert.ok(category_id >= 1 && category_id <= 4 && iscrowd === 0 && score > 0 && score <= 1);
  }
  assert.ok(segments.filter(({ category_id }) => category_id === 3).length <= 1);
});

Deno.test("ovs segment --task panoptic: nothing is sure, so everything is void", async () => {
  const { code, stdout, stderr } = await run(
    ...["--task", "panoptic", "--object-threshold", "1", "--out", "void"],
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^segment +kind +score +area\n\(none of them\) +100\.0 %\n/);
  const { annotations, categories } = JSON.parse(
    readFileSync(at("void/scene.json"), "utf8"),
  ) as PanopticDocument;
  assert.deepEqual(annotations[0].segments_info, []);
  assert.ok(categories.every(({ isthing }) => isthing === 1));
  const { data } = await sharp(at("void/scene.panoptic.png")).raw()
    .toBuffer({ resolveWithObject: true });
  assert.ok(data.every((value) => value === 0));
});

Deno.test("ovs segment --task instance: COCO's results and annotations, things alone", async () => {
  const { code, stdout, stderr } = await run(
    ...["--task", "instance", "--things", "dog,狗", "--top-k", "9", "--out", "i"],
    ...["--min-score", "0"],
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^object +score +area\n/);
  assert.match(stdout, /wrote scene\.overlay\.png, scene\.results\.json, scene\.json to i\n$/);
  const read = (name: string) => JSON.parse(readFileSync(at("i", name), "utf8"));
  const document: InstancesDocument = read("scene.json");
  const results: CocoResult[] = read("scene.results.json");
  assert.deepEqual(document.categories.map(({ isthing }) => isthing), [1, 0, 0, 1]);
  assert.ok(results.length > 0 && results.length <= 9);
  assert.equal(stdout.match(/^(dog|狗)( \d+)? +\d\.\d{3} +/gm)!.length, results.length);
  document.annotations.forEach(({ id, area, iscrowd, ...result }, index) => {
    assert.deepEqual([id, iscrowd, result], [index + 1, 0, results[index]]);
    const { category_id, segmentation, bbox, score } = result;
    assert.ok(category_id === 1 || category_id === 4);
    assert.ok(index === 0 || score <= results[index - 1]!.score);
    assert.deepEqual(segmentation.size, [height, width]);
    const mask = decodeRle(segmentation);
    assert.equal(mask.filter((inside) => inside === 1).length, area);
    assert.ok(bbox[0] >= 0 && bbox[0] + bbox[2] <= width && bbox[2] * bbox[3] >= area);
  });
});

Deno.test("ovs segment: a document says its task; unsure objects stay out of the table alone", async () => {
  writeFileSync(at("instance.json"), formatDocument(ovsnetDocument({ task: "instance" })));
  const { code, stdout, stderr } = await run("--pipeline", "instance.json", "--min-score", "1");
  assert.equal(code, 0, stderr);
  const { length } = JSON.parse(readFileSync(at("out/scene.results.json"), "utf8"));
  assert.ok(stdout.startsWith(`object  score  area\n\n${length} more with lower scores`), stdout);
});

const things = { "--things": "dog", "--stuff": "grass" };
const refused: [what: string, args: string[], message: RegExp][] = [
  ["an unknown task", ["--task", "panoptics"], /--task "panoptics" is unknown; did you mean "pan/],
  ["stuff for semantic", ["--stuff", "grass"], /--stuff: semantic segmentation has no things/],
  [
    "stuff that is no class",
    ["--task", "panoptic", "--stuff", "gras"],
    /--stuff: "gras" is none of the 4 classes; did you mean "grass"\?/,
  ],
  [
    "a class in neither list",
    ["--task", "panoptic", ...Object.entries(things).flat()],
    /class "guitar" is neither in --things nor in --stuff/,
  ],
  ["a score out of range", ["--task", "instance", "--min-score", "2"], /--min-score 2: it must be/],
  ["a score of segments", ["--task", "panoptic", "--min-score", "0.5"], /panoptic segm.* has none/],
  [
    "a threshold of another task",
    ["--task", "instance", "--object-threshold", "0.5"],
    /--object-threshold: the segmenter "instance" has no option objectThreshold; leave it out/,
  ],
  [
    "a threshold out of range",
    ["--task", "panoptic", "--overlap-threshold", "1.5"],
    /overlapThreshold is 1\.5; it must be a finite number at least 0 and at most 1/,
  ],
  [
    "a threshold that is no number",
    ["--task", "panoptic", "--object-threshold", "high"],
    /--object-threshold high: is no number/,
  ],
  [
    "half a pair",
    ["--task", "instance", "--top-k", "1.5"],
    /topK is 1\.5; .*whole number at least/,
  ],
  [
    "a task for a pipeline without an end",
    ["--task", "panoptic", "--pipeline", at("open.json")],
    /--task panoptic: this pipeline has no segmenter to exchange; it has text-encoder/,
  ],
  [
    "a pipeline without an end",
    ["--pipeline", at("open.json")],
    /this pipeline gives no segmentation; end it with a segmenter/,
  ],
];

Deno.test("ovs segment: what the tasks refuse", async (t) => {
  writeFileSync(
    at("open.json"),
    '{"version":1,"stages":[{"role":"text-encoder","name":"onnx"}]}',
  );
  for (const [what, args, message] of refused) {
    await t.step(what, async () => {
      await assert.rejects(
        segment([at("scene.png"), ...classes, "--out", at("refused"), ...args]),
        (error) => error instanceof OvsError && message.test(error.message),
      );
    });
  }
  assert.ok(!readdirSync(dir).includes("refused"));
});

Deno.test("things and stuff: each list says what the other leaves open", () => {
  const names = ["dog", "Guitar", "grass"];
  assert.equal(readThings(names, {}), undefined);
  assert.deepEqual(readThings(names, { things: "guitar" }), [false, true, false]);
  assert.deepEqual(readThings(names, { stuff: " grass, DOG" }), [false, true, false]);
  assert.deepEqual(readThings(names, { things: "" }), [false, false, false]);
  assert.deepEqual(readThings(names, { things: "dog,guitar", stuff: "grass" }), [
    true,
    true,
    false,
  ]);
  for (
    const flags of [
      { things: "dog, dog" },
      { things: "dog", stuff: "Dog, guitar, grass" },
      { stuff: "sky" },
      { stuff: "dog,,grass" },
    ]
  ) {
    assert.throws(() => readThings(names, flags), OptionError);
  }
});

Deno.test("names of which there are several are numbered", () => {
  assert.deepEqual(numberedNames([1, 0, 1, 2], ["dog", "ear", "sky"]), [
    "ear 1",
    "dog",
    "ear 2",
    "sky",
  ]);
});
