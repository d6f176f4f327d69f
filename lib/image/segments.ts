/**
 * Segments: what a label map says, class by class.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { type CocoRle, packCounts } from "./coco_rle.ts";

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

/** Grows by doubling: a run list of a large mask is long, and plain arrays of it are heavy. */
class Runs {
  #data = new Int32Array(16);
  length = 0;
  push(value: number): void {
    if (this.length === this.#data.length) {
      const larger = new Int32Array(this.length * 2);
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#data[this.length++] = value;
  }
  toArray(): number[] {
    return Array.from(this.#data.subarray(0, this.length));
  }
}

interface Tally {
  runs: Runs;
  /** Column-major position after the last run of this class. */
  end: number;
  area: number;
  scoreSum: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
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
      tally = {
        runs: new Runs(),
        end: 0,
        area: 0,
        scoreSum: 0,
        left: width,
        right: -1,
        top: height,
        bottom: -1,
      };
      tallies.set(label, tally);
    }
    tally.runs.push(start - tally.end);
    tally.runs.push(end - start);
    tally.end = end;
    tally.area += end - start;
    tally.scoreSum += scoreSum;
    const left = Math.floor(start / height);
    const right = Math.floor((end - 1) / height);
    tally.left = Math.min(tally.left, left);
    tally.right = Math.max(tally.right, right);
    // A run that goes on into the next column touches the bottom and the top.
    tally.top = Math.min(tally.top, left === right ? start % height : 0);
    tally.bottom = Math.max(tally.bottom, left === right ? (end - 1) % height : height - 1);
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
  for (const [index, tally] of tallies) {
    // Every run was pushed as a gap and a length: only the closing gap is left out, as COCO does
    // where the mask ends with the image.
    if (tally.end < width * height) tally.runs.push(width * height - tally.end);
    found.push({
      label: names[index]!,
      index,
      score: tally.scoreSum / tally.area,
      area: tally.area,
      bbox: [
        tally.left,
        tally.top,
        tally.right - tally.left + 1,
        tally.bottom - tally.top + 1,
      ],
      mask: { size: [height, width], counts: packCounts(tally.runs.toArray()) },
    });
  }
  return found.sort((a, b) => b.area - a.area || a.index - b.index);
}
