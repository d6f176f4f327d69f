/**
 * Mask2Former's panoptic inference at the image's own size, exactly, one strip of pixels at a time.
 *
 * @module
 */
import { type AxisRun, axisRuns } from "../../kernels/classification/axis_runs.ts";
import { exp } from "../../lib/portable_math.ts";
import type { PanopticSegment } from "../../lib/stages/slots.ts";
import { type InferenceOptions, inSlices } from "./in_slices.ts";
import { type MaskLogits, refuseNonFinite } from "./mask_logits.ts";
import { type ClassLogits, numColumns, softmaxRow } from "./softmax_row.ts";

/** What {@linkcode panopticInference} reads. */
export interface PanopticInput extends MaskLogits, ClassLogits {
  /** For each of the C classes, whether it is a thing. */
  readonly isThing: readonly boolean[];
  /** Masks count whose best class is more probable than this; 0.8 where left out. */
  readonly objectThreshold?: number;
  /** Masks count that keep at least this share of their pixels; 0.8 where left out. */
  readonly overlapThreshold?: number;
}

/** Segment ids, row-major, and the segments; see the slot `panoptic`. */
export interface PanopticResult {
  /** H × W segment ids, 0 for void. */
  ids: Int32Array<ArrayBuffer>;
  /** By ascending id, from 1 on without gaps. */
  segments: PanopticSegment[];
}

/** A mask that is sure enough of a class. */
interface Candidate {
  readonly mask: number;
  readonly label: number;
  readonly score: number;
}

// Bounds are computed from other numbers than pixels are: rounding must not decide.
const MARGIN = 1 - 1e-9;
const LONGEST_RUN = 64;

/**
 * Divides the image into segments, as Mask2Former does (Cheng et al., "Masked-attention Mask
 * Transformer for Universal Image Segmentation", 2022, after MaskFormer's section 3.4 and
 * PanopticFPN's merging of stuff). With p(n) the highest class probability of mask n, void included,
 * and m_n its logits resized bilinearly to H × W (align_corners = false):
 *
 * 1. Masks stay whose best class is not void and has p(n) above the object threshold.
 * 2. Each pixel falls to the mask with the highest p(n) · sigmoid(m_n), ties to the first.
 * 3. A mask is dropped whose pixels are fewer than the overlap threshold's share of those where
 *    m_n ≥ 0; what fell to it becomes void.
 * 4. Of each mask that is left, the pixels with m_n ≥ 0 become a segment; the masks of a class that
 *    is no thing become one segment together. All other pixels are void.
 *
 * A segment's score is p(n); of several masks, the mean over their pixels. Ids count from 1 in the
 * order of the masks.
 *
 * Works in float64. Memory is that of the result: over the pixels between four samples, a mask lies
 * between those samples, so only the few masks that can win there are evaluated.
 *
 * @throws {ModelError} If a mask logit is not finite, or a class logit is NaN or +∞.
 * @throws The signal's reason, if it aborts.
 *
 * @example
 * ```ts
 * import { panopticInference } from "@ovstage/ovstage";
 * const { ids, segments } = await panopticInference({
 *   maskLogits: [9, -9, -9, -9, 9, 9], // two masks of 1 × 3 pixels
 *   classLogits: [9, 0, 0, 9], // two classes
 *   numMasks: 2, numClasses: 2, hasVoid: false,
 *   maskHeight: 1, maskWidth: 3, height: 1, width: 3,
 *   isThing: [true, false],
 * });
 * console.log([...ids], segments.map(({ label }) => label)); // [1, 2, 2] [0, 1]
 * ```
 */
export async function panopticInference(
  input: PanopticInput,
  options: InferenceOptions = {},
): Promise<PanopticResult> {
  const { height, width, overlapThreshold = 0.8, isThing } = input;
  refuseNonFinite(input);
  const candidates = chooseCandidates(input);
  if (candidates.length === 0) return { ids: new Int32Array(height * width), segments: [] };
  const contest = new Contest(input, candidates);
  await inSlices(contest.run(), height * width, options);

  const { ids, fallen, own, taken } = contest;
  const segments: (PanopticSegment & { weight: number })[] = [];
  const ofStuff = new Map<number, number>();
  const idOf = new Int32Array(candidates.length + 1);
  candidates.forEach(({ label, score }, k) => {
    const isLost = taken[k] === 0 || fallen[k]! / own[k]! < overlapThreshold;
    if (isLost) return;
    const area = taken[k]!;
    const known = isThing[label] ? undefined : ofStuff.get(label);
    if (known === undefined) {
      const id = segments.length + 1;
      segments.push({ id, label, score, isThing: isThing[label]!, area, weight: score * area });
      if (!isThing[label]) ofStuff.set(label, id);
      idOf[k + 1] = id;
    } else {
      const segment = segments[known - 1]!;
      const weight = segment.weight + score * area;
      const whole = segment.area + area;
      segments[known - 1] = { ...segment, area: whole, weight, score: weight / whole };
      idOf[k + 1] = known;
    }
  });
  for (let i = 0; i < ids.length; i++) ids[i] = idOf[ids[i]!]!;
  return { ids, segments: segments.map(({ weight: _, ...segment }) => segment) };
}

/** The masks whose best class is not void and probable enough, in their order. */
function chooseCandidates(input: PanopticInput): Candidate[] {
  const { numMasks, numClasses, objectThreshold = 0.8 } = input;
  const row = new Float64Array(numColumns(input));
  const candidates: Candidate[] = [];
  for (let mask = 0; mask < numMasks; mask++) {
    softmaxRow(input, mask, row);
    let label = 0;
    for (let c = 1; c < row.length; c++) if (row[c]! > row[label]!) label = c;
    const score = row[label]!;
    if (label < numClasses && score > objectThreshold) candidates.push({ mask, label, score });
  }
  return candidates;
}

/** Which candidate each pixel falls to. */
class Contest {
  /** H × W; one more than the index of the candidate that won and has m ≥ 0 there, else 0. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** Per candidate, how many pixels fell to it. */
  readonly fallen: Float64Array;
  /** Per candidate, how many pixels have m ≥ 0. */
  readonly own: Float64Array;
  /** Per candidate, how many pixels have both. */
  readonly taken: Float64Array;
  readonly #input: PanopticInput;
  readonly #candidates: readonly Candidate[];
  /** Score times sigmoid of two rows of samples, for the bounds. */
  #upper: { row: number; scores: Float64Array };
  #lower: { row: number; scores: Float64Array };
  /** The candidates that may win a block, and the ends of their row of logits. */
  readonly #rivals: Int32Array;
  readonly #left: Float64Array;
  readonly #right: Float64Array;

  constructor(input: PanopticInput, candidates: readonly Candidate[]) {
    const count = candidates.length;
    this.#input = input;
    this.#candidates = candidates;
    this.ids = new Int32Array(input.height * input.width);
    this.fallen = new Float64Array(count);
    this.own = new Float64Array(count);
    this.taken = new Float64Array(count);
    this.#upper = { row: -1, scores: new Float64Array(count * input.maskWidth) };
    this.#lower = { row: -1, scores: new Float64Array(count * input.maskWidth) };
    this.#rivals = new Int32Array(count);
    this.#left = new Float64Array(count);
    this.#right = new Float64Array(count);
  }

  /** Yields numbers of pixels as they fall. */
  *run(): Generator<number> {
    const { height, width, maskHeight, maskWidth } = this.#input;
    const columns = axisRuns(width, maskWidth, LONGEST_RUN);
    for (const row of axisRuns(height, maskHeight, LONGEST_RUN)) {
      // Rows of samples come in order: the last lower one mostly is the next upper one.
      if (this.#upper.row !== row.low) {
        [this.#upper, this.#lower] = [this.#lower, this.#upper];
        this.#score(this.#upper, row.low);
      }
      this.#score(this.#lower, row.high);
      for (const column of columns) this.#block(row, column);
      yield (row.end - row.start) * width;
    }
  }

  #score(kept: { row: number; scores: Float64Array }, row: number): void {
    if (kept.row === row) return;
    const { maskLogits, maskHeight, maskWidth } = this.#input;
    kept.row = row;
    this.#candidates.forEach(({ mask, score }, k) => {
      const from = (mask * maskHeight + row) * maskWidth;
      for (let x = 0; x < maskWidth; x++) {
        kept.scores[k * maskWidth + x] = score / (1 + exp(-maskLogits[from + x]!));
      }
    });
  }

  /** The pixels between four samples. */
  #block(row: AxisRun, column: AxisRun): void {
    const { maskLogits, maskHeight, maskWidth } = this.#input;
    const candidates = this.#candidates;
    const area = (row.end - row.start) * (column.end - column.start);
    const upper = this.#upper.scores;
    const lower = this.#lower.scores;
    let sure = 0;
    for (let k = 0; k < candidates.length; k++) {
      const a = k * maskWidth + column.low;
      const b = k * maskWidth + column.high;
      sure = Math.max(sure, Math.min(upper[a]!, upper[b]!, lower[a]!, lower[b]!));
    }
    let rivals = 0;
    for (let k = 0; k < candidates.length; k++) {
      const a = k * maskWidth + column.low;
      const b = k * maskWidth + column.high;
      const most = Math.max(upper[a]!, upper[b]!, lower[a]!, lower[b]!);
      const mayWin = most >= sure * MARGIN;
      if (mayWin) this.#rivals[rivals++] = k;
      const above = (candidates[k]!.mask * maskHeight + row.low) * maskWidth;
      const below = (candidates[k]!.mask * maskHeight + row.high) * maskWidth;
      const m00 = maskLogits[above + column.low]!;
      const m01 = maskLogits[above + column.high]!;
      const m10 = maskLogits[below + column.low]!;
      const m11 = maskLogits[below + column.high]!;
      if (m00 >= 0 && m01 >= 0 && m10 >= 0 && m11 >= 0) this.own[k]! += area;
      else if (m00 >= 0 || m01 >= 0 || m10 >= 0 || m11 >= 0) this.#countOwn(k, row, column);
    }
    this.#decide(rivals, row, column);
  }

  /** Logits of candidate k at both ends of a row of pixels. */
  #ends(k: number, row: AxisRun, column: AxisRun, y: number): void {
    const { maskLogits, maskHeight, maskWidth } = this.#input;
    const { mask } = this.#candidates[k]!;
    const down = row.offset + (y - row.start) * row.step;
    const above = (mask * maskHeight + row.low) * maskWidth;
    const below = (mask * maskHeight + row.high) * maskWidth;
    this.#left[k] = maskLogits[above + column.low]! * (1 - down) +
      maskLogits[below + column.low]! * down;
    this.#right[k] = maskLogits[above + column.high]! * (1 - down) +
      maskLogits[below + column.high]! * down;
  }

  #countOwn(k: number, row: AxisRun, column: AxisRun): void {
    let own = 0;
    for (let y = row.start; y < row.end; y++) {
      this.#ends(k, row, column, y);
      const left = this.#left[k]!;
      const right = this.#right[k]!;
      for (let x = column.start; x < column.end; x++) {
        const along = column.offset + (x - column.start) * column.step;
        if (left * (1 - along) + right * along >= 0) own++;
      }
    }
    this.own[k]! += own;
  }

  #decide(count: number, row: AxisRun, column: AxisRun): void {
    const { width } = this.#input;
    const candidates = this.#candidates;
    const rivals = this.#rivals;
    for (let y = row.start; y < row.end; y++) {
      for (let r = 0; r < count; r++) this.#ends(rivals[r]!, row, column, y);
      for (let x = column.start; x < column.end; x++) {
        const along = column.offset + (x - column.start) * column.step;
        let winner = rivals[0]!;
        let logit = this.#left[winner]! * (1 - along) + this.#right[winner]! * along;
        if (count > 1) {
          let best = candidates[winner]!.score / (1 + exp(-logit));
          for (let r = 1; r < count; r++) {
            const k = rivals[r]!;
            const other = this.#left[k]! * (1 - along) + this.#right[k]! * along;
            const { score } = candidates[k]!;
            if (other <= logit && score <= candidates[winner]!.score) continue;
            const product = score / (1 + exp(-other));
            if (product > best) [best, winner, logit] = [product, k, other];
          }
        }
        this.fallen[winner]!++;
        if (logit >= 0) {
          this.taken[winner]!++;
          this.ids[y * width + x] = winner + 1;
        }
      }
    }
  }
}
