/**
 * Images, their truth and what was predicted, as small pictures for the report.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import type { DatasetSample } from "../../lib/data/dataset.ts";
import type { Image } from "../../lib/image/image.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { classColours } from "../../lib/image/palette.ts";
import { importSharp } from "../codecs/import_sharp.ts";
import type { Json } from "../training/checkpoint.ts";
import { writeError } from "../training/run_files.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Drawing, Outputs, Task } from "./tasks/task.ts";

/** The pictures of an image. */
export const pictureKinds = ["image", "truth", "prediction"] as const;

/** The longest side of a picture; reports show them side by side. */
const mostPixels = 512;

/** Encodes an image as WebP, scaled down to at most 512 pixels. */
async function encode({ width, height, rgb }: Image): Promise<Uint8Array> {
  const sharp = await importSharp();
  const small = sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false })
    .resize({ width: mostPixels, height: mostPixels, fit: "inside", withoutEnlargement: true });
  // Few of the pictures are kept: a twentieth more bytes for a third of the time.
  return new Uint8Array(await small.webp({ quality: 90, effort: 0 }).toBuffer());
}

/**
 * Writes the pictures of an image.
 *
 * @param folder Where they go.
 * @param task Draws truth and prediction.
 * @param numClasses How many classes there are.
 * @param sample The image and its truth.
 * @param outputs What the pipeline gave.
 * @param scores What was found.
 */
export async function writePictures(
  folder: RunFolder,
  task: Task,
  numClasses: number,
  sample: DatasetSample,
  outputs: Outputs,
  scores: Json,
  index: number,
): Promise<void> {
  const colours = classColours(numClasses, task.present(scores));
  const draw = ({ labels, colours }: Drawing) => overlay(sample.image, labels, colours);
  const images: Record<(typeof pictureKinds)[number], Image> = {
    image: sample.image,
    truth: draw(task.drawTruth(sample, colours)),
    prediction: draw(await task.drawPrediction(sample, outputs, colours)),
  };
  folder.makePictures();
  for (const kind of pictureKinds) {
    const path = folder.picture(index, kind);
    try {
      // Not synced: the line that counts the image comes later, and a report can do without.
      await writeFile(path, await encode(images[kind]));
    } catch (cause) {
      throw writeError(path, cause);
    }
  }
}
