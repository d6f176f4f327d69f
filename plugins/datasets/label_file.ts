/**
 * Label files: PNG and TIFF whose pixel values are class numbers.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { InputError } from "../../lib/errors.ts";
import { firstLine } from "../../lib/first_line.ts";
import { importSharp } from "../codecs/import_sharp.ts";
import { MAX_PIXELS } from "../codecs/read_image.ts";
import { decodeLabelMap, type LabelMap } from "./labelled_folder/label_png.ts";

function isTiff(bytes: Uint8Array): boolean {
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  return ["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(magic);
}

/** Decodes a grey TIFF of 8 or 16 bits. */
async function decodeTiff(bytes: Uint8Array, name: string): Promise<LabelMap> {
  const sharp = await importSharp();
  const input = { failOn: "error", limitInputPixels: false } as const;
  try {
    const { width, height, channels, depth } = await sharp(bytes, input).metadata();
    if (width * height > MAX_PIXELS) {
      throw new InputError(
        `${name}: ${width}×${height} pixels; at most ${MAX_PIXELS / 1e6} megapixels are taken`,
      );
    }
    const wide = depth === "ushort";
    if (channels !== 1 || !(wide || depth === "uchar")) {
      throw new InputError(
        `${name}: has ${channels} channels of ${depth}; a label TIFF has one of 8 or 16 bits`,
      );
    }
    // Without the colour space sharp converts to 8-bit sRGB, and values change.
    const { data, info } = await sharp(bytes, input).toColourspace(wide ? "grey16" : "b-w")
      .raw({ depth: wide ? "ushort" : "uchar" }).toBuffer({ resolveWithObject: true });
    const size = info.width * info.height * (wide ? 2 : 1);
    if (info.channels !== 1 || data.length !== size) {
      throw new InputError(`${name}: holds ${data.length} of ${size} bytes`);
    }
    const own = Uint8Array.from(data);
    return {
      width: info.width,
      height: info.height,
      depth: wide ? 16 : 8,
      values: wide ? new Uint16Array(own.buffer) : Uint16Array.from(own),
    };
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(
      `${name}: the TIFF data is cut short or damaged (${
        firstLine(cause)
      }); save or fetch it again`,
      { cause },
    );
  }
}

/**
 * Decodes a label file: a PNG, grey or with a palette, or a grey TIFF. The bytes say which it is.
 *
 * @param bytes The whole file.
 * @param name What to call it in messages, such as its path.
 * @throws {InputError} If it is neither, cut short or damaged, or in colour.
 */
export async function decodeLabelFile(bytes: Uint8Array, name: string): Promise<LabelMap> {
  return isTiff(bytes) ? await decodeTiff(bytes, name) : decodeLabelMap(bytes, name);
}

/**
 * Reads bytes of a data set's file.
 *
 * @throws {InputError} If it can't be read; names it and says why.
 */
export async function readDatasetFile(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const missing = (cause as { code?: string }).code === "ENOENT";
    const why = missing ? "no such file" : `can't be read: ${(cause as Error).message}`;
    throw new InputError(`${path}: ${why}`, { cause });
  }
}
