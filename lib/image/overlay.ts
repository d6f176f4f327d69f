/**
 * Labels drawn over an image.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { Image } from "./image.ts";
import type { Rgb } from "./palette.ts";

/** Options of {@linkcode overlay}. */
export interface OverlayOptions {
  /** Share of the class colour inside a segment, 0 to 1; 0.55 where left out. */
  opacity?: number;
  /** Width of the outlines in pixels; 0 for none. Grows with the image where left out. */
  outline?: number;
}

/**
 * Draws a label map over an image: each segment tinted with its class colour and outlined in it, a
 * thin white line between segments, and pixels without a class dimmed.
 *
 * @param image The image.
 * @param labels height × width class indices, row-major; −1 for none.
 * @param colours A colour for each class index.
 * @returns A new image of the same size.
 * @throws {ShapeError} If `labels` does not fit the image.
 */
export function overlay(
  image: Image,
  labels: Int32Array,
  colours: readonly Rgb[],
  options: OverlayOptions = {},
): Image {
  const { width, height, rgb } = image;
  if (labels.length !== width * height) {
    throw new ShapeError(
      `overlay: the image has ${height}×${width} pixels, got ${labels.length} labels`,
    );
  }
  const opacity = options.opacity ?? 0.55;
  const outline = options.outline ?? Math.max(1, Math.round(Math.min(width, height) / 220));
  const table = new Uint8Array(colours.length * 3);
  colours.forEach((colour, index) => table.set(colour, index * 3));
  const result = new Uint8Array(rgb.length);

  for (let i = 0, at = 0; i < labels.length; i++, at += 3) {
    const label = labels[i]!;
    const r = rgb[at]!, g = rgb[at + 1]!, b = rgb[at + 2]!;
    const grey = 0.299 * r + 0.587 * g + 0.114 * b;
    if (label < 0) {
      // Greyed and darkened: what nobody claimed steps back behind the segments.
      result[at] = 0.55 * (0.35 * r + 0.65 * grey);
      result[at + 1] = 0.55 * (0.35 * g + 0.65 * grey);
      result[at + 2] = 0.55 * (0.35 * b + 0.65 * grey);
    } else {
      // The image under the tint is half grey, so that its own colours don't shift the class's.
      const under = (1 - opacity) / 2;
      result[at] = opacity * table[label * 3]! + under * (r + grey);
      result[at + 1] = opacity * table[label * 3 + 1]! + under * (g + grey);
      result[at + 2] = opacity * table[label * 3 + 2]! + under * (b + grey);
    }
  }
  if (outline > 0) drawOutlines(result, labels, width, height, table, outline);
  return new Image(width, height, result);
}

/** Full class colour within `thickness` of a border; white where the border itself runs. */
function drawOutlines(
  rgb: Uint8Array,
  labels: Int32Array,
  width: number,
  height: number,
  table: Uint8Array,
  thickness: number,
): void {
  // Distance to the border by growing it step by step (chessboard metric), only from pixels at it.
  let front: number[] = [];
  const reached = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = labels[i]!;
      if (
        (x + 1 < width && labels[i + 1] !== label) || (x > 0 && labels[i - 1] !== label) ||
        (y + 1 < height && labels[i + width] !== label) ||
        (y > 0 && labels[i - width] !== label)
      ) {
        reached[i] = 1;
        front.push(i);
      }
    }
  }
  const paint = (i: number): void => {
    const label = labels[i]!;
    if (label < 0) return;
    rgb.set(table.subarray(label * 3, label * 3 + 3), i * 3);
  };
  front.forEach(paint);
  for (let step = 1; step < thickness; step++) {
    const next: number[] = [];
    for (const i of front) {
      const x = i % width;
      for (const j of [x > 0 ? i - 1 : i, x + 1 < width ? i + 1 : i, i - width, i + width]) {
        if (j < 0 || j >= reached.length || reached[j] === 1 || labels[j] !== labels[i]) continue;
        reached[j] = 1;
        paint(j);
        next.push(j);
      }
    }
    front = next;
  }
}
