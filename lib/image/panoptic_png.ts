/**
 * Segment ids as PNG files, as COCO writes them.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import type { Rgb } from "./palette.ts";
import { encodePng } from "./png.ts";

/** The greatest segment id that a colour can say. */
export const MAX_SEGMENT_ID = 2 ** 24 - 1;

/** The segment id that COCO reads from a colour: R + 256·G + 256²·B. Black is 0, no segment. */
export function colourToId([red, green, blue]: Rgb): number {
  return red + 256 * green + 65536 * blue;
}

/** The colour that stands for a segment id; the inverse of {@linkcode colourToId}. */
export function idToColour(id: number): Rgb {
  return [id & 255, (id >> 8) & 255, (id >> 16) & 255];
}

/**
 * Encodes segment ids as COCO's panoptic format has them: an RGB PNG in which
 * id = R + 256·G + 256²·B, and black is void.
 *
 * @param segmentOf height × width, row-major: the index of each pixel's segment in `ids`, or −1.
 * @param ids The segments' ids, from 1 to {@linkcode MAX_SEGMENT_ID}, each once.
 * @returns The bytes of the file; the same for the same ids on one runtime.
 * @throws {ShapeError} If `segmentOf` does not fit the size, or an index has no id.
 * @throws {InputError} If an id is no colour, or is there twice.
 */
export async function encodePanopticPng(
  segmentOf: Int32Array,
  width: number,
  height: number,
  ids: readonly number[],
): Promise<Uint8Array> {
  if (segmentOf.length !== width * height) {
    throw new ShapeError(
      `panoptic PNG: ${height}×${width} takes ${width * height} pixels, got ${segmentOf.length}`,
    );
  }
  const seen = new Set<number>();
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 1 || id > MAX_SEGMENT_ID) {
      throw new InputError(`panoptic PNG: segment id ${id} must be from 1 to ${MAX_SEGMENT_ID}`);
    }
    if (seen.has(id)) throw new InputError(`panoptic PNG: segment id ${id} is there twice`);
    seen.add(id);
  }
  for (const index of segmentOf) {
    if (index >= ids.length) {
      throw new ShapeError(`panoptic PNG: segment ${index} of ${ids.length}`);
    }
  }
  return await encodePng({ width, height, bits: 8, colour: "rgb" }, (bytes, at, pixel) => {
    const index = segmentOf[pixel]!;
    if (index >= 0) bytes.set(idToColour(ids[index]!), at);
  });
}
