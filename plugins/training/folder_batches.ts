/**
 * A user's own folder as training data of the mask decoder: every class that an image shows is one
 * segment.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import type { Rng } from "../../lib/rng.ts";
import {
  LabelledFolder,
  type LabelledImage,
  type Split,
} from "../datasets/labelled_folder/labelled_folder.ts";
import { resizeImage } from "../encoders/resize_image.ts";
import {
  addTargets,
  cellSize,
  emptyBatch,
  type SegmentBatch,
  type SegmentData,
  type SegmentSizes,
} from "./segment_batches.ts";
import type { FolderConfig } from "./train_config.ts";

/** Bytes of decoded images that are kept for the next time. */
const cacheBytes = 256 * 2 ** 20;
/** How often an image is cropped anew where nothing in the crop is labelled. */
const cropAttempts = 10;

/** Keeps what was read last, as far as memory allows. */
function cached(folder: LabelledFolder): (index: number) => Promise<LabelledImage> {
  const kept = new Map<number, LabelledImage>();
  let bytes = 0;
  const sizeOf = ({ image, labels }: LabelledImage) => image.rgb.length + labels.byteLength;
  return async (index) => {
    const sample = kept.get(index) ?? await folder.read("train", index);
    if (kept.delete(index)) bytes -= sizeOf(sample);
    kept.set(index, sample);
    bytes += sizeOf(sample);
    for (const [oldest, { image, labels }] of kept) {
      if (bytes <= cacheBytes || kept.size === 1) break;
      kept.delete(oldest);
      bytes -= image.rgb.length + labels.byteLength;
    }
    return sample;
  };
}

/** A square cut out of an image, perhaps larger than it, perhaps mirrored. */
function crop(
  { image, labels }: LabelledImage,
  { x, y, side, flip }: { x: number; y: number; side: number; flip: boolean },
): { rgb: Uint8Array; labels: Int32Array } {
  // What lies beside the image is grey, and counts nowhere.
  const rgb = new Uint8Array(3 * side * side).fill(128);
  const cut = new Int32Array(side * side).fill(-1);
  const { width, height } = image;
  for (let row = Math.max(0, -y); row < Math.min(side, height - y); row++) {
    for (let column = Math.max(0, -x); column < Math.min(side, width - x); column++) {
      const from = (y + row) * width + x + column;
      const to = row * side + (flip ? side - 1 - column : column);
      cut[to] = labels[from]!;
      for (let c = 0; c < 3; c++) rgb[3 * to + c] = image.rgb[3 * from + c]!;
    }
  }
  return { rgb, labels: cut };
}

/** Draws a random crop, and writes it into a batch. */
function addSample(
  batch: SegmentBatch,
  b: number,
  sample: LabelledImage,
  rng: Rng,
  config: FolderConfig,
  sizes: SegmentSizes,
): void {
  const { size } = sizes;
  const { width, height } = sample.image;
  const [least, most] = config.scale.map(Math.log) as [number, number];
  const offset = (length: number, side: number) =>
    length > side ? rng.integer(length - side + 1) : -rng.integer(side - length + 1);
  let cut: ReturnType<typeof crop> = { rgb: new Uint8Array(), labels: new Int32Array() };
  let side = 0;
  for (let attempt = 0; attempt < cropAttempts; attempt++) {
    side = Math.max(1, Math.round(Math.min(width, height) / Math.exp(rng.uniform(least, most))));
    const [x, y] = [offset(width, side), offset(height, side)];
    const flip = config.flip && rng.integer(2) === 1;
    cut = crop(sample, { x, y, side, flip });
    if (cut.labels.some((label) => label >= 0)) break;
  }
  const planes = resizeImage({ width: side, height: side, rgb: cut.rgb }, size, size);
  batch.images.set(planes, b * planes.length);

  const labels = new Int32Array(size * size);
  const areas = new Map<number, number>();
  const cells = (size / cellSize) ** 2;
  for (let y = 0, i = 0; y < size; y++) {
    const row = Math.floor((y + 0.5) * side / size) * side;
    for (let x = 0; x < size; x++, i++) {
      const label = cut.labels[row + Math.floor((x + 0.5) * side / size)]!;
      labels[i] = label;
      if (label < 0) continue;
      areas.set(label, (areas.get(label) ?? 0) + 1);
      const cell = Math.floor(y / cellSize) * (size / cellSize) + Math.floor(x / cellSize);
      batch.counts![b * cells + cell]! += 1 / cellSize ** 2;
    }
  }
  const segments = [...areas].map(([label, area]) => ({ id: label, label, area }));
  addTargets(batch, b, labels, segments, sizes);
}

/**
 * Opens a folder as training data.
 *
 * @param validates Whether images to validate on are needed.
 * @param verify Whether all files are read once now, so that faults show before training starts.
 * @throws {InputError} If something in the folder or its class list is wrong; names it.
 */
export async function openFolderData(
  config: FolderConfig,
  { validates, verify }: { validates: boolean; verify: boolean },
): Promise<SegmentData> {
  const folder = await LabelledFolder.open(config);
  if (validates && folder.count("val") === 0) {
    throw new InputError(
      `${config.path}: there are no images to validate on (images/val or img_dir/val); add some, ` +
        "or set validation.every to 0",
    );
  }
  const splits: Split[] = validates ? ["train", "val"] : ["train"];
  if (verify) await folder.verify(splits);
  const read = cached(folder);
  const { size, maxSegments } = config;
  const sizes = { size, maxSegments, numClasses: folder.names.length };
  return {
    names: folder.names,
    fingerprint: folder.fingerprint(),
    hasIgnored: true,
    validationImages: folder.count("val"),
    async batch(rng, images) {
      const batch = emptyBatch(images, sizes, true);
      for (let b = 0; b < images; b++) {
        const sample = await read(rng.integer(folder.count("train")));
        addSample(batch, b, sample, rng, config, sizes);
      }
      return batch;
    },
    validationImage: (index) => folder.read("val", index),
  };
}
