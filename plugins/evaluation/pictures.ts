/**
 * Images, their truth and what was predicted, as small pictures for the report.
 *
 * @module
 */
import { rename, writeFile } from "node:fs/promises";
import type { DatasetSample } from "../../lib/data/dataset.ts";
import type { Image } from "../../lib/image/image.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { classColours } from "../../lib/image/palette.ts";
import { importSharp } from "../codecs/import_sharp.ts";
import type { Json } from "../training/checkpoint.ts";
import { writeError } from "../training/run_files.ts";
import { type PictureKind, pictureKinds, type RunFolder } from "./run_folder.ts";
import type { Drawing, Outputs, Task } from "./tasks/task.ts";

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

/** So many pixels wait at most to be written. */
const mostWaiting = 2 ** 22;

/** Pictures wait so long at most, in milliseconds. */
const longestWait = 10_000;

type PictureSet = Record<PictureKind, Image>;

/**
 * The pictures of a run's best and worst images. Most images that are among them at first are so no
 * longer a little later, and encoding is dear: so pictures wait before they are written.
 */
export class Pictures {
  readonly #folder: RunFolder;
  readonly #task: Task;
  readonly #numClasses: number;
  readonly #waiting = new Map<number, PictureSet>();
  #written = performance.now();

  /**
   * @param folder Where they go.
   * @param task Draws truth and prediction.
   * @param numClasses How many classes there are.
   */
  constructor(folder: RunFolder, task: Task, numClasses: number) {
    this.#folder = folder;
    this.#task = task;
    this.#numClasses = numClasses;
  }

  /**
   * Draws an image.
   *
   * @param index Its number.
   * @param sample The image and its truth.
   * @param outputs What the pipeline gave.
   * @param scores What was found.
   */
  async draw(index: number, sample: DatasetSample, outputs: Outputs, scores: Json): Promise<void> {
    const colours = classColours(this.#numClasses, this.#task.present(scores));
    const draw = ({ labels, colours }: Drawing) => overlay(sample.image, labels, colours);
    this.#waiting.set(index, {
      image: sample.image,
      truth: draw(this.#task.drawTruth(sample, colours)),
      prediction: draw(await this.#task.drawPrediction(sample, outputs, colours)),
    });
  }

  /** Forgets all images but these; writes the rest where it has waited long enough or is large. */
  async keep(indices: ReadonlySet<number>): Promise<void> {
    let pixels = 0;
    for (const [index, { image }] of this.#waiting) {
      if (!indices.has(index)) this.#waiting.delete(index);
      else pixels += image.width * image.height;
    }
    const isLate = performance.now() - this.#written > longestWait;
    if (pixels > mostWaiting || pixels > 0 && isLate) await this.write(indices);
  }

  /** Writes what waits, and removes all images but these. */
  async write(indices: ReadonlySet<number>): Promise<void> {
    if (this.#waiting.size > 0) this.#folder.makePictures();
    for (const [index, pictures] of this.#waiting) {
      this.#waiting.delete(index);
      if (!indices.has(index)) continue;
      await Promise.all(pictureKinds.map(async (kind) => {
        const path = this.#folder.picture(index, kind);
        try {
          // Not synced, which takes longer than drawing again what a loss of power took.
          await writeFile(`${path}.tmp`, await encode(pictures[kind]));
          await rename(`${path}.tmp`, path);
        } catch (cause) {
          throw writeError(path, cause);
        }
      }));
    }
    this.#folder.keepPictures(indices);
    this.#written = performance.now();
  }
}
