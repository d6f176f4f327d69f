/**
 * Instances of one class in one image against the true ones, by COCO's rules.
 *
 * @module
 */

/** A mask as the pixels from `from[i]` up to, not including, `to[i]`, ascending. */
export interface PixelRuns {
  from: Int32Array;
  to: Int32Array;
  area: number;
}

/** A true instance. */
export interface TrueInstance {
  runs: PixelRuns;
  isCrowd: boolean;
  area: number;
}

/** What became of the detections of a class in an image. */
export interface Matches {
  /** For every area range the number of true instances that count. */
  truths: number[];
  /**
   * For every detection and area range a number of 20 bits: bit t, a hit at IoU threshold t; bit
   * 10 + t, a false alarm at it. Neither where the detection is ignored.
   */
  outcomes: Int32Array;
}

/** 0.5, 0.55 … 0.95, with NumPy's roundings. */
export const iouThresholds = Array.from(
  { length: 10 },
  (_, t) => t === 9 ? 0.95 : 0.5 + t * ((0.95 - 0.5) / 9),
);

/** Least and largest area, both included, in pixels: all, small, medium, large. */
export const areaRanges: readonly (readonly [least: number, most: number])[] = [
  [0, 1e10],
  [0, 32 ** 2],
  [32 ** 2, 96 ** 2],
  [96 ** 2, 1e10],
];

function intersection(a: PixelRuns, b: PixelRuns): number {
  let pixels = 0;
  for (let i = 0, j = 0; i < a.from.length && j < b.from.length;) {
    const aEnd = a.to[i]!;
    const bEnd = b.to[j]!;
    pixels += Math.max(0, Math.min(aEnd, bEnd) - Math.max(a.from[i]!, b.from[j]!));
    if (aEnd <= bEnd) i++;
    if (bEnd <= aEnd) j++;
  }
  return pixels;
}

/** IoU; of a crowd, the share of the detection that lies in it. 0 where they don't meet. */
function overlap(detection: PixelRuns, truth: TrueInstance): number {
  const shared = intersection(detection, truth.runs);
  if (shared === 0) return 0;
  return shared /
    (truth.isCrowd ? detection.area : detection.area + truth.runs.area - shared);
}

/**
 * Matches detections to true instances: each in turn takes the free one with the largest IoU above
 * the threshold, one that counts before one that is ignored; crowds, and instances outside of the
 * area range, are ignored, and so is whatever they match, or what matches nothing and is outside of
 * the range itself. A crowd can be matched any number of times.
 *
 * @param truths The true instances, in the order of the data set.
 * @param detections By descending score.
 */
export function matchInstances(
  truths: readonly TrueInstance[],
  detections: readonly PixelRuns[],
): Matches {
  const overlaps = detections.map((detection) => truths.map((truth) => overlap(detection, truth)));
  const outcomes = new Int32Array(detections.length * areaRanges.length);
  const counted: number[] = [];
  areaRanges.forEach(([least, most], range) => {
    const isOutside = (area: number) => area < least || area > most;
    const ignored = truths.map(({ isCrowd, area }) => isCrowd || isOutside(area));
    counted.push(ignored.filter((is) => !is).length);
    // Those that count come first; the order is the data set's otherwise.
    const order = [...truths.keys()].sort((a, b) => Number(ignored[a]) - Number(ignored[b]));
    iouThresholds.forEach((threshold, t) => {
      const taken = new Uint8Array(truths.length);
      detections.forEach(({ area }, d) => {
        let best = threshold;
        let match = -1;
        for (const g of order) {
          if (taken[g] === 1 && !truths[g]!.isCrowd) continue;
          if (match >= 0 && !ignored[match] && ignored[g]) break;
          // Of equals the later one is taken.
          if (overlaps[d]![g]! < best) continue;
          best = overlaps[d]![g]!;
          match = g;
        }
        if (match >= 0) taken[match] = 1;
        const isIgnored = match >= 0 ? ignored[match]! : isOutside(area);
        if (!isIgnored) outcomes[d * areaRanges.length + range]! |= 1 << (match >= 0 ? t : 10 + t);
      });
    });
  });
  return { truths: counted, outcomes };
}
