/**
 * Label maps of foreign data sets: PNG files whose pixel values are class numbers.
 *
 * @module
 */
import { decode, type DecodedPng } from "fast-png";
import { InputError } from "../../../lib/errors.ts";
import { MAX_PIXELS } from "../../codecs/read_image.ts";

/** A decoded label file. */
export interface LabelMap {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Bits per pixel: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  /** Pixel values as they stand in the file; indices of the palette where it has one. */
  readonly values: Uint16Array;
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * Decodes a PNG without changing its values.
 *
 * @param bytes The whole file.
 * @param name What to call it in messages, such as its path.
 * @throws {InputError} If it is empty, no PNG, too large, cut short or damaged.
 */
export function decodePng(bytes: Uint8Array, name: string): DecodedPng {
  if (bytes.length === 0) throw new InputError(`${name}: is empty; save or fetch it again`);
  if (signature.some((byte, i) => bytes[i] !== byte)) {
    throw new InputError(`${name}: is not a PNG; labels must be 8- or 16-bit PNG files`);
  }
  // IHDR is always first: a huge size is refused before memory is taken for it.
  if (bytes.length >= 24) {
    const header = new DataView(bytes.buffer, bytes.byteOffset);
    const [width, height] = [header.getUint32(16), header.getUint32(20)];
    if (width * height > MAX_PIXELS) {
      throw new InputError(
        `${name}: ${width}×${height} pixels; at most ${MAX_PIXELS / 1e6} megapixels are taken`,
      );
    }
  }
  try {
    return decode(bytes, { checkCrc: true });
  } catch (cause) {
    // fast-png's "Error while decompressing the data:" leaves the rest to its own cause.
    const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/:$/, "");
    throw new InputError(
      `${name}: the PNG data is cut short or damaged (${reason}); save or fetch it again`,
      { cause },
    );
  }
}

/**
 * Decodes a label PNG: grey or with a palette, 1 to 16 bits.
 *
 * @param bytes The whole file.
 * @param name What to call it in messages, such as its path.
 * @throws {InputError} If it is no PNG, cut short or damaged, or in colour without a palette.
 */
export function decodeLabelMap(bytes: Uint8Array, name: string): LabelMap {
  const { width, height, depth, channels, data } = decodePng(bytes, name);
  if (channels !== 1) {
    throw new InputError(
      `${name}: has ${channels} channels; labels must be grey or have a palette, with class ` +
        "numbers as pixel values",
    );
  }
  const values = new Uint16Array(width * height);
  if (depth >= 8) {
    if (data.length !== values.length) {
      throw new InputError(`${name}: holds ${data.length} of ${values.length} pixels`);
    }
    values.set(data);
    return { width, height, depth, values };
  }
  // Smaller depths come packed, each row from a byte of its own.
  const stride = Math.ceil(width * depth / 8);
  const mask = (1 << depth) - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const shift = 8 - depth - bit % 8;
      values[y * width + x] = (data[y * stride + (bit >> 3)]! >> shift) & mask;
    }
  }
  return { width, height, depth, values };
}
