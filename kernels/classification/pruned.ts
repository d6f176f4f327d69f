/**
 * Per-pixel classification on the CPU in float64, exactly, without ever storing C×H×W.
 *
 * @module
 */
import { exp } from "../../lib/portable_math.ts";
import { type AxisRun, axisRuns } from "./axis_runs.ts";
import { type ClassificationRun, type ClassificationSizes, emptyScore } from "./contract.ts";

/** What {@linkcode prunedClassification} reads. */
export interface PrunedInput extends ClassificationSizes {
  /** N×h×w mask logits, row-major; finite. */
  readonly maskLogits: ArrayLike<number>;
  /** N×C probabilities, row-major. */
  readonly probabilities: ArrayLike<number>;
  /** Pixels whose winning score is below it become void; 0 where left out. */
  readonly threshold?: number;
  /** Pixels whose winning score is at most this become void; 2⁻¹⁰⁰ where left out. */
  readonly empty?: number;
}

// exp(−m) and its ratios over a block stay far inside float64's range up to this logit.
const MAX_RECURRENT_LOGIT = 150;
// Blocks are cut down to this many pixels while several classes are in question: below it, another
// round of bounds costs more than the pixels.
const FEW_CLASSES = 8;
const SMALL_BLOCK = 256;
const TINY_BLOCK = 32;
// Longer runs would let rounding pile up in the recurrence.
const MAX_SIDE = 128;
const SLICE_MILLISECONDS = 50;

/**
 * Labels every pixel with argmax_c Σ_n probabilities[n, c] · sigmoid(mask logits)[n, p], mask logits
 * resized bilinearly to H×W (align_corners = false), ties to the lower class. The score is that sum.
 *
 * Exact, yet far from N · C · H · W operations: over a block of pixels each sigmoid lies between its
 * values at the block's corners, because resized logits are bilinear there, so most classes are
 * proven to lose on whole blocks at once; blocks that stay in question are split. Along a run of
 * pixels a logit is linear, so exp(−m) is a geometric series and costs one product per pixel.
 *
 * @returns H×W classes, −1 for void, and H×W scores, 0 where void.
 * @throws The signal's reason, if it aborts.
 */
export async function prunedClassification(
  input: PrunedInput,
  run: ClassificationRun = {},
): Promise<{ labels: Int32Array<ArrayBuffer>; scores: Float32Array<ArrayBuffer> }> {
  const { width, height } = input;
  const labels = new Int32Array(width * height);
  const scores = new Float32Array(width * height);
  const total = width * height;
  let done = 0;
  let sliceStart = performance.now();
  for (const pixels of new Labelling(input, labels, scores).run()) {
    done += pixels;
    const now = performance.now();
    if (now - sliceStart < SLICE_MILLISECONDS) continue;
    run.signal?.throwIfAborted();
    run.progress?.(done, total);
    // Timers and aborts get their turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
    sliceStart = performance.now();
  }
  run.signal?.throwIfAborted();
  return { labels, scores };
}

class Labelling {
  readonly #input: PrunedInput;
  readonly #labels: Int32Array;
  readonly #scores: Float32Array;
  readonly #probabilities: Float64Array;
  readonly #rows: AxisRun[];
  readonly #columns: AxisRun[];
  readonly #low: Float64Array;
  readonly #high: Float64Array;
  readonly #start: Float64Array;
  readonly #ratio: Float64Array;
  readonly #startRatio: Float64Array;
  readonly #ratioRatio: Float64Array;
  readonly #direct: Uint8Array;
  readonly #sigmoid = new Float64Array(MAX_SIDE);
  #sums = new Float64Array(FEW_CLASSES * MAX_SIDE);

  constructor(input: PrunedInput, labels: Int32Array, scores: Float32Array) {
    const { masks, classes } = input;
    this.#input = input;
    this.#labels = labels;
    this.#scores = scores;
    // By class, so that the sums over masks run along memory.
    this.#probabilities = new Float64Array(classes * masks);
    for (let n = 0; n < masks; n++) {
      for (let c = 0; c < classes; c++) {
        this.#probabilities[c * masks + n] = input.probabilities[n * classes + c]!;
      }
    }
    this.#rows = axisRuns(input.height, input.maskHeight);
    this.#columns = axisRuns(input.width, input.maskWidth);
    this.#low = new Float64Array(masks);
    this.#high = new Float64Array(masks);
    this.#start = new Float64Array(masks);
    this.#ratio = new Float64Array(masks);
    this.#startRatio = new Float64Array(masks);
    this.#ratioRatio = new Float64Array(masks);
    this.#direct = new Uint8Array(masks);
  }

  /** Yields numbers of pixels as they are labelled. */
  *run(): Generator<number> {
    const all = Int32Array.from({ length: this.#input.classes }, (_, c) => c);
    yield* this.#region(0, this.#rows.length, 0, this.#columns.length, all);
  }

  /** Labels a rectangle of cells, each the pixels between four samples. */
  *#region(
    top: number,
    bottom: number,
    left: number,
    right: number,
    classes: Int32Array,
  ): Generator<number> {
    const single = bottom - top === 1 && right - left === 1;
    if (single) {
      const row = this.#rows[top]!;
      const column = this.#columns[left]!;
      yield* this.#block(row, column, row.start, row.end, column.start, column.end, classes);
      return;
    }
    let kept = classes;
    if (classes.length > 1) {
      this.#boundCells(top, bottom, left, right);
      kept = this.#prune(classes);
    }
    const middleRow = bottom - top > 1 ? (top + bottom) >> 1 : bottom;
    const middleColumn = right - left > 1 ? (left + right) >> 1 : right;
    for (const [t, b] of [[top, middleRow], [middleRow, bottom]] as const) {
      for (const [l, r] of [[left, middleColumn], [middleColumn, right]] as const) {
        if (t < b && l < r) yield* this.#region(t, b, l, r, kept);
      }
    }
  }

  /** Bounds every sigmoid over a rectangle of cells by the samples around it. */
  #boundCells(top: number, bottom: number, left: number, right: number): void {
    const { maskLogits, masks, maskHeight, maskWidth } = this.#input;
    const y0 = this.#rows[top]!.low;
    const y1 = this.#rows[bottom - 1]!.high;
    const x0 = this.#columns[left]!.low;
    const x1 = this.#columns[right - 1]!.high;
    for (let n = 0; n < masks; n++) {
      let low = Infinity;
      let high = -Infinity;
      for (let y = y0; y <= y1; y++) {
        const row = (n * maskHeight + y) * maskWidth;
        for (let x = x0; x <= x1; x++) {
          const logit = maskLogits[row + x]!;
          if (logit < low) low = logit;
          if (logit > high) high = logit;
        }
      }
      this.#low[n] = 1 / (1 + exp(-low));
      this.#high[n] = 1 / (1 + exp(-high));
    }
  }

  /**
   * Drops the classes that lose to one of the others at every pixel whose sigmoids lie within the
   * bounds: Σ_n max(d·low, d·high) < 0, where d is how much more probable the class is.
   */
  #prune(classes: Int32Array): Int32Array {
    const n = this.#input.masks;
    const probabilities = this.#probabilities;
    const low = this.#low;
    const high = this.#high;
    let pivot = classes[0]!;
    let best = -1;
    for (let k = 0; k < classes.length; k++) {
      const at = classes[k]! * n;
      let sum = 0;
      for (let i = 0; i < n; i++) sum += probabilities[at + i]! * (low[i]! + high[i]!);
      if (sum > best) {
        best = sum;
        pivot = classes[k]!;
      }
    }
    const kept = new Int32Array(classes.length);
    let count = 0;
    const from = pivot * n;
    for (let k = 0; k < classes.length; k++) {
      const c = classes[k]!;
      const at = c * n;
      let lead = 0;
      for (let i = 0; i < n; i++) {
        const more = probabilities[at + i]! - probabilities[from + i]!;
        lead += more * (more > 0 ? high[i]! : low[i]!);
      }
      // Rounding must not decide; equal classes fall to the lower index.
      const loses = lead < -1e-12 || (lead === 0 && c > pivot);
      if (!loses) kept[count++] = c;
    }
    return kept.subarray(0, count);
  }

  /** Labels a block of pixels inside one cell. */
  *#block(
    row: AxisRun,
    column: AxisRun,
    top: number,
    bottom: number,
    left: number,
    right: number,
    classes: Int32Array,
  ): Generator<number> {
    const area = (bottom - top) * (right - left);
    this.#boundBlock(row, column, top, bottom, left, right);
    const kept = classes.length > 1 ? this.#prune(classes) : classes;
    const small = kept.length === 1
      ? Infinity
      : kept.length <= FEW_CLASSES
      ? SMALL_BLOCK
      : TINY_BLOCK;
    if (area > small || bottom - top > MAX_SIDE || right - left > MAX_SIDE) {
      const tall = bottom - top > right - left;
      if (tall) {
        const middle = (top + bottom) >> 1;
        yield* this.#block(row, column, top, middle, left, right, kept);
        yield* this.#block(row, column, middle, bottom, left, right, kept);
      } else {
        const middle = (left + right) >> 1;
        yield* this.#block(row, column, top, bottom, left, middle, kept);
        yield* this.#block(row, column, top, bottom, middle, right, kept);
      }
      return;
    }
    this.#scan(row, column, top, bottom, left, right, kept);
    yield area;
  }

  /** Bounds every sigmoid over a block, and starts its geometric series. */
  #boundBlock(
    row: AxisRun,
    column: AxisRun,
    top: number,
    bottom: number,
    left: number,
    right: number,
  ): void {
    const { maskLogits, masks, maskHeight, maskWidth } = this.#input;
    const ly0 = row.offset + (top - row.start) * row.step;
    const ly1 = row.offset + (bottom - 1 - row.start) * row.step;
    const lx0 = column.offset + (left - column.start) * column.step;
    const lx1 = column.offset + (right - 1 - column.start) * column.step;
    for (let n = 0; n < masks; n++) {
      const upper = (n * maskHeight + row.low) * maskWidth;
      const lower = (n * maskHeight + row.high) * maskWidth;
      const m00 = maskLogits[upper + column.low]!;
      const dx = maskLogits[upper + column.high]! - m00;
      const dy = maskLogits[lower + column.low]! - m00;
      const dxy = maskLogits[lower + column.high]! - m00 - dx - dy;
      const a = m00 + dx * lx0 + (dy + dxy * lx0) * ly0;
      const b = m00 + dx * lx1 + (dy + dxy * lx1) * ly0;
      const c = m00 + dx * lx0 + (dy + dxy * lx0) * ly1;
      const d = m00 + dx * lx1 + (dy + dxy * lx1) * ly1;
      const low = Math.min(a, b, c, d);
      const high = Math.max(a, b, c, d);
      this.#low[n] = 1 / (1 + exp(-low));
      this.#high[n] = 1 / (1 + exp(-high));
      this.#direct[n] = low >= -MAX_RECURRENT_LOGIT && high <= MAX_RECURRENT_LOGIT ? 0 : 1;
      this.#start[n] = exp(-a);
      this.#ratio[n] = exp(-column.step * (dx + dxy * ly0));
      this.#startRatio[n] = exp(-row.step * (dy + dxy * lx0));
      this.#ratioRatio[n] = exp(-column.step * row.step * dxy);
    }
  }

  /** Evaluates the classes that are left, pixel by pixel. */
  #scan(
    row: AxisRun,
    column: AxisRun,
    top: number,
    bottom: number,
    left: number,
    right: number,
    classes: Int32Array,
  ): void {
    const { masks, width, threshold = 0, empty = emptyScore } = this.#input;
    const probabilities = this.#probabilities;
    const labels = this.#labels;
    const scores = this.#scores;
    const sigmoid = this.#sigmoid;
    const length = right - left;
    const count = classes.length;
    if (this.#sums.length < count * length) this.#sums = new Float64Array(count * length);
    const sums = this.#sums;
    const first = classes[0]! * masks;
    for (let y = top; y < bottom; y++) {
      sums.fill(0, 0, count * length);
      for (let n = 0; n < masks; n++) {
        const p0 = probabilities[first + n]!;
        if (this.#direct[n]) {
          this.#sigmoidRow(n, row, column, y, left, length);
          for (let x = 0; x < length; x++) sums[x]! += p0 * sigmoid[x]!;
        } else {
          let t = this.#start[n]!;
          const ratio = this.#ratio[n]!;
          for (let x = 0; x < length; x++) {
            const s = 1 / (1 + t);
            t *= ratio;
            sigmoid[x] = s;
            sums[x]! += p0 * s;
          }
          this.#start[n]! *= this.#startRatio[n]!;
          this.#ratio[n]! *= this.#ratioRatio[n]!;
        }
        for (let k = 1; k < count; k++) {
          const p = probabilities[classes[k]! * masks + n]!;
          const at = k * length;
          for (let x = 0; x < length; x++) sums[at + x]! += p * sigmoid[x]!;
        }
      }
      const pixel = y * width + left;
      for (let x = 0; x < length; x++) {
        let score = sums[x]!;
        let winner = 0;
        for (let k = 1; k < count; k++) {
          const sum = sums[k * length + x]!;
          if (sum > score) {
            score = sum;
            winner = k;
          }
        }
        const known = score > empty && Math.fround(score) >= threshold;
        labels[pixel + x] = known ? classes[winner]! : -1;
        scores[pixel + x] = known ? score : 0;
      }
    }
  }

  /** One row of sigmoids without the recurrence, for logits of a size that would overflow it. */
  #sigmoidRow(
    n: number,
    row: AxisRun,
    column: AxisRun,
    y: number,
    left: number,
    length: number,
  ): void {
    const { maskLogits, maskHeight, maskWidth } = this.#input;
    const ly = row.offset + (y - row.start) * row.step;
    const upper = (n * maskHeight + row.low) * maskWidth;
    const lower = (n * maskHeight + row.high) * maskWidth;
    const from = maskLogits[upper + column.low]! * (1 - ly) + maskLogits[lower + column.low]! * ly;
    const to = maskLogits[upper + column.high]! * (1 - ly) + maskLogits[lower + column.high]! * ly;
    for (let x = 0; x < length; x++) {
      const lx = column.offset + (left + x - column.start) * column.step;
      this.#sigmoid[x] = 1 / (1 + exp(-(from * (1 - lx) + to * lx)));
    }
  }
}
