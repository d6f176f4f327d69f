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
  // A border of one pixel, of no segment, saves asking at every pixel whether it lies inside.
  const stride = columns + 2;
  const thin = new Int32Array(stride * (rows + 2)).fill(-2);
  for (let y = 0; y < rows; y++) {
    const to = (y + 1) * stride + 1;
    for (let x = 0; x < columns; x++) thin[to + x] = segmentOf[y * step * width + x * step]!;
  }
  // Distance to another segment, grown over two passes; the image's border counts as one.
  const room = new Uint16Array(thin.length);
  const from = (i: number, own: number) => thin[i] === own ? room[i]! : 0;
  for (let y = 1; y <= rows; y++) {
    for (let i = y * stride + 1; i <= y * stride + columns; i++) {
      const own = thin[i]!;
      const above = i - stride;
      room[i] = 1 + Math.min(
        from(i - 1, own),
        from(above - 1, own),
        from(above, own),
        from(above + 1, own),
      );
    }
  }
  const best = new Int32Array(count);
  for (let y = rows; y >= 1; y--) {
    for (let i = y * stride + columns; i > y * stride; i--) {
      const own = thin[i]!;
      const below = i + stride;
      const here = 1 + Math.min(
        from(i + 1, own),
        from(below + 1, own),
        from(below, own),
        from(below - 1, own),
      );
      if (here < room[i]!) room[i] = here;
      if (own >= 0 && own < count && room[i]! > room[best[own]!]!) best[own] = i;
    }
  }
  return Array.from(best, (i) => {
    // No segment has the border's room of 0.
    if (room[i] === 0) return null;
    const [x, y] = [i % stride - 1, Math.floor(i / stride) - 1];
    return { x: x * step, y: y * step, room: room[i]! * step };
  });
}
