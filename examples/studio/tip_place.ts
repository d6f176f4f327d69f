/**
 * Where the tip goes.
 *
 * @module
 */

/** In CSS pixels. */
export type Pair = readonly [x: number, y: number];

const margin = 4;
/** From a mouse's pointer. */
const gap = 18;
/** From the middle of a fingertip, which is about 10 mm wide. */
const fingerGap = 30;

/**
 * Where a tip begins, inside of the viewer as far as it fits there. Beside a mouse's pointer, to the
 * right and below if there is room; over a finger, or else beside it, or else under it: the finger
 * hides what lies below.
 *
 * @param at What the tip is about.
 * @param size The tip's width and height.
 * @param room The viewer's.
 * @param isFinger Whether a finger points.
 */
export function placeTip(
  [x, y]: Pair,
  [width, height]: Pair,
  [roomX, roomY]: Pair,
  isFinger: boolean,
): Pair {
  const inside = (left: number, top: number): Pair => [
    Math.max(margin, Math.min(left, roomX - width - margin)),
    Math.max(margin, Math.min(top, roomY - height - margin)),
  ];
  const far = isFinger ? fingerGap : gap;
  const [before, over] = [x - far - width, y - far - height];
  const [after, under] = [x + far, y + far];
  const fitsAfter = after + width + margin <= roomX;
  const fitsUnder = under + height + margin <= roomY;
  if (!isFinger) return inside(fitsAfter ? after : before, fitsUnder ? under : over);
  const centred = x - width / 2;
  if (over >= margin) return inside(centred, over);
  if (before >= margin) return inside(before, over);
  if (fitsAfter) return inside(after, over);
  return inside(centred, under);
}
