/**
 * A mask as it is found, stretch by stretch.
 *
 * @module
 */
import { type CocoRle, packCounts } from "./coco_rle.ts";

/**
 * Collects a mask's stretches of pixels, column by column from the left and downwards, and knows its
 * area and its box. Takes memory for the stretches alone.
 *
 * @example
 * ```ts
 * import { MaskRuns } from "@ovstage/ovstage";
 * const runs = new MaskRuns(2, 3); // 2 rows, 3 columns
 * runs.add(2, 4); // all of the second column
 * console.log(runs.finish()); // { area: 2, box: [1, 0, 1, 2], mask: { size: [2, 3], counts: "222" } }
 * ```
 */
export class MaskRuns {
  readonly #height: number;
  readonly #width: number;
  /** Starts and ends in turn; grows by doubling: plain arrays of a large mask are heavy. */
  #data = new Int32Array(16);
  #length = 0;
  #area = 0;
  #top: number;
  #bottom = -1;

  /**
   * Begins an empty mask.
   *
   * @param height Rows of the image.
   * @param width Columns of the image.
   */
  constructor(height: number, width: number) {
    this.#height = height;
    this.#width = width;
    this.#top = height;
  }

  /** Number of pixels so far. */
  get area(): number {
    return this.#area;
  }

  /**
   * Adds a stretch, not before the end of the last one.
   *
   * @param start Its first pixel: column · height + row.
   * @param end One past its last pixel, above `start`.
   */
  add(start: number, end: number): void {
    const height = this.#height;
    this.#area += end - start;
    // A stretch that goes on into the next column touches the bottom and the top.
    const within = Math.floor(start / height) === Math.floor((end - 1) / height);
    this.#top = Math.min(this.#top, within ? start % height : 0);
    this.#bottom = Math.max(this.#bottom, within ? (end - 1) % height : height - 1);
    if (this.#length > 0 && this.#data[this.#length - 1] === start) {
      this.#data[this.#length - 1] = end;
      return;
    }
    if (this.#length === this.#data.length) {
      const larger = new Int32Array(this.#length * 2);
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#data[this.#length++] = start;
    this.#data[this.#length++] = end;
  }

  /**
   * The mask, the smallest box around it (left, top, width, height) and its area. A mask without
   * pixels has a box of width and height 0.
   */
  finish(): {
    area: number;
    box: [x: number, y: number, width: number, height: number];
    mask: CocoRle;
  } {
    const height = this.#height;
    const total = height * this.#width;
    const ends = this.#data.subarray(0, this.#length);
    const counts: number[] = [];
    let last = 0;
    for (const end of ends) {
      counts.push(end - last);
      last = end;
    }
    // A mask that ends with the image has no closing gap, as COCO has it.
    if (last < total) counts.push(total - last);
    const mask: CocoRle = { size: [height, this.#width], counts: packCounts(counts) };
    if (ends.length === 0) return { area: 0, box: [0, 0, 0, 0], mask };
    const left = Math.floor(ends[0]! / height);
    const right = Math.floor((last - 1) / height);
    return {
      area: this.#area,
      box: [left, this.#top, right - left + 1, this.#bottom - this.#top + 1],
      mask,
    };
  }
}
