/**
 * How peers cut a classification into pieces that fit their memory, and the taps of a bilinear
 * resize for those that have none of their own.
 *
 * @module
 */

/** A range of indices. */
export interface Range {
  /** The first. */
  readonly begin: number;
  /** Behind the last. */
  readonly end: number;
}

/** Bands of rows and groups of classes. */
export interface BandPlan {
  /** Bands of equal height, except perhaps the last. */
  readonly bands: readonly Range[];
  /** Groups of equally many classes, except perhaps the last. */
  readonly groups: readonly Range[];
}

/** Cuts `0 … size` into parts of at most `step`. */
export function ranges(size: number, step: number): Range[] {
  return Array.from({ length: Math.ceil(size / step) }, (_, i) => ({
    begin: i * step,
    end: Math.min(size, (i + 1) * step),
  }));
}

/**
 * Bands of 64 rows, and as many classes at once as keep a group's scores within `bytes`, divided
 * evenly.
 */
export function bandPlan(
  masks: number,
  classes: number,
  height: number,
  width: number,
  bytes: number,
): BandPlan {
  const rows = Math.min(height, 64, Math.max(8, Math.floor(bytes / (4 * masks * width) / 8) * 8));
  const fits = Math.max(1, Math.floor(bytes / (4 * rows * width)));
  const groups = Math.ceil(classes / fits);
  return { bands: ranges(height, rows), groups: ranges(classes, Math.ceil(classes / groups)) };
}

/** Which two elements a resized one lies between, and how near it is to the second. */
export interface Taps {
  /** Index of the first. */
  readonly low: Int32Array;
  /** Index of the second. */
  readonly high: Int32Array;
  /** Share of the second, 0 … 1. */
  readonly share: Float32Array;
}

/** The taps of a bilinear resize with half-pixel centres (align_corners = false). */
export function resizeTaps(from: number, to: number): Taps {
  const low = new Int32Array(to), high = new Int32Array(to), share = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, (i + 0.5) * from / to - 0.5);
    low[i] = Math.min(from - 1, Math.floor(at));
    high[i] = Math.min(from - 1, low[i]! + 1);
    share[i] = at - low[i]!;
  }
  return { low, high, share };
}
