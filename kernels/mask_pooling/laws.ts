/**
 * What is true of mask pooling, whoever computes it.
 *
 * @module
 */
import fc from "fast-check";
import { fromFloat16, toFloat16Array } from "../../lib/float16.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { drawFeatures } from "../../lib/testing/features.ts";
import { bindLaw, defineLaw, type Law, type LawOf } from "../../lib/testing/law.ts";
import { drawMasks } from "../../lib/testing/masks.ts";
import {
  difference,
  largest,
  type Numbers,
  permutation,
  permuteRows,
  sameBits,
} from "../../lib/testing/numbers.ts";
import { edges, seeds, sizes } from "../../lib/testing/sizes.ts";
import { emptyArea, type MaskPoolingOptions } from "./contract.ts";
import { maskPoolingGradients, maskPoolingReference } from "./reference.ts";

/** The bound of float32, relative to the largest entry. */
const float32Tolerance = 2e-6;

/** The bound of inputs stored in float16. */
const float16Tolerance = 2e-3;

/** The inputs, on the host. */
export interface MaskPoolingTensors {
  /** [B×]D×h×w */
  readonly features: HostTensor;
  /** [B×]N×h'×w' */
  readonly maskLogits: HostTensor;
}

/** What an implementation returns. */
export interface MaskPoolingNumbers {
  /** [B×]N×D */
  readonly pooled: Numbers;
  /** [B×]N */
  readonly area: Numbers;
  /** [B×]N, which masks cover nothing. */
  readonly empty: readonly boolean[];
}

/** Something that claims to compute mask pooling. */
export interface MaskPoolingImplementation {
  /** Pools; the inputs are float32, and float16 where {@linkcode float16} says so. */
  maskPooling(
    input: MaskPoolingTensors,
    options: MaskPoolingOptions,
  ): Promise<MaskPoolingNumbers>;
  /**
   * Gradients of a loss by the inputs, from that by `pooled`; by the mask logits null when hard.
   * Left out where there are none.
   */
  maskPoolingGradients?(
    input: MaskPoolingTensors,
    cotangent: { readonly pooled: HostTensor },
    options: MaskPoolingOptions,
  ): Promise<{ readonly features: Numbers; readonly maskLogits: Numbers | null }>;
  /** Whether it takes float16. */
  readonly float16?: boolean;
  /** Where results are remembered from one law to the next: what computes them anew. */
  readonly fresh?: MaskPoolingImplementation;
}

/** One run of mask pooling, in a few numbers. */
export interface MaskPoolingCase {
  /** Hard or soft. */
  readonly mode: "hard" | "soft";
  /** D */
  readonly channels: number;
  /** h */
  readonly height: number;
  /** w */
  readonly width: number;
  /** N */
  readonly masks: number;
  /** h' */
  readonly maskHeight: number;
  /** w' */
  readonly maskWidth: number;
  /** What is special about masks and features. */
  readonly kind: "normal" | "integers" | "some empty" | "saturated" | "identical" | "huge" | "tiny";
  /** B, where a batch is judged. */
  readonly batch: number;
  /** Of the entries. */
  readonly seed: number;
}

/** Cases of mask pooling: one pixel, D = 1, empty masks and other resolutions among them. */
export const maskPoolingCases: fc.Arbitrary<MaskPoolingCase> = fc.record({
  mode: fc.constantFrom("hard", "soft"),
  channels: sizes(),
  height: edges(),
  width: edges(),
  masks: sizes(),
  maskHeight: edges(),
  maskWidth: edges(),
  kind: fc.constantFrom(
    "normal",
    "integers",
    "some empty",
    "saturated",
    "identical",
    "huge",
    "tiny",
  ),
  batch: fc.integer({ min: 1, max: 3 }),
  // Logits of the features' size, or of twice it, are what networks give.
  times: fc.constantFrom(null, 1, 1, 2),
  seed: seeds,
}).map(({ times, ...rest }) =>
  times ? { ...rest, maskHeight: times * rest.height, maskWidth: times * rest.width } : rest
);

/** Draws the inputs of a case, float32. */
export function drawMaskPoolingInput(
  c: Omit<MaskPoolingCase, "mode" | "batch">,
  extreme?: number,
): { features: HostTensor<"float32">; maskLogits: HostTensor<"float32"> } {
  const rng = new Rng(c.seed);
  const kind = c.kind === "huge" || c.kind === "tiny" ? c.kind : "normal";
  return {
    features: drawFeatures({ ...c, kind }, rng, extreme),
    maskLogits: drawMasks({
      masks: c.masks,
      height: c.maskHeight,
      width: c.maskWidth,
      kind: c.kind === "tiny" ? "normal" : c.kind,
      seed: c.seed,
    }, rng),
  };
}

function drawCotangent(c: MaskPoolingCase): HostTensor<"float32"> {
  const rng = new Rng(c.seed + 9);
  const size = c.masks * c.channels;
  return float32([c.masks, c.channels], Float32Array.from({ length: size }, () => rng.normal()));
}

function stack(items: readonly HostTensor<"float32">[]): HostTensor<"float32"> {
  const size = items[0]!.data.length;
  const data = new Float32Array(items.length * size);
  items.forEach((item, i) => data.set(item.data, i * size));
  return float32([items.length, ...items[0]!.shape], data);
}

/**
 * Whether the result hangs on the rounding of interpolated logits: one is zero but for rounding and
 * the mask is hard, or huge logits cancel where sigmoid is steep.
 */
function isIllConditioned(
  c: MaskPoolingCase,
  maskLogits: HostTensor<"float32">,
  { area, resized }: { area: HostTensor<"float64">; resized: HostTensor<"float64"> },
): boolean {
  if (c.height === c.maskHeight && c.width === c.maskWidth) return false;
  const size = largest(maskLogits.data);
  if (c.mode === "hard") return resized.data.some((logit) => Math.abs(logit) <= 1e-5 * size);
  const pixels = c.height * c.width;
  return area.data.some((total, n) => {
    let slope = 0;
    for (const logit of resized.data.subarray(n * pixels, (n + 1) * pixels)) {
      const a = 1 / (1 + Math.exp(-logit));
      slope += a * (1 - a);
    }
    return size > 100 && 2 ** -22 * size * slope > 1e-7 * (total + emptyArea);
  });
}

/**
 * Relative to the largest area, or to one cell where all are smaller: far out on sigmoid's tail
 * float32's exponential keeps few digits.
 */
function areaError(got: Numbers, expected: Numbers): number {
  return difference(got, expected) / Math.max(1, largest(expected));
}

type Subject = MaskPoolingImplementation;

function law(
  name: string,
  judge: (subject: Subject, c: MaskPoolingCase) => Promise<number | null>,
  lacks?: (subject: Subject) => string | null,
): LawOf<Subject> {
  return defineLaw<Subject, MaskPoolingCase>(`mask pooling: ${name}`, maskPoolingCases, judge, {
    tolerance: float32Tolerance,
    ...(lacks ? { lacks } : {}),
  });
}

const lacksGradients = (subject: Subject) =>
  subject.maskPoolingGradients ? null : "it has no gradients";
const lacksFloat16 = ({ float16 }: Subject) => float16 ? null : "it does not take float16";

/** The features' gradient, and how large it would be if no terms cancelled. */
async function featureGradient(
  input: MaskPoolingTensors,
  cotangent: HostTensor<"float32">,
  options: MaskPoolingOptions,
) {
  const expected = await maskPoolingGradients(input, { pooled: cotangent }, options);
  const absolute = await maskPoolingGradients(
    input,
    { pooled: float32(cotangent.shape, cotangent.data.map(Math.abs)) },
    options,
  );
  return { expected, scale: largest(absolute.features.data) };
}

/** How far gradients of one image are off, relative to what goes into their sums. */
async function gradientError(
  c: MaskPoolingCase,
  input: ReturnType<typeof drawMaskPoolingInput>,
  got: { features: Numbers; maskLogits: Numbers | null },
): Promise<number> {
  const { mode } = c;
  const cotangent = drawCotangent(c);
  const { expected, scale } = await featureGradient(input, cotangent, { mode });
  // Weights below float32's range can't be told from 0.
  const floor = 1e-25 * largest(cotangent.data);
  const ofFeatures = difference(got.features, expected.features.data) / Math.max(scale, floor);
  if (mode === "hard") return got.maskLogits === null ? ofFeatures : Infinity;
  if (got.maskLogits === null) return Infinity;
  const { area, resized } = await maskPoolingReference(input, { mode });
  const pixels = c.height * c.width;
  // Where masks are coarser than features, a logit collects the gradients of several pixels.
  const collected = Math.max(1, c.height / c.maskHeight) * Math.max(1, c.width / c.maskWidth);
  let scaleOfLogits = floor;
  for (let n = 0; n < c.masks; n++) {
    let sum = 0;
    for (let d = 0; d < c.channels; d++) sum += Math.abs(cotangent.data[n * c.channels + d]!);
    let slope = 0;
    for (const logit of resized.data.subarray(n * pixels, (n + 1) * pixels)) {
      const a = 1 / (1 + Math.exp(-logit));
      // Beside 1, float32 knows 1 − a to 2⁻²⁴ alone.
      slope = Math.max(slope, a * Math.max(1 - a, 1 / 16));
    }
    // Twice: X − F has the rounding of F, as large as is allowed in F, besides its own.
    const terms = 2 * largest(input.features.data) * sum * slope / (area.data[n]! + emptyArea);
    scaleOfLogits = Math.max(scaleOfLogits, collected * terms);
  }
  return Math.max(
    ofFeatures,
    difference(got.maskLogits, expected.maskLogits.data) / scaleOfLogits,
  );
}

/** The laws of mask pooling, about any implementation. */
export const lawsOfMaskPooling: readonly LawOf<MaskPoolingImplementation>[] = [
  law("agrees with the float64 reference", async (subject, c) => {
    const { mode } = c;
    const input = drawMaskPoolingInput(c);
    const expected = await maskPoolingReference(input, { mode });
    if (isIllConditioned(c, input.maskLogits, expected)) return null;
    const got = await subject.maskPooling(input, { mode });
    const empty = Array.from(expected.area.data, (area) => area <= emptyArea);
    if (mode === "hard" && String(got.empty) !== String(empty)) return Infinity;
    return Math.max(
      difference(got.pooled, expected.pooled.data) / largest(input.features.data),
      areaError(got.area, expected.area.data),
    );
  }),

  law("a mask that covers nothing gives zeros and is flagged", async (subject, c) => {
    const { features, maskLogits } = drawMaskPoolingInput({ ...c, kind: "normal" });
    const plane = c.maskHeight * c.maskWidth;
    const emptied = maskLogits.data.map((logit, i) =>
      Math.floor(i / plane) % 2 === 0 ? -Math.abs(logit) : Math.abs(logit) + 0.1
    );
    const got = await subject.maskPooling(
      { features, maskLogits: float32(maskLogits.shape, emptied) },
      { mode: "hard" },
    );
    for (let n = 0; n < c.masks; n++) {
      const row = got.pooled.subarray(n * c.channels, (n + 1) * c.channels);
      if (got.empty[n] !== (n % 2 === 0)) return Infinity;
      if (n % 2 === 0 && (got.area[n] !== 0 || row.some((value) => value !== 0))) return Infinity;
    }
    return 0;
  }),

  law("constant features pool to the constant", async (subject, c) => {
    const { features, maskLogits } = drawMaskPoolingInput(c);
    const pixels = c.height * c.width;
    const constant = features.data.map((_, i) => features.data[Math.floor(i / pixels) * pixels]!);
    const got = await subject.maskPooling(
      { features: float32(features.shape, constant), maskLogits },
      { mode: c.mode },
    );
    const expected = got.pooled.map((_, at) => {
      const n = Math.floor(at / c.channels);
      const share = got.area[n]! / (got.area[n]! + emptyArea);
      return share * constant[(at % c.channels) * pixels]!;
    });
    // Equal terms round alike, so that a plain sum's error grows with their number.
    return difference(got.pooled, expected) / largest(constant) / Math.max(1, pixels / 128);
  }),

  law("linear in the features", async (subject, c) => {
    const input = drawMaskPoolingInput(c);
    const { features, maskLogits } = input;
    const { mode } = c;
    const rng = new Rng(c.seed + 5);
    // One half of the entries and the other: their sum is exact.
    const first = float32(features.shape, features.data.map((x) => rng.integer(2) ? x : 0));
    const rest = float32(features.shape, features.data.map((x, i) => first.data[i] ? 0 : x));
    const whole = await subject.maskPooling(input, { mode });
    const a = await subject.maskPooling({ features: first, maskLogits }, { mode });
    const b = await subject.maskPooling({ features: rest, maskLogits }, { mode });
    const sum = Float64Array.from(a.pooled, (x, i) => x + b.pooled[i]!);
    return difference(whole.pooled, sum) / largest(features.data) / 2;
  }),

  law("saturated soft masks are hard masks", async (subject, c) => {
    const same = { ...c, maskHeight: c.height, maskWidth: c.width, kind: "normal" as const };
    const { features, maskLogits } = drawMaskPoolingInput(same);
    const saturated = maskLogits.data.map((logit) => logit > 0 ? 1e6 : -1e6);
    const input = { features, maskLogits: float32(maskLogits.shape, saturated) };
    const soft = await subject.maskPooling(input, { mode: "soft" });
    const hard = await subject.maskPooling(input, { mode: "hard" });
    return difference(soft.pooled, hard.pooled) / largest(features.data);
  }),

  law("repeats bit by bit", async (subject, c) => {
    const input = drawMaskPoolingInput(c);
    const first = await subject.maskPooling(input, { mode: c.mode });
    const again = await (subject.fresh ?? subject).maskPooling(input, { mode: c.mode });
    const same = sameBits(first.pooled, again.pooled) && sameBits(first.area, again.area);
    return same ? 0 : Infinity;
  }),

  law("permuted masks, permuted rows", async (subject, c) => {
    const input = drawMaskPoolingInput(c);
    const order = permutation(c.masks, c.seed + 3);
    const first = await subject.maskPooling(input, { mode: c.mode });
    const other = await subject.maskPooling(
      { ...input, maskLogits: permuteRows(input.maskLogits, order) },
      { mode: c.mode },
    );
    const expected = permuteRows(
      float32([c.masks, c.channels], Float32Array.from(first.pooled)),
      order,
    );
    return difference(other.pooled, expected.data) / largest(input.features.data);
  }),

  law("gradients agree with the float64 reference", async (subject, c) => {
    const { mode } = c;
    const input = drawMaskPoolingInput(c, 12);
    const forward = await maskPoolingReference(input, { mode });
    if (isIllConditioned(c, input.maskLogits, forward)) return null;
    const pooled = drawCotangent(c);
    return gradientError(
      c,
      input,
      await subject.maskPoolingGradients!(input, { pooled }, { mode }),
    );
  }, lacksGradients),

  law("constant features leave the masks no gradient", async (subject, c) => {
    const mode = "soft";
    const { features, maskLogits } = drawMaskPoolingInput({ ...c, kind: "normal" });
    const pixels = c.height * c.width;
    const constant = features.data.map((_, i) => features.data[Math.floor(i / pixels) * pixels]!);
    const input = { features: float32(features.shape, constant), maskLogits };
    const got = await subject.maskPoolingGradients!(
      input,
      { pooled: drawCotangent(c) },
      { mode },
    );
    return gradientError({ ...c, mode }, input, got);
  }, lacksGradients),

  law("features times their gradient is pooled rows times theirs", async (subject, c) => {
    const { mode } = c;
    const input = drawMaskPoolingInput({ ...c, kind: "normal" });
    const cotangent = drawCotangent(c);
    const { pooled } = await subject.maskPooling(input, { mode });
    const { features } = await subject.maskPoolingGradients!(input, { pooled: cotangent }, {
      mode,
    });
    // By linearity; the terms' magnitudes say what rounding may do.
    let [left, right, scale] = [0, 0, 0];
    features.forEach((g, i) => {
      left += g * input.features.data[i]!;
      scale += Math.abs(g * input.features.data[i]!);
    });
    pooled.forEach((f, i) => {
      right += f * cotangent.data[i]!;
      scale += Math.abs(f * cotangent.data[i]!);
    });
    return left === right ? 0 : Math.abs(left - right) / scale;
  }, lacksGradients),

  law("a batch is its members one by one", async (subject, c) => {
    const { mode } = c;
    const members = Array.from(
      { length: c.batch },
      (_, b) => drawMaskPoolingInput({ ...c, seed: c.seed + b }),
    );
    const expected = await Promise.all(
      members.map((input) => maskPoolingReference(input, { mode })),
    );
    if (members.some(({ maskLogits }, b) => isIllConditioned(c, maskLogits, expected[b]!))) {
      return null;
    }
    const got = await subject.maskPooling({
      features: stack(members.map(({ features }) => features)),
      maskLogits: stack(members.map(({ maskLogits }) => maskLogits)),
    }, { mode });
    if (got.empty.length !== c.batch * c.masks) return NaN;
    const size = c.masks * c.channels;
    if (got.pooled.length !== c.batch * size) return NaN;
    let worst = 0;
    for (const [b, { pooled, area }] of expected.entries()) {
      const error = Math.max(
        difference(got.pooled.subarray(b * size, (b + 1) * size), pooled.data) /
          largest(members[b]!.features.data),
        areaError(got.area.subarray(b * c.masks, (b + 1) * c.masks), area.data),
      );
      worst = Math.max(worst, error);
    }
    return worst;
  }),

  law("a batch's gradients are its members' one by one", async (subject, c) => {
    const { mode } = c;
    const members = Array.from({ length: c.batch }, (_, b) => ({ ...c, seed: c.seed + b }))
      .map((c) => ({ c, input: drawMaskPoolingInput(c, 12) }));
    for (const { input } of members) {
      const forward = await maskPoolingReference(input, { mode });
      if (isIllConditioned(c, input.maskLogits, forward)) return null;
    }
    const got = await subject.maskPoolingGradients!(
      {
        features: stack(members.map(({ input }) => input.features)),
        maskLogits: stack(members.map(({ input }) => input.maskLogits)),
      },
      { pooled: stack(members.map(({ c }) => drawCotangent(c))) },
      { mode },
    );
    let worst = 0;
    for (const [b, { c, input }] of members.entries()) {
      const part = (data: Numbers, size: number) => data.subarray(b * size, (b + 1) * size);
      const error = await gradientError(c, input, {
        features: part(got.features, input.features.data.length),
        maskLogits: got.maskLogits && part(got.maskLogits, input.maskLogits.data.length),
      });
      worst = Math.max(worst, error);
    }
    return worst;
  }, lacksGradients),

  law("float16 inputs are as good as their values", async (subject, c) => {
    const { mode } = c;
    const tame = c.kind === "huge" || c.kind === "saturated" ? "normal" : c.kind;
    const input = drawMaskPoolingInput({ ...c, kind: tame }, 3);
    const half = (tensor: HostTensor<"float32">) =>
      new HostTensor("float16", tensor.shape, toFloat16Array(tensor.data));
    const value = (tensor: HostTensor<"float16">) =>
      float32(tensor.shape, Float32Array.from(tensor.data, fromFloat16));
    const halves = { features: half(input.features), maskLogits: half(input.maskLogits) };
    const values = { features: value(halves.features), maskLogits: value(halves.maskLogits) };
    const expected = await maskPoolingReference(values, { mode });
    if (isIllConditioned(c, values.maskLogits, expected)) return null;
    const got = await subject.maskPooling(halves, { mode });
    return float32Tolerance / float16Tolerance * Math.max(
      difference(got.pooled, expected.pooled.data) / largest(values.features.data),
      areaError(got.area, expected.area.data),
    );
  }, lacksFloat16),
];

/**
 * The laws of mask pooling, about one implementation; those about what it lacks are left out.
 *
 * @param implementation For example {@linkcode kernelsOn} a device.
 * @param name How it is called in the laws' names.
 */
export function maskPoolingLaws(implementation: MaskPoolingImplementation, name?: string): Law[] {
  return lawsOfMaskPooling.map((law) =>
    bindLaw(law, implementation, name === undefined ? law.name : `${name}: ${law.name}`)
  );
}
