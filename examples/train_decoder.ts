/**
 * Trains a decoder on a folder of one's own: `deno run -A examples/train_decoder.ts FOLDER [STEPS]`.
 * Where the folder isn't there, it is made: pictures of shapes with their labels, in the layout of
 * detectron2.
 *
 * @module
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import {
  acquireDevice,
  encodeLabelPng,
  Image,
  openOvsnet,
  Rng,
  segments,
  vocabulary,
} from "@ovstage/ovstage";
import { trainFrom } from "@ovstage/ovstage/training";

const [folder = "shapes", steps = "300"] = process.argv.slice(2);
const classes = ["wall", "red circle", "blue square", "yellow heart"];
const colours = [[128, 128, 128], [220, 40, 40], [40, 60, 220], [240, 210, 40]] as const;

/** Whether a point, in radii from a shape's middle, is inside of it. */
const inside: ((x: number, y: number) => boolean)[] = [
  () => true,
  (x, y) => x * x + y * y < 1,
  (x, y) => Math.abs(x) < 0.9 && Math.abs(y) < 0.9,
  (x, y) => (x * x + y * y - 0.6) ** 3 < -x * x * y ** 3,
];

/** A noisy wall with three shapes on it, and the class of every pixel. */
function draw(seed: number): { image: Image; labels: Int32Array } {
  const rng = new Rng(seed);
  const size = 128;
  const labels = new Int32Array(size * size);
  for (let i = 0; i < 3; i++) {
    const label = 1 + rng.integer(3);
    const [x, y, radius] = [rng.uniform(20, 108), rng.uniform(20, 108), rng.uniform(14, 30)];
    for (let at = 0; at < labels.length; at++) {
      const [column, row] = [at % size, Math.floor(at / size)];
      if (inside[label]!((column - x) / radius, (row - y) / radius)) labels[at] = label;
    }
  }
  const rgb = new Uint8ClampedArray(3 * labels.length);
  const light = rng.uniform(0.7, 1.2);
  labels.forEach((label, at) => {
    const noise = rng.uniform(-20, 20);
    for (let c = 0; c < 3; c++) rgb[3 * at + c] = light * colours[label]![c]! + noise;
  });
  return { image: new Image(size, size, new Uint8Array(rgb.buffer)), labels };
}

if (!existsSync(folder)) {
  for (const [split, count, first] of [["train", 60, 0], ["val", 12, 1000]] as const) {
    for (const kind of ["images", "annotations"]) {
      mkdirSync(join(folder, kind, split), { recursive: true });
    }
    for (let i = 0; i < count; i++) {
      const { image: { width, height, rgb }, labels } = draw(first + i);
      await sharp(rgb, { raw: { width, height, channels: 3 } })
        .png().toFile(join(folder, "images", split, `${i}.png`));
      const png = await encodeLabelPng(labels, width, height, colours.map((c) => [...c]));
      writeFileSync(join(folder, "annotations", split, `${i}.png`), png);
    }
  }
  writeFileSync(join(folder, "classes.txt"), classes.join("\n"));
}

await trainFrom({
  stage: "ovsnet",
  out: join(folder, "run"),
  seed: 1,
  batch: 4,
  schedule: [{ kind: "cosine", steps: Number(steps), peak: 1e-3 }],
  data: { kind: "folder", path: folder, classes: join(folder, "classes.txt"), maxSegments: 8 },
  network: { numQueries: 12, width: 64, heads: 4, pixelDepth: 1, depth: 3, maskWidth: 24 },
  log: { every: Math.max(1, Math.floor(Number(steps) / 10)) },
  validation: { every: Math.ceil(Number(steps) / 3), size: 12 },
}, {
  onNote: console.log,
  onProgress({ step, record, secondsLeft }) {
    if (record === null) return;
    console.log(`step ${step}: loss ${record["loss"]}, ${Math.round(secondsLeft)} s left`);
  },
});

// The decoder is a model like any other now.
await using device = await acquireDevice("auto");
const models = pathToFileURL(join(folder, "run", "models"));
await using ovsnet = await openOvsnet({ device, models });
const { image } = draw(5000);
using result = await ovsnet.run({ image, vocabulary: vocabulary(classes) });
const { labels, scores } = result.outputs.segmentation;
const map = { width: 128, height: 128, labels: await labels.read(), scores: await scores.read() };
for (const { label, area } of segments(map, classes)) console.log(`${label}: ${area} pixels`);
