/**
 * Brings an image to the size that an encoder takes.
 *
 * @module
 */
import type { ImageSlot } from "../../lib/stages/slots.ts";

/**
 * The size at which an image is encoded: the longer side is `inputSize`, the shorter one keeps the
 * aspect as nearly as multiples of `multiple` allow, and neither is less than `least`.
 *
 * @returns Columns and rows.
 */
export function encoderSize(
  width: number,
  height: number,
  inputSize: number,
  multiple = 16,
  least = 32,
): { width: number; height: number } {
  const scale = inputSize / Math.max(width, height);
  const side = (pixels: number) =>
    Math.max(least, Math.round(pixels * scale / multiple) * multiple);
  return { width: side(width), height: side(height) };
}

/** For every output sample, where its taps begin, and their weights. */
interface Taps {
  /** First input sample. */
  start: Int32Array;
  /** Where the weights of an output sample begin; one more at the end. */
  offset: Int32Array;
  /** Weights, each sample's sum to 1. */
  weight: Float64Array;
}

/** Triangle filter, widened by the scale where the axis shrinks, cut off at the border. */
function taps(inputs: number, outputs: number): Taps {
  const scale = inputs / outputs;
  const support = Math.max(1, scale);
  const start = new Int32Array(outputs);
  const offset = new Int32Array(outputs + 1);
  const weight: number[] = [];
  for (let o = 0; o < outputs; o++) {
    const center = (o + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - support));
    const last = Math.min(inputs - 1, Math.ceil(center + support));
    let sum = 0;
    let count = 0;
    for (let i = first; i <= last; i++) {
      const w = Math.max(0, 1 - Math.abs(i + 0.5 - center) / support);
      if (w === 0 && count === 0) {
        start[o]! = i + 1;
        continue;
      }
      if (count === 0) start[o] = i;
      weight.push(w);
      sum += w;
      count++;
    }
    for (let k = weight.length - count; k < weight.length; k++) weight[k]! /= sum;
    offset[o + 1] = weight.length;
  }
  return { start, offset, weight: Float64Array.from(weight) };
}

/**
 * Resizes bilinearly, with antialiasing where the image shrinks (a triangle filter as wide as the
 * scale, as Pillow and torchvision do), and brings the channels apart.
 *
 * One pass over the image, a few rows in memory: 8000×6000 pixels take a fraction of a second.
 *
 * @param image 8-bit sRGB.
 * @param width Columns of the result.
 * @param height Rows of the result.
 * @returns 3 × height × width values from 0 to 1.
 */
export function resizeImage(image: ImageSlot, width: number, height: number): Float32Array {
  const { rgb } = image;
  const across = taps(image.width, width);
  const down = taps(image.height, height);
  const sums = new Float64Array(3 * height * width);
  const line = new Float64Array(3 * width);
  const plane = height * width;
  // Every output row that an input row belongs to; both ends only move forward.
  let firstOut = 0;
  for (let y = 0; y < image.height; y++) {
    while (
      firstOut < height &&
      down.start[firstOut]! + down.offset[firstOut + 1]! - down.offset[firstOut]! <= y
    ) firstOut++;
    if (firstOut === height) break;
    if (down.start[firstOut]! > y) continue;
    shrinkRow(rgb, y * image.width * 3, across, line);
    for (let o = firstOut; o < height && down.start[o]! <= y; o++) {
      const tap = y - down.start[o]!;
      if (tap >= down.offset[o + 1]! - down.offset[o]!) continue;
      const w = down.weight[down.offset[o]! + tap]!;
      const row = o * width;
      for (let x = 0; x < width; x++) {
        sums[row + x]! += w * line[3 * x]!;
        sums[plane + row + x]! += w * line[3 * x + 1]!;
        sums[2 * plane + row + x]! += w * line[3 * x + 2]!;
      }
    }
  }
  return Float32Array.from(sums, (value) => value / 255);
}

function shrinkRow(
  rgb: Uint8Array | Uint8ClampedArray,
  row: number,
  { start, offset, weight }: Taps,
  line: Float64Array,
): void {
  for (let x = 0; x < start.length; x++) {
    let at = row + 3 * start[x]!;
    let red = 0;
    let green = 0;
    let blue = 0;
    const end = offset[x + 1]!;
    for (let k = offset[x]!; k < end; k++) {
      const w = weight[k]!;
      red += w * rgb[at]!;
      green += w * rgb[at + 1]!;
      blue += w * rgb[at + 2]!;
      at += 3;
    }
    line[3 * x] = red;
    line[3 * x + 1] = green;
    line[3 * x + 2] = blue;
  }
}
