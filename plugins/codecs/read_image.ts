/**
 * Image files as pixels.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { InputError } from "../../lib/errors.ts";
import { firstLine } from "../../lib/first_line.ts";
import { Image } from "../../lib/image/image.ts";
import { importSharp } from "./import_sharp.ts";

/** The most pixels that an image may have; labels and scores take 8 bytes for each of them. */
export const MAX_PIXELS = 100_000_000;

/** Options of {@linkcode decodeImage}. */
export interface DecodeOptions {
  /** The most pixels that are taken, looked at before any is decoded; {@linkcode MAX_PIXELS}. */
  readonly maxPixels?: number;
}

/** Reads a whole file; what the operating system says becomes one line with the path. */
async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === "ENOENT") {
      throw new InputError(`${path}: no such file (looked for ${resolve(path)})`, { cause });
    }
    if (code === "EISDIR") {
      throw new InputError(`${path}: is a folder; name an image file in it`, { cause });
    }
    const reason = code === "EACCES" || code === "EPERM"
      ? "permission to read it is missing"
      : firstLine(cause);
    throw new InputError(`${path}: can't be read: ${reason}`, { cause });
  }
}

/** Formats by their signatures; the name of a file proves nothing. */
const decoded: readonly [format: string, signature: RegExp][] = [
  // deno-lint-ignore no-control-regex
  ["PNG", /^\x89PNG\r\n\x1a\n/],
  ["JPEG", /^\xff\xd8\xff/],
  ["WebP", /^RIFF[^]{4}WEBP/],
];

/** Formats that people have and that are not taken. */
const refused: readonly [format: string, signature: RegExp][] = [
  ["GIF", /^GIF8[79]a/],
  // Four reserved zeros: "BM" alone begins texts too.
  ["BMP", /^BM[^]{4}\0{4}/],
  ["TIFF", /^(?:II[*+]\0|MM\0[*+])/],
  ["AVIF", /^[^]{4}ftypavi[fs]/],
  ["HEIC", /^[^]{4}ftyp(?:hei[cxms]|hev[cxms])/],
  ["HEIF", /^[^]{4}ftypm[is]f1/],
];

/** Which of the formats a file is; null where it is none of them. */
function sniff(bytes: Uint8Array, formats: typeof decoded): string | null {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  return formats.find(([, signature]) => signature.test(head))?.[0] ?? null;
}

/**
 * Decodes a PNG, JPEG or WebP file in memory to 8-bit sRGB. 16-bit files are brought to 8 bits, grey
 * and palettes to RGB, embedded colour profiles to sRGB; transparency is composited over white; the
 * EXIF orientation is applied; of an animation, the first frame counts.
 *
 * @param bytes The whole file.
 * @param name What to call it in messages, such as its path.
 * @param options A lower bound on pixels, where memory is dear.
 * @throws {InputError} If the bytes are no such image, are cut short or damaged, or hold too many
 * pixels.
 */
export async function decodeImage(
  bytes: Uint8Array,
  name: string,
  { maxPixels = MAX_PIXELS }: DecodeOptions = {},
): Promise<Image> {
  if (bytes.length === 0) {
    throw new InputError(`${name}: is empty; a PNG, JPEG or WebP image is needed`);
  }
  const format = sniff(bytes, decoded);
  if (format === null) {
    const other = sniff(bytes, refused);
    throw new InputError(
      other === null
        ? `${name}: is not a PNG, JPEG or WebP image, whatever its name says`
        : `${name}: is a ${other} image; convert it to PNG, JPEG or WebP`,
    );
  }
  const sharp = await importSharp();
  // "error" lets harmless warnings of old cameras' files pass, and refuses what is cut short. The
  // size is checked below, by a message that names the file.
  const input = { failOn: "error", limitInputPixels: false } as const;
  try {
    const { width, height } = await sharp(bytes, input).metadata();
    if (width * height > maxPixels) {
      throw new InputError(
        `${name}: ${width}×${height} pixels; at most ${maxPixels / 1e6} megapixels are taken, ` +
          `scale it down first`,
      );
    }
    const { data, info } = await sharp(bytes, input)
      .autoOrient()
      .flatten({ background: "#ffffff" })
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return new Image(
      info.width,
      info.height,
      new Uint8Array(data.buffer, data.byteOffset, data.length),
    );
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    const reason = (cause instanceof Error ? cause.message : String(cause))
      .split("\n").map((line) => line.trim()).filter((line) => line !== "").at(-1) ?? "";
    throw new InputError(
      `${name}: the ${format} data is cut short or damaged (${reason}); save or fetch it again`,
      { cause },
    );
  }
}

/**
 * Reads an image file; see {@linkcode decodeImage} for what is understood.
 *
 * @param path A PNG, JPEG or WebP file.
 * @throws {InputError} If the file can't be read or is no such image.
 */
export async function readImage(path: string): Promise<Image> {
  return await decodeImage(await readBytes(path), path);
}
