/**
 * Masks as COCO writes them: run lengths, column by column, in a compressed string.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";

/** A mask in COCO's compressed run-length encoding, as pycocotools reads and writes it. */
export interface CocoRle {
  /** Height, then width. */
  size: [height: number, width: number];
  /** Run lengths, zeros first, column-major, as a string of 6-bit characters. */
  counts: string;
}

/**
 * Packs run lengths into COCO's string: from the third on, each is stored as its difference from
 * the one two places before; 5 bits a character, the sixth says that more follow, offset 48.
 */
export function packCounts(counts: readonly number[]): string {
  let text = "";
  for (let i = 0; i < counts.length; i++) {
    let x = i > 2 ? counts[i]! - counts[i - 2]! : counts[i]!;
    for (let more = true; more;) {
      let bits = x & 0x1f;
      x >>= 5;
      more = bits & 0x10 ? x !== -1 : x !== 0;
      if (more) bits |= 0x20;
      text += String.fromCharCode(bits + 48);
    }
  }
  return text;
}

/**
 * The inverse of {@linkcode packCounts}.
 *
 * @throws {InputError} If the string holds a foreign character, ends inside a number, or gives a
 * negative run.
 */
export function unpackCounts(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let x = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const bits = text.charCodeAt(at) - 48;
      if (at >= text.length || bits < 0 || bits > 63 || shift > 30) {
        throw new InputError(`COCO RLE: counts can't be read at character ${at}`);
      }
      at++;
      x |= (bits & 0x1f) << shift;
      more = (bits & 0x20) !== 0;
      if (!more && (bits & 0x10) && shift < 30) x |= -1 << (shift + 5);
    }
    if (counts.length > 2) x += counts[counts.length - 2]!;
    if (x < 0) throw new InputError(`COCO RLE: run ${counts.length} is negative`);
    counts.push(x);
  }
  return counts;
}

/**
 * Encodes a binary mask.
 *
 * @param mask height × width, row-major; everything but 0 is inside.
 * @returns The same bytes that pycocotools' `mask.encode` gives.
 * @throws {ShapeError} If the mask does not have height × width elements.
 *
 * @example
 * ```ts
 * import { decodeRle, encodeRle } from "@ovstage/ovstage";
 * const rle = encodeRle(new Uint8Array([0, 1, 1, 1]), 2, 2);
 * console.log(rle.counts, decodeRle(rle)); // "13" Uint8Array [0, 1, 1, 1]
 * ```
 */
export function encodeRle(mask: ArrayLike<number>, height: number, width: number): CocoRle {
  if (mask.length !== height * width) {
    throw new ShapeError(
      `COCO RLE: a ${height}×${width} mask has ${height * width} pixels, got ${mask.length}`,
    );
  }
  const counts: number[] = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, at = x; y < height; y++, at += width) {
      if ((mask[at] !== 0) !== inside) {
        counts.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts: packCounts(counts) };
}

/**
 * Decodes a mask.
 *
 * @returns height × width bytes, row-major, 1 inside.
 * @throws {InputError} If the runs can't be read or don't add up to the size.
 */
export function decodeRle(rle: CocoRle): Uint8Array {
  const [height, width] = rle.size;
  const counts = unpackCounts(rle.counts);
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== height * width) {
    throw new InputError(
      `COCO RLE: the runs cover ${total} pixels, the size ${height}×${width} has ${height * width}`,
    );
  }
  const mask = new Uint8Array(height * width);
  let position = 0;
  for (let i = 0; i < counts.length; i++) {
    const end = position + counts[i]!;
    if (i % 2 === 1) {
      for (; position < end; position++) {
        mask[(position % height) * width + Math.floor(position / height)] = 1;
      }
    }
    position = end;
  }
  return mask;
}
