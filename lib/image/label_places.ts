/**
 * Where a segment's name fits.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";

/** A point well inside a segment. */
export interface LabelPlace {
  /** Column, in pixels. */
  readonly x: number;
  /** Row, in pixels. */
  readonly y: number;
  /** How far the nearest pixel of another segment is, at least, in columns or rows. */
  readonly room: number;
}

// A name needs no better place than a map of this many pixels tells.
const MAX_PIXELS = 2 ** 19;

/**
 * Finds for each segment the point that is farthest (chessboard metric) from everything else, the
 * border of the image included.
 *
 * @param segmentOf height × width, row-major: the index of each pixel's segment, or −1 for none.
 * @param count Number of segments.
 * @returns One place per segment, null where it has no pixel. Large maps are thinned out first, and
 * a segment that falls between the remaining pixels is null as well.
 * @throws {ShapeError} If `segmentOf` does not fit the size.
 */
export function labelPlaces(
  segmentOf: Int32Array,
  width: number,
  height: number,
  count: number,
): (LabelPlace | null)[] {
  if (segmentOf.length !== width * height) {
    throw new ShapeError(
      `label places: ${height}×${width} takes ${width * height} pixels, got ${segmentOf.length}`,
    );
  }
  const step = Math.max(1, Math.ceil(Math.sqrt(width * height / MAX_PIXELS)));
  const columns = Math.ceil(width / step);
  const rows = Math.ceil(height / step);
  const thin = new Int32Array(columns * rows);
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) thin[i] = segmentOf[y * step * width + x * step]!;
  }
  // Distance to another segment, grown over two passes; the image's border counts as one.
  const room = new Uint16Array(columns * rows);
  const at = (x: number, y: number, index: number) =>
    x < 0 || y < 0 || x >= columns || y >= rows || thin[y * columns + x] !== index
      ? 0
      : room[y * columns + x]!;
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      const own = thin[i]!;
      room[i] = 1 + Math.min(
        at(x - 1, y, own),
        at(x - 1, y - 1, own),
        at(x, y - 1, own),
        at(x + 1, y - 1, own),
      );
    }
  }
  const best = new Array<LabelPlace | null>(count).fill(null);
  for (let y = rows - 1, i = columns * rows - 1; y >= 0; y--) {
    for (let x = columns - 1; x >= 0; x--, i--) {
      const own = thin[i]!;
      room[i] = Math.min(
        room[i]!,
        1 + Math.min(
          at(x + 1, y, own),
          at(x + 1, y + 1, own),
          at(x, y + 1, own),
          at(x - 1, y + 1, own),
        ),
      );
      const place = { x: x * step, y: y * step, room: room[i]! * step };
      if (own >= 0 && own < count && place.room > (best[own]?.room ?? 0)) best[own] = place;
    }
  }
  return best;
}
