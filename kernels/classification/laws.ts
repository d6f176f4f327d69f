/**
 * What is true of per-pixel classification, whoever computes it.
 *
 * @module
 */
import fc from "fast-check";
import { fromFloat16, toFloat16Array } from "../../lib/float16.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { bindLaw, defineLaw, type Law, type LawOf } from "../../lib/testing/law.ts";
import { drawMasks, type MaskKind, maskKinds } from "../../lib/testing/masks.ts";
import { type Numbers, permutation, permuteRows, sameBits } from "../../lib/testing/numbers.ts";
import { edges, seeds, sizes } from "../../lib/testing/sizes.ts";
import { emptyScore } from "./contract.ts";
import { classificationReference } from "./reference.ts";

/** The bound of float32, relative to a pixel's score. */
const float32Tolerance = 2e-6;

/** How far float32 moves an interpolated logit, relative to the largest of its four samples. */
const logitRounding = 2 ** -22;

/** The inputs, on the host. */
export interface ClassificationTensors {
  /** N×h×w */
  readonly maskLogits: HostTensor;
  /** N×C */
  readonly probabilities: HostTensor;
}

/** How a case is classified. */
export interface ClassificationSettings {
  /** H */
  readonly height: number;
  /** W */
  readonly width: number;
  /** Scores below it are void. */
  readonly threshold?: number;
}

/** What an implementation returns. */
export interface ClassificationNumbers {
  /** H×W, −1 for void. */
  readonly labels: Int32Array;
  /** H×W, 0 for void. */
  readonly scores: Numbers;
}

/** Something that claims to compute per-pixel classification. */
export interface ClassificationImplementation {
  /** Classifies; the inputs are float32, and float16 where {@linkcode float16} says so. */
  classification(
    input: ClassificationTensors,
    settings: ClassificationSettings,
  ): Promise<ClassificationNumbers>;
  /** The same with every class scored at every pixel. Left out where nothing is ever left out. */
  unprunedClassification?(
    input: ClassificationTensors,
    settings: ClassificationSettings,
  ): Promise<ClassificationNumbers>;
  /** Whether it takes float16. */
  readonly float16?: boolean;
}

/** What may be special about a case's probabilities. */
export const probabilityKinds = ["softmax", "sharp", "equal", "zeros among them", "tiny"] as const;

/** One run of per-pixel classification, in a few numbers. */
export interface ClassificationCase {
  /** N */
  readonly masks: number;
  /** C */
  readonly classes: number;
  /** h */
  readonly maskHeight: number;
  /** w */
  readonly maskWidth: number;
  /** H */
  readonly height: number;
  /** W */
  readonly width: number;
  /** What is special about the masks. */
  readonly kind: MaskKind;
  /** What is special about the probabilities. */
  readonly probabilities: typeof probabilityKinds[number];
  /** Of the entries. */
  readonly seed: number;
}

const outputs = fc.oneof(
  { weight: 8, arbitrary: edges() },
  { weight: 1, arbitrary: fc.integer({ min: 30, max: 70 }) },
);

/** Cases of classification: N = 1, C = 1, one pixel, smaller and larger outputs among them. */
export const classificationCases: fc.Arbitrary<ClassificationCase> = fc.record({
  masks: sizes(34),
  classes: sizes(70),
  maskHeight: edges(),
  maskWidth: edges(),
  height: outputs,
  width: outputs,
  kind: fc.constantFrom(...maskKinds),
  probabilities: fc.constantFrom(...probabilityKinds),
  seed: seeds,
});

/** Draws the inputs of a case, float32. */
export function drawClassificationInput(c: ClassificationCase): {
  maskLogits: HostTensor<"float32">;
  probabilities: HostTensor<"float32">;
} {
  const rng = new Rng(c.seed);
  const { masks, classes } = c;
  const maskLogits = drawMasks(
    { masks, height: c.maskHeight, width: c.maskWidth, kind: c.kind, seed: c.seed },
    rng,
  );
  const probabilities = new Float32Array(masks * classes);
  for (let n = 0; n < masks; n++) {
    const row = Array.from({ length: classes }, () => {
      if (c.probabilities === "equal") return 1;
      if (c.probabilities === "zeros among them" && rng.integer(2) === 0) return 0;
      return Math.exp((c.probabilities === "sharp" ? 8 : 1) * rng.normal());
    });
    // Void takes its share.
    const sum = row.reduce((a, b) => a + b, Math.exp(rng.normal()));
    const scale = c.probabilities === "tiny" ? 1e-25 : 1;
    row.forEach((value, k) => probabilities[n * classes + k] = scale * value / sum);
  }
  return { maskLogits, probabilities: float32([masks, classes], probabilities) };
}

/**
 * How far a result is from the definition, beyond what float32 does to the interpolated logits, and
 * relative to each pixel's score. A wrong label counts by how much its score falls behind the best.
 */
export async function classificationError(
  input: ClassificationTensors,
  settings: ClassificationSettings,
  got: ClassificationNumbers,
): Promise<number> {
  const { height, width, threshold = 0 } = settings;
  const pixels = height * width;
  if (got.labels.length !== pixels || got.scores.length !== pixels) return Infinity;
  const [low, high] = await scoreBounds(input, settings);
  const classes = input.probabilities.shape[1]!;
  let worst = 0;
  const note = (shortfall: number, of: number) => {
    if (!(shortfall <= 0)) worst = Math.max(worst, shortfall / of);
  };
  for (let pixel = 0; pixel < pixels; pixel++) {
    const label = got.labels[pixel]!;
    const score = got.scores[pixel]!;
    let best = 0;
    for (let c = 0; c < classes; c++) best = Math.max(best, low[c * pixels + pixel]!);
    if (label === -1) {
      // Void is right where no class certainly reaches both bounds.
      if (score !== 0) return Infinity;
      if (best > emptyScore) note(best - Math.max(threshold, emptyScore), best);
      continue;
    }
    if (!(label >= 0 && label < classes) || !Number.isFinite(score)) return Infinity;
    const [least, most] = [low[label * pixels + pixel]!, high[label * pixels + pixel]!];
    if (score < threshold || score <= emptyScore) return Infinity;
    note(best - most, best);
    note(least - score, least);
    note(score - most, most);
  }
  return worst;
}

/** C×H×W scores when every logit is as low, and as high, as rounding can make it. */
async function scoreBounds(
  input: ClassificationTensors,
  settings: ClassificationSettings,
): Promise<[Float64Array, Float64Array]> {
  const { maskLogits, probabilities } = input;
  const [masks, maskHeight, maskWidth] = maskLogits.shape as [number, number, number];
  const { height, width } = settings;
  const pixels = height * width;
  const classes = probabilities.shape[1]!;
  const m = await doubles(maskLogits);
  const p = await doubles(probabilities);
  const low = new Float64Array(classes * pixels);
  const high = new Float64Array(classes * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const [y0, y1, fy] = between(Math.floor(pixel / width), maskHeight, height);
    const [x0, x1, fx] = between(pixel % width, maskWidth, width);
    for (let n = 0; n < masks; n++) {
      const [a, b, c, d] = [[y0, x0], [y0, x1], [y1, x0], [y1, x1]].map(([y, x]) =>
        m[(n * maskHeight + y!) * maskWidth + x!]!
      ) as [number, number, number, number];
      const logit = (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d);
      const slack = logitRounding * Math.max(...[a, b, c, d].map(Math.abs));
      const [s, t] = [1 / (1 + Math.exp(slack - logit)), 1 / (1 + Math.exp(-slack - logit))];
      for (let k = 0; k < classes; k++) {
        low[k * pixels + pixel]! += p[n * classes + k]! * s;
        high[k * pixels + pixel]! += p[n * classes + k]! * t;
      }
    }
  }
  return [low, high];
}

function between(i: number, inputs: number, outputs: number): [number, number, number] {
  const position = Math.min(Math.max(0, (i + 0.5) * inputs / outputs - 0.5), inputs - 1);
  const low = Math.floor(position);
  return [low, Math.min(low + 1, inputs - 1), position - low];
}

async function doubles(tensor: HostTensor): Promise<Float64Array> {
  const data = await tensor.read();
  return data instanceof Uint16Array
    ? Float64Array.from(data, fromFloat16)
    : Float64Array.from(data as Float32Array);
}

type Subject = ClassificationImplementation;

function outputOf({ height, width }: ClassificationCase): ClassificationSettings {
  return { height, width };
}

function law(
  name: string,
  judge: (subject: Subject, c: ClassificationCase) => Promise<number | null>,
  lacks?: (subject: Subject) => string | null,
): LawOf<Subject> {
  return defineLaw<Subject, ClassificationCase>(
    `classification: ${name}`,
    classificationCases,
    judge,
    { tolerance: float32Tolerance, ...(lacks ? { lacks } : {}) },
  );
}

function sameNumbers(a: ClassificationNumbers, b: ClassificationNumbers): boolean {
  return a.labels.length === b.labels.length &&
    a.labels.every((label, i) => label === b.labels[i]) &&
    sameBits(a.scores, b.scores);
}

/** Column `i` of the result is column `order[i]` of the rows. */
function takeColumns(
  tensor: HostTensor<"float32">,
  order: readonly number[],
): HostTensor<"float32"> {
  const [rows, columns] = tensor.shape as [number, number];
  const data = Float32Array.from(
    { length: rows * order.length },
    (_, i) => tensor.data[Math.floor(i / order.length) * columns + order[i % order.length]!]!,
  );
  return float32([rows, order.length], data);
}

/** The laws of per-pixel classification, about any implementation. */
export const lawsOfClassification: readonly LawOf<ClassificationImplementation>[] = [
  law("agrees with the definition, at any size and magnitude", async (subject, c) => {
    const input = drawClassificationInput(c);
    return await classificationError(input, c, await subject.classification(input, outputOf(c)));
  }),

  law("labels are those of the float64 reference wherever it is sure", async (subject, c) => {
    const input = drawClassificationInput(c);
    const expected = await classificationReference({
      ...input,
      height: c.height,
      width: c.width,
    });
    // The bounds of the other law judge the scores; this one catches an error in the bounds.
    if (c.kind === "saturated" || c.kind === "huge") return null;
    const got = await subject.classification(input, outputOf(c));
    const pixels = c.height * c.width;
    let worst = 0;
    for (let pixel = 0; pixel < pixels; pixel++) {
      const label = got.labels[pixel]!;
      const best = expected.scores.data[pixel]!;
      const score = label < 0 ? 0 : expected.all.data[label * pixels + pixel]!;
      if (label < 0 !== expected.labels.data[pixel]! < 0) return Infinity;
      if (best > 0) worst = Math.max(worst, (best - score) / best);
    }
    // Each of the two scores may be off, and the logits' rounding is not in the unit.
    return worst / 4;
  }),

  law("repeats bit by bit", async (subject, c) => {
    const input = drawClassificationInput(c);
    const first = await subject.classification(input, outputOf(c));
    return sameNumbers(first, await subject.classification(input, outputOf(c))) ? 0 : Infinity;
  }),

  law(
    "leaving classes out changes no bit",
    async (subject, c) => {
      const input = drawClassificationInput(c);
      const pruned = await subject.classification(input, outputOf(c));
      return sameNumbers(pruned, await subject.unprunedClassification!(input, outputOf(c)))
        ? 0
        : Infinity;
    },
    (subject) => subject.unprunedClassification ? null : "it leaves no classes out",
  ),

  law("permuted masks with their probabilities change nothing", async (subject, c) => {
    const input = drawClassificationInput(c);
    const order = permutation(c.masks, c.seed);
    const permuted = {
      maskLogits: permuteRows(input.maskLogits, order),
      probabilities: permuteRows(input.probabilities, order),
    };
    return await classificationError(input, c, await subject.classification(permuted, outputOf(c)));
  }),

  law("permuted classes permute the labels", async (subject, c) => {
    const input = drawClassificationInput(c);
    const order = permutation(c.classes, c.seed);
    const { labels, scores } = await subject.classification({
      ...input,
      probabilities: takeColumns(input.probabilities, order),
    }, outputOf(c));
    const back = labels.map((label) => label < 0 ? label : order[label]!);
    return await classificationError(input, c, { labels: back, scores });
  }),

  law("of equal classes the lower one wins", async (subject, c) => {
    const input = drawClassificationInput(c);
    const twice = Array.from({ length: 2 * c.classes }, (_, i) => i % c.classes);
    const got = await subject.classification({
      ...input,
      probabilities: takeColumns(input.probabilities, twice),
    }, outputOf(c));
    if (c.probabilities === "equal" && got.labels.some((label) => label > 0)) return Infinity;
    return await classificationError(input, c, got);
  }),

  law("a threshold voids what is below it, and nothing else", async (subject, c) => {
    const input = drawClassificationInput(c);
    const all = await subject.classification(input, outputOf(c));
    const threshold = all.scores.toSorted()[all.scores.length >> 1]!;
    const got = await subject.classification(input, { ...outputOf(c), threshold });
    const expected = {
      labels: all.labels.map((label, i) => all.scores[i]! >= threshold ? label : -1),
      scores: all.scores.map((score) => score >= threshold ? score : 0),
    };
    return sameNumbers(got, expected) ? 0 : Infinity;
  }),

  law("where nothing is probable, and where nothing covers, all is void", async (subject, c) => {
    const { maskLogits, probabilities } = drawClassificationInput(c);
    const nothing = float32(probabilities.shape);
    const nowhere = float32(maskLogits.shape, maskLogits.data.map(() => -1e6));
    for (
      const input of [{ maskLogits, probabilities: nothing }, {
        maskLogits: nowhere,
        probabilities,
      }]
    ) {
      const { labels, scores } = await subject.classification(input, outputOf(c));
      if (labels.some((label) => label !== -1) || scores.some((score) => score !== 0)) {
        return Infinity;
      }
    }
    return 0;
  }),

  law("a single mask that covers everything is the image's label", async (subject, c) => {
    const { probabilities } = drawClassificationInput({ ...c, masks: 1 });
    const maskLogits = float32([1, c.maskHeight, c.maskWidth]);
    maskLogits.data.fill(1e6);
    const { labels } = await subject.classification({ maskLogits, probabilities }, outputOf(c));
    let best = -1;
    let top = emptyScore;
    probabilities.data.forEach((p, k) => {
      if (p > top) [best, top] = [k, p];
    });
    return labels.every((label) => label === best) ? 0 : Infinity;
  }),

  law(
    "float16 inputs count as their values",
    async (subject, c) => {
      const { maskLogits, probabilities } = drawClassificationInput({
        ...c,
        kind: c.kind === "huge" || c.kind === "saturated" ? "normal" : c.kind,
      });
      const halves = ({ shape, data }: HostTensor<"float32">) =>
        new HostTensor("float16", shape, toFloat16Array(data));
      const floats = ({ shape, data }: HostTensor<"float16">) =>
        float32(shape, Float32Array.from(data, fromFloat16));
      const [m, p] = [halves(maskLogits), halves(probabilities)];
      const expected = await subject.classification({
        maskLogits: floats(m),
        probabilities: floats(p),
      }, outputOf(c));
      const got = await subject.classification({ maskLogits: m, probabilities: p }, outputOf(c));
      return sameNumbers(got, expected) ? 0 : Infinity;
    },
    ({ float16 }) => float16 ? null : "it does not take float16",
  ),
];

/**
 * The laws of per-pixel classification, about one implementation; those about what it lacks are left
 * out.
 *
 * @param implementation For example a {@linkcode PixelClassification} of a device.
 * @param name How it is called in the laws' names.
 */
export function classificationLaws(
  implementation: ClassificationImplementation,
  name?: string,
): Law[] {
  return lawsOfClassification.map((law) =>
    bindLaw(law, implementation, name === undefined ? law.name : `${name}: ${law.name}`)
  );
}
