/**
 * Label maps as PNG files.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import type { Rgb } from "./palette.ts";

/** The most classes that a 16-bit label file tells apart from void. */
export const MAX_LABEL_CLASSES = 65535;

/** The value that stands for "no class" in a label file: the highest of its depth. */
export function voidValue(numClasses: number): 255 | 65535 {
  return numClasses <= 255 ? 255 : 65535;
}

const crcTable = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = crcTable[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** Rows in groups of about a mebibyte, so that a large map is never held twice. */
function* scanlines(
  labels: Int32Array,
  width: number,
  height: number,
  bytesPerPixel: 1 | 2,
  none: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const stride = 1 + width * bytesPerPixel;
  const group = Math.max(1, Math.floor(2 ** 20 / stride));
  for (let y0 = 0; y0 < height; y0 += group) {
    const rows = Math.min(group, height - y0);
    const bytes = new Uint8Array(rows * stride);
    let from = y0 * width;
    let to = 0;
    for (let y = 0; y < rows; y++) {
      to++; // filter type 0: labels don't gain from prediction
      for (let x = 0; x < width; x++) {
        const label = labels[from++]!;
        const value = label < 0 ? none : label;
        if (bytesPerPixel === 2) bytes[to++] = value >> 8;
        bytes[to++] = value;
      }
    }
    yield bytes;
  }
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
  const indexed = none === 255;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = indexed ? 8 : 16;
  header[9] = indexed ? 3 : 0;

  const parts = [new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", header)];
  if (indexed) {
    const entries = new Uint8Array(256 * 3);
    colours.forEach((colour, index) => entries.set(colour, index * 3));
    parts.push(chunk("PLTE", entries));
  }
  const rows = scanlines(labels, width, height, indexed ? 1 : 2, none);
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { done, value } = rows.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  // "deflate" is the zlib format of RFC 1950, which is what IDAT holds.
  const reader = source.pipeThrough(new CompressionStream("deflate")).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(chunk("IDAT", value));
  }
  parts.push(chunk("IEND", new Uint8Array(0)));

  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
