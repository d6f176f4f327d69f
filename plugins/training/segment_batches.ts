/**
 * Batches for the mask decoder: images with the masks and classes of their segments.
 *
 * @module
 */
import type { ImageSlot } from "../../lib/stages/slots.ts";
import type { Rng } from "../../lib/rng.ts";

/** Image pixels per side of a mask cell. */
export const cellSize = 4;

/** Sizes of a batch. */
export interface SegmentSizes {
  /** Side of an image in pixels. */
  readonly size: number;
  /** G, the most segments of an image; the smallest are left out. */
  readonly maxSegments: number;
  /** C. */
  readonly numClasses: number;
}

/** One batch of B images; P mask cells in each, a quarter of the image's side. */
export interface SegmentBatch {
  /** B×3×size×size, RGB in 0…1. */
  images: Float32Array;
  /** B×G×P: the share of each mask cell that the segment covers. */
  masks: Float32Array;
  /** B×G: 1 where there is a segment. */
  segments: Float32Array;
  /** B×G×C: one 1 in the row of each segment whose class has a name, none in the others. */
  classes: Float32Array;
  /** B×P: the share of each mask cell that counts; null where all do. */
  counts: Float32Array | null;
}

/** An image to validate on. */
export interface LabelledImage {
  /** The image. */
  readonly image: ImageSlot;
  /** height × width class indices; −1 where a pixel counts nowhere. */
  readonly labels: Int32Array;
}

/** What the decoder is trained on. */
export interface SegmentData {
  /** The classes' names. */
  readonly names: readonly string[];
  /** Changes where the data changes. */
  readonly fingerprint: string;
  /** Whether batches have `counts`. */
  readonly hasIgnored: boolean;
  /** How many images there are to validate on; Infinity where they are rendered. */
  readonly validationImages: number;
  /** Draws a batch. */
  batch(rng: Rng, images: number): SegmentBatch | Promise<SegmentBatch>;
  /** An image to validate on, the same for the same index. */
  validationImage(index: number): LabelledImage | Promise<LabelledImage>;
}

/** An empty batch. */
export function emptyBatch(images: number, sizes: SegmentSizes, ignored: boolean): SegmentBatch {
  const { size, maxSegments, numClasses } = sizes;
  const cells = (size / cellSize) ** 2;
  return {
    images: new Float32Array(images * 3 * size * size),
    masks: new Float32Array(images * maxSegments * cells),
    segments: new Float32Array(images * maxSegments),
    classes: new Float32Array(images * maxSegments * numClasses),
    counts: ignored ? new Float32Array(images * cells) : null,
  };
}

/** A segment of an image. */
interface Segment {
  /** Its number in the map of segments. */
  readonly id: number;
  /** Its class; −1 where the vocabulary has none, so that only its mask is learned. */
  readonly label: number;
  /** Its pixels. */
  readonly area: number;
}

/**
 * Writes the targets of one image into a batch.
 *
 * @param ids size×size numbers of segments; those of none of `segments` belong to nothing.
 * @param b Which image of the batch.
 */
export function addTargets(
  batch: SegmentBatch,
  b: number,
  ids: ArrayLike<number>,
  segments: readonly Segment[],
  { size, maxSegments, numClasses }: SegmentSizes,
): void {
  const side = size / cellSize;
  const largest = [...segments].sort((s, t) => t.area - s.area).slice(0, maxSegments);
  const slotOf = new Map(largest.map((segment, g) => [segment.id, g]));
  largest.forEach((segment, g) => {
    const slot = b * maxSegments + g;
    batch.segments[slot] = 1;
    if (segment.label >= 0) batch.classes[slot * numClasses + segment.label] = 1;
  });
  const share = 1 / cellSize ** 2;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const g = slotOf.get(ids[y * size + x]!);
      if (g === undefined) continue;
      const cell = Math.floor(y / cellSize) * side + Math.floor(x / cellSize);
      batch.masks[(b * maxSegments + g) * side * side + cell]! += share;
    }
  }
}

/** Some of a batch's images, as a batch; shares its memory. */
export function sliceBatch(
  { images, masks, segments, classes, counts }: SegmentBatch,
  total: number,
  first: number,
  count: number,
): SegmentBatch {
  const part = (values: Float32Array) => {
    const each = values.length / total;
    return values.subarray(first * each, (first + count) * each);
  };
  return {
    images: part(images),
    masks: part(masks),
    segments: part(segments),
    classes: part(classes),
    counts: counts && part(counts),
  };
}
