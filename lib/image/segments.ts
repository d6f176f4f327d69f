/**
 * Segments: what a label map says, class by class.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import type { CocoRle } from "./coco_rle.ts";
import { MaskRuns } from "./mask_runs.ts";

/**
 * One segment. In semantic segmentation a segment is all pixels of one class, wherever they are.
 */
export interface Segment {
  /** The name of the class. */
  label: string;
  /** The index of the class in the vocabulary, from 0. */
  index: number;
  /** Mean score of the segment's pixels, as the segmenter gives it. */
  score: number;
  /** Number of pixels. */
  area: number;
  /** The smallest box around the segment: left, top, width, height, in pixels. */
  bbox: [x: number, y: number, width: number, height: number];
  /** The pixels, in COCO's run-length encoding. */
  mask: CocoRle;
}

/** A label map as a pipeline gives it, in host memory. */
export interface LabelMap {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** height × width class indices, row-major; −1 where no class was found. */
  labels: Int32Array;
  /** height × width scores, as the segmenter gives them. */
  scores: Float32Array;
}

interface Tally {
  runs: MaskRuns;
  scoreSum: number;
}

// Columns transposed at a time: strided reads of a whole large image miss the cache at every pixel.
const BLOCK = 32;

/**
 * Lists the segments of a label map, largest first. One pass, and memory for the runs alone: it
 * never forms a height × width × classes array.
 *
 * @param map Labels and scores, height × width each.
 * @param names The vocabulary; `labels` index into it.
 * @returns One segment for every class with at least one pixel.
 * @throws {ShapeError} If the sizes don't fit each other or a label has no name.
 *
 * @example
 * ```ts
 * import { segments } from "@ovstage/ovstage";
 * const [dog] = segments({
 *   width: 2,
 *   height: 1,
 *   labels: new Int32Array([0, -1]),
 *   scores: new Float32Array([0.5, 0]),
 * }, ["dog"]);
 * console.log(dog?.label, dog?.score, dog?.area, dog?.bbox); // dog 0.5 1 [0, 0, 1, 1]
 * ```
 */
export function segments(map: LabelMap, names: readonly string[]): Segment[] {
  const { width, height, labels, scores } = map;
  if (labels.length !== width * height || scores.length !== width * height) {
    throw new ShapeError(
      `segments: a ${height}×${width} map has ${width * height} pixels, ` +
        `got ${labels.length} labels and ${scores.length} scores`,
    );
  }
  const tallies = new Map<number, Tally>();
  const columns = new Int32Array(Math.min(BLOCK, width) * height);
  const columnScores = new Float32Array(columns.length);

  const close = (label: number, start: number, end: number, scoreSum: number): void => {
    if (label === -1) return;
    let tally = tallies.get(label);
    if (tally === undefined) {
      if (names[label] === undefined) {
        throw new ShapeError(
          `segments: label ${label} is outside the vocabulary of ${names.length} names`,
        );
      }
      tally = { runs: new MaskRuns(height, width), scoreSum: 0 };
      tallies.set(label, tally);
    }
    tally.runs.add(start, end);
    tally.scoreSum += scoreSum;
  };

  let current = -1;
  let start = 0;
  let scoreSum = 0;
  for (let x0 = 0; x0 < width; x0 += BLOCK) {
    const block = Math.min(BLOCK, width - x0);
    for (let y = 0; y < height; y++) {
      for (let x = 0, from = y * width + x0, to = y; x < block; x++, from++, to += height) {
        columns[to] = labels[from]!;
        columnScores[to] = scores[from]!;
      }
    }
    const base = x0 * height;
    for (let i = 0; i < block * height; i++) {
      const label = columns[i]!;
      if (label !== current) {
        close(current, start, base + i, scoreSum);
        current = label;
        start = base + i;
        scoreSum = 0;
      }
      scoreSum += columnScores[i]!;
    }
  }
  close(current, start, width * height, scoreSum);

  const found: Segment[] = [];
  for (const [index, { runs, scoreSum }] of tallies) {
    const { area, box, mask } = runs.finish();
    found.push({ label: names[index]!, index, score: scoreSum / area, area, bbox: box, mask });
  }
  return found.sort((a, b) => b.area - a.area || a.index - b.index);
}
