/**
 * Runs that are over in a moment: a folder of small pictures, and networks of a few channels.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { Image } from "../../../lib/image/image.ts";
import { encodeLabelPng } from "../../../lib/image/indexed_png.ts";
import type { Rgb } from "../../../lib/image/palette.ts";
import { Rng } from "../../../lib/rng.ts";
import {
  type ClipConfig,
  type OvsnetConfig,
  readTrainConfig,
  type TrainConfigInput,
} from "../../../plugins/training/train_config.ts";
import { writeTinyModels } from "../commands/tiny_models.ts";

const colours: readonly Rgb[] = [[200, 40, 40], [40, 200, 40], [40, 40, 200]];

/** The classes of {@linkcode writeTinyFolder}. */
export const tinyClasses = ["red thing", "green thing", "blue thing"];

/** A picture of coloured rectangles, and which class is where. */
export function tinyPicture(seed: number, width = 48, height = 40) {
  const rng = new Rng(seed);
  const labels = new Int32Array(width * height).fill(rng.integer(3));
  for (let i = 0; i < 2; i++) {
    const [x, y] = [rng.integer(width - 16), rng.integer(height - 16)];
    const label = rng.integer(3);
    for (let row = y; row < y + 16; row++) {
      labels.fill(label, row * width + x, row * width + x + 16);
    }
  }
  const rgb = new Uint8Array(3 * labels.length);
  labels.forEach((label, i) => rgb.set(colours[label]!, 3 * i));
  return { image: new Image(width, height, rgb), labels };
}

/** Pixels as a PNG file. */
export async function encodePng({ width, height, rgb }: Image): Promise<Uint8Array> {
  return await sharp(rgb, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

/** Writes a data set of a few pictures, in detectron2's layout or mmsegmentation's. */
export async function writeTinyFolder(
  path: string,
  [images, labels]: readonly [string, string] = ["images", "annotations"],
  counts: Readonly<Record<string, number>> = { train: 4, val: 2 },
): Promise<void> {
  for (const [split, count] of Object.entries(counts)) {
    const folders = [images, labels].map((name) => join(path, name, split)) as [string, string];
    for (const folder of folders) mkdirSync(folder, { recursive: true });
    for (let i = 0; i < count; i++) {
      const picture = tinyPicture(100 * split.length + i);
      const { width, height } = picture.image;
      writeFileSync(join(folders[0], `${i}.png`), await encodePng(picture.image));
      writeFileSync(
        join(folders[1], `${i}.png`),
        await encodeLabelPng(picture.labels, width, height, colours),
      );
    }
  }
}

/** A run of the text and image towers that takes a second. */
export function tinyClip(out: string, changes: Partial<TrainConfigInput> = {}): ClipConfig {
  return readTrainConfig({
    stage: "clip",
    out,
    seed: 1,
    batch: 1,
    schedule: [{ kind: "cosine", steps: 4, peak: 1e-3 }],
    network: {
      image: { stemWidth: 4, widths: [8, 16], depths: [1, 2] },
      text: { vocabularySize: 600, width: 16, depth: 1, heads: 2 },
      jointSize: 8,
    },
    ...changes,
  }, "tiny") as ClipConfig;
}

/** A run of the decoder on {@linkcode writeTinyFolder}'s data over random towers. */
export async function tinyOvsnet(
  root: string,
  changes: Partial<Extract<TrainConfigInput, { stage: "ovsnet" }>> = {},
): Promise<OvsnetConfig> {
  writeTinyModels(join(root, "models"));
  await writeTinyFolder(join(root, "data"));
  return readTrainConfig({
    stage: "ovsnet",
    out: join(root, "run"),
    seed: 3,
    batch: 2,
    schedule: [{ kind: "cosine", steps: 4, peak: 1e-3, warmup: 1 }],
    encoder: join(root, "models"),
    data: {
      kind: "folder",
      path: join(root, "data"),
      classes: tinyClasses,
      size: 32,
      maxSegments: 4,
    },
    network: { numQueries: 6, width: 16, heads: 2, pixelDepth: 1, depth: 2, maskWidth: 8 },
    log: { every: 1 },
    ...changes,
  }, "tiny") as OvsnetConfig;
}
