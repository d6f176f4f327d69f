/**
 * Mask2Former's instance inference at the image's own size, one mask at a time.
 *
 * @module
 */
import { type AxisRun, axisRuns } from "../../kernels/classification/axis_runs.ts";
import { MaskRuns } from "../../lib/image/mask_runs.ts";
import { exp } from "../../lib/portable_math.ts";
import type { Instance } from "../../lib/stages/slots.ts";
import { type InferenceOptions, inSlices } from "./in_slices.ts";
import { type MaskLogits, refuseNonFinite } from "./mask_logits.ts";
import { type ClassLogits, numColumns, softmaxRow } from "./softmax_row.ts";

/** What {@linkcode instanceInference} reads. */
export interface InstanceInput extends MaskLogits, ClassLogits {
  /** For each of the C classes, whether it is a thing. */
  readonly isThing: readonly boolean[];
  /** How many pairs of a mask and a class are looked at; 100 where left out. */
  readonly topK?: number;
}

/** A mask taken for a class. */
interface Pair {
  readonly mask: number;
  readonly label: number;
  readonly probability: number;
}

/** A mask at the image's own size. */
type Shape = Pick<Instance, "area" | "box" | "mask"> & {
  /** Mean of its sigmoids. */
  readonly quality: number;
};

/**
 * Finds objects, as Mask2Former does (Cheng et al., "Masked-attention Mask Transformer for Universal
 * Image Segmentation", 2022). With p(c | n) the softmax of a row of class logits, and m_n a mask's
 * logits resized bilinearly to H × W (align_corners = false):
 *
 * 1. Of all pairs of a mask and a class (void is none), the top k by p(c | n) are taken, ties to
 *    the earlier mask, then class.
 * 2. Those stay whose class is a thing.
 * 3. The mask of each is where m_n > 0; its score is p(c | n) times the mean of sigmoid(m_n) there.
 *
 * Pairs whose mask holds no pixel are left out: the published procedure gives them the score 0.
 *
 * Works in float64. A mask is found column by column and kept as run lengths, once for all of its
 * classes: no H × W map is ever made.
 *
 * @returns Objects by descending score.
 * @throws {ModelError} If a mask logit is not finite, or a class logit is NaN or +∞.
 * @throws The signal's reason, if it aborts.
 *
 * @example
 * ```ts
 * import { instanceInference } from "@ovstage/ovstage";
 * const [best] = await instanceInference({
 *   maskLogits: [9, 9, -9], // one mask of 1 × 3 pixels
 *   classLogits: [9, 0], // two classes
 *   numMasks: 1, numClasses: 2, hasVoid: false,
 *   maskHeight: 1, maskWidth: 3, height: 1, width: 3,
 *   isThing: [true, true],
 * });
 * console.log(best?.label, best?.area, best?.box); // 0 2 [0, 0, 2, 1]
 * ```
 */
export async function instanceInference(
  input: InstanceInput,
  options: InferenceOptions = {},
): Promise<Instance[]> {
  const { height, width, isThing } = input;
  refuseNonFinite(input);
  const pairs = topPairs(input).filter(({ label }) => isThing[label]);
  const masks = [...new Set(pairs.map(({ mask }) => mask))];
  const shapes = new Map<number, Shape | null>();
  await inSlices(traceMasks(input, masks, shapes), masks.length * height * width, options);
  return pairs.flatMap(({ mask, label, probability }) => {
    const shape = shapes.get(mask);
    if (!shape) return [];
    const { quality, ...rest } = shape;
    return [{ label, score: probability * quality, ...rest }];
  }).sort((a, b) => b.score - a.score);
}

/** The most probable pairs of a mask and a class, best first. */
function topPairs(input: InstanceInput): Pair[] {
  const { numMasks, numClasses, topK = 100 } = input;
  const row = new Float64Array(numColumns(input));
  const pairs: Pair[] = [];
  let least = -Infinity;
  // Sorting keeps the order of equals, which come as mask by mask, class by class.
  const cut = () => {
    pairs.sort((a, b) => b.probability - a.probability);
    pairs.length = Math.min(pairs.length, topK);
    if (pairs.length === topK) least = pairs.at(-1)!.probability;
  };
  for (let mask = 0; mask < numMasks; mask++) {
    softmaxRow(input, mask, row);
    for (let label = 0; label < numClasses; label++) {
      const probability = row[label]!;
      if (probability <= least) continue;
      pairs.push({ mask, label, probability });
      if (pairs.length >= 2 * topK + 1024) cut();
    }
  }
  cut();
  return pairs;
}

const LONGEST_RUN = 64;
// From here on, a sigmoid is 1 in float64.
const SATURATED = 40;
// exp(−m) and its ratios over a run stay far inside float64's range up to this logit.
const MAX_RECURRENT_LOGIT = 150;

/** Traces masks one after the other, null where one holds no pixel; yields numbers of pixels. */
function* traceMasks(
  input: MaskLogits,
  masks: readonly number[],
  shapes: Map<number, Shape | null>,
): Generator<number> {
  const { height, width, maskHeight, maskWidth, maskLogits } = input;
  const rows = axisRuns(height, maskHeight, LONGEST_RUN);
  const columns = axisRuns(width, maskWidth, LONGEST_RUN);
  const samples = new Float64Array(maskHeight);
  for (const mask of masks) {
    const runs = new MaskRuns(height, width);
    let sum = 0;
    for (const column of columns) {
      for (let x = column.start; x < column.end; x++) {
        const along = column.offset + (x - column.start) * column.step;
        for (let y = 0; y < maskHeight; y++) {
          const at = (mask * maskHeight + y) * maskWidth;
          samples[y] = maskLogits[at + column.low]! * (1 - along) +
            maskLogits[at + column.high]! * along;
        }
        sum += traceColumn(runs, x * height, rows, samples);
      }
      yield (column.end - column.start) * height;
    }
    if (runs.area === 0) shapes.set(mask, null);
    else shapes.set(mask, { ...runs.finish(), quality: sum / runs.area });
  }
}

/** Adds what a column has inside the mask, and returns the sum of its sigmoids there. */
function traceColumn(
  runs: MaskRuns,
  base: number,
  rows: readonly AxisRun[],
  samples: Float64Array,
): number {
  let sum = 0;
  for (const row of rows) {
    const from = samples[row.low]!;
    const to = samples[row.high]!;
    if (from <= 0 && to <= 0) continue;
    if (from >= SATURATED && to >= SATURATED) {
      runs.add(base + row.start, base + row.end);
      sum += row.end - row.start;
      continue;
    }
    // Along a run logits are linear: what is above 0 is one stretch.
    let first = row.start;
    let last = row.end - 1;
    const logitAt = (y: number) => {
      const down = row.offset + (y - row.start) * row.step;
      return from * (1 - down) + to * down;
    };
    while (first <= last && !(logitAt(first) > 0)) first++;
    while (last >= first && !(logitAt(last) > 0)) last--;
    if (Math.abs(from) > MAX_RECURRENT_LOGIT || Math.abs(to) > MAX_RECURRENT_LOGIT) {
      for (let y = first; y <= last; y++) sum += 1 / (1 + exp(-logitAt(y)));
    } else {
      // So exp(−m) is a geometric series, and costs one product per pixel.
      const ratio = exp(-row.step * (to - from));
      let t = exp(-logitAt(first));
      for (let y = first; y <= last; y++, t *= ratio) sum += 1 / (1 + t);
    }
    if (first <= last) runs.add(base + first, base + last + 1);
  }
  return sum;
}
