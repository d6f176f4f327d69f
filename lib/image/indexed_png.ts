/**
 * Label maps as PNG files.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import type { Rgb } from "./palette.ts";
import { encodePng } from "./png.ts";

/** The most classes that a 16-bit label file tells apart from void. */
export const MAX_LABEL_CLASSES = 65535;

/** The value that stands for "no class" in a label file: the highest of its depth. */
export function voidValue(numClasses: number): 255 | 65535 {
  return numClasses <= 255 ? 255 : 65535;
}

/**
 * Encodes a label map as a PNG whose pixel values are the class indices themselves: 8 bits with a
 * palette for up to 255 classes (255 = void, as the public benchmarks have it), 16-bit grey for
 * more (65535 = void).
 *
 * @param labels height × width class indices, row-major; −1 for void.
 * @param colours One colour per class; void is black.
 * @returns The bytes of the file; the same for the same labels on one runtime.
 * @throws {ShapeError} If `labels` does not fit the size, or a label has no colour.
 * @throws {InputError} If there are more classes than a 16-bit file tells apart.
 */
export async function encodeLabelPng(
  labels: Int32Array,
  width: number,
  height: number,
  colours: readonly Rgb[],
): Promise<Uint8Array> {
  if (labels.length !== width * height) {
    throw new ShapeError(
      `label PNG: ${height}×${width} takes ${width * height} labels, got ${labels.length}`,
    );
  }
  if (colours.length > MAX_LABEL_CLASSES) {
    throw new InputError(
      `label PNG: ${colours.length} classes; a 16-bit file holds at most ${MAX_LABEL_CLASSES}`,
    );
  }
  for (let i = 0; i < labels.length; i++) {
    if (labels[i]! >= colours.length) {
      throw new ShapeError(`label PNG: label ${labels[i]} of ${colours.length} classes`);
    }
  }
  const none = voidValue(colours.length);
  const size = { width, height };
  if (none === 255) {
    const palette = new Uint8Array(256 * 3);
    colours.forEach((colour, index) => palette.set(colour, index * 3));
    return await encodePng({ ...size, bits: 8, colour: "palette", palette }, (bytes, at, pixel) => {
      const label = labels[pixel]!;
      bytes[at] = label < 0 ? none : label;
    });
  }
  return await encodePng({ ...size, bits: 16, colour: "grey" }, (bytes, at, pixel) => {
    const label = labels[pixel]!;
    const value = label < 0 ? none : label;
    bytes[at] = value >> 8;
    bytes[at + 1] = value;
  });
}
