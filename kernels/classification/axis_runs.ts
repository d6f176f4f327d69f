/**
 * Bilinear resizing, seen along one axis.
 *
 * @module
 */

/**
 * A run of output pixels that lie between the same two source samples, so that every resized value
 * is linear along it: pixel `start + i` is at sample `low` + (`offset` + i·`step`) · (`high` − `low`).
 */
export interface AxisRun {
  /** First output pixel. */
  start: number;
  /** One past the last output pixel. */
  end: number;
  /** The source sample before it. */
  low: number;
  /** The source sample after it; `low` itself beyond the first and the last sample. */
  high: number;
  /** Where the first pixel lies between the two, from 0 to 1. */
  offset: number;
  /** How far apart pixels are. */
  step: number;
}

/**
 * Splits an axis into runs, for bilinear resizing with align_corners = false.
 *
 * @param outputs Output pixels along the axis.
 * @param inputs Source samples along the axis.
 * @param longest The most pixels of one run.
 */
export function axisRuns(outputs: number, inputs: number, longest = Infinity): AxisRun[] {
  const runs: AxisRun[] = [];
  const scale = inputs / outputs;
  for (let i = 0; i < outputs; i++) {
    const source = (i + 0.5) * scale - 0.5;
    const inside = source > 0 && source < inputs - 1;
    const low = inside ? Math.floor(source) : source <= 0 ? 0 : inputs - 1;
    const high = inside ? low + 1 : low;
    const last = runs.at(-1);
    if (last && last.low === low && last.high === high && last.end - last.start < longest) {
      last.end = i + 1;
    } else {
      runs.push({
        start: i,
        end: i + 1,
        low,
        high,
        offset: inside ? source - low : 0,
        step: inside ? scale : 0,
      });
    }
  }
  return runs;
}
