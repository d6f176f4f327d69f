/**
 * What is true of Gradient-Free Aggregation, whoever computes it.
 *
 * @module
 */
import fc from "fast-check";
import { fromFloat16, toFloat16Array } from "../../lib/float16.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import {
  drawEmbeddings,
  type EmbeddingKind,
  embeddingKinds,
  startRows,
} from "../../lib/testing/embeddings.ts";
import { bindLaw, defineLaw, type Law, type LawOf } from "../../lib/testing/law.ts";
import {
  difference,
  largest,
  longestRow,
  type Numbers,
  permutation,
  permuteRows,
  reflection,
  sameBits,
  unitRows,
} from "../../lib/testing/numbers.ts";
import { seeds, sizes } from "../../lib/testing/sizes.ts";
import { type GfaMethod, type GfaOptions, seriesTolerance, stepsBound } from "./contract.ts";
import { gfaGradients, gfaIteration, gfaReference } from "./reference.ts";

/** The bound of float32, relative to the largest entry and times the condition 1/(1−ω²). */
export const float32Tolerance = 2e-6;

/** The bound of inputs stored in float16. */
export const float16Tolerance = 2e-3;

/** Both matrices of GFA, on the host: the inputs, or the gradients by the outputs. */
export interface GfaTensors {
  /** [B×]N_C×D */
  readonly clip: HostTensor;
  /** [B×]N_Q×D */
  readonly query: HostTensor;
}

/** What an implementation returns: both outputs, or the gradients by both inputs. */
export interface GfaNumbers {
  /** [B×]N_C×D */
  readonly clip: Numbers;
  /** [B×]N_Q×D */
  readonly query: Numbers;
  /** See {@linkcode FusedEmbeddings.method}. */
  readonly method?: GfaMethod;
  /** See {@linkcode FusedEmbeddings.errorBound}. */
  readonly errorBound?: number;
}

/** Something that claims to compute GFA. */
export interface GfaImplementation {
  /** Fuses; the inputs are float32, and float16 where {@linkcode float16} says so. */
  gfa(input: GfaTensors, options: GfaOptions): Promise<GfaNumbers>;
  /** Gradients of a loss by the inputs, from those by the outputs; left out where there are none. */
  gfaGradients?(
    input: GfaTensors,
    cotangent: GfaTensors,
    options: GfaOptions,
  ): Promise<GfaNumbers>;
  /** Whether it takes float16. */
  readonly float16?: boolean;
  /** Where results are remembered from one law to the next: what computes them anew. */
  readonly fresh?: GfaImplementation;
}

/** One run of GFA, in a few numbers. */
export interface GfaCase {
  /** N_C */
  readonly clips: number;
  /** N_Q */
  readonly queries: number;
  /** D */
  readonly channels: number;
  /** What is special about the rows. */
  readonly kind: EmbeddingKind;
  /** ω */
  readonly omega: number;
  /** λ */
  readonly lambda: number;
  /** Steps, where a finite walk is judged. */
  readonly walk: number;
  /** Decimal places of the series' tolerance. */
  readonly digits: number;
  /** How far raw affinity stays from divergence: ω²‖PZ‖∞. */
  readonly rate: number;
  /** B, where a batch is judged. */
  readonly batch: number;
  /** Of the entries. */
  readonly seed: number;
}

/** Cases of GFA: N = 1, D = 1, identical and zero rows, huge and tiny magnitudes among them. */
export const gfaCases: fc.Arbitrary<GfaCase> = fc.record({
  clips: sizes(),
  queries: sizes(),
  channels: sizes(),
  kind: fc.constantFrom(...embeddingKinds),
  omega: fc.oneof(
    fc.double({ min: 0.01, max: 0.95, noNaN: true }),
    fc.constantFrom(1e-6, 0.5, 0.99, 0.9999),
  ),
  lambda: fc.double({ min: -2, max: 1, noNaN: true }).map((exponent) => 10 ** exponent),
  walk: fc.integer({ min: 1, max: 6 }),
  digits: fc.integer({ min: 1, max: 7 }),
  rate: fc.double({ min: 0.01, max: 0.95, noNaN: true }),
  batch: fc.integer({ min: 1, max: 3 }),
  seed: seeds,
});

/** Draws the inputs of a case, float32 N_C×D and N_Q×D. */
export function drawGfaInput(
  c: Pick<GfaCase, "clips" | "queries" | "channels" | "kind" | "seed">,
  extreme?: number,
): { clip: HostTensor<"float32">; query: HostTensor<"float32"> } {
  const start = startRows(c);
  return {
    clip: drawEmbeddings({ ...c, rows: c.clips }, start, extreme),
    query: drawEmbeddings({ ...c, rows: c.queries }, start, extreme),
  };
}

/** Draws gradients by the outputs of a case. */
export function drawGfaCotangent(
  c: Pick<GfaCase, "clips" | "queries" | "channels" | "seed">,
): { clip: HostTensor<"float32">; query: HostTensor<"float32"> } {
  const rng = new Rng(c.seed + 9);
  const rows = (count: number) =>
    float32(
      [count, c.channels],
      Float32Array.from({ length: count * c.channels }, () => rng.normal()),
    );
  return { clip: rows(c.clips), query: rows(c.queries) };
}

function stack(items: readonly HostTensor<"float32">[]): HostTensor<"float32"> {
  const size = items[0]!.data.length;
  const data = new Float32Array(items.length * size);
  items.forEach((item, i) => data.set(item.data, i * size));
  return float32([items.length, ...items[0]!.shape], data);
}

function rounded(tensor: HostTensor<"float32">): {
  bits: HostTensor<"float16">;
  values: HostTensor<"float32">;
} {
  const bits = toFloat16Array(tensor.data);
  return {
    bits: new HostTensor("float16", tensor.shape, bits),
    values: float32(tensor.shape, Float32Array.from(bits, fromFloat16)),
  };
}

/** 1/(1−ω²) bounds the inverse, and so how much rounding grows. */
function condition(c: Pick<GfaCase, "omega">): number {
  return 1 / (1 - c.omega ** 2);
}

/**
 * The larger of both outputs' errors, relative to the largest entry of either: one output alone may
 * cancel to nothing. What the method leaves out by its own account may be allowed.
 */
function apart(got: GfaNumbers, expected: GfaTensors, allowed = 0): number {
  const [clip, query] = [expected.clip.data as Numbers, expected.query.data as Numbers];
  const error = Math.max(difference(got.clip, clip), difference(got.query, query));
  return error <= allowed ? 0 : (error - allowed) / Math.max(largest(clip), largest(query));
}

/** How far fused rows lie outside the unit rows' range, along every axis and a random direction. */
function outside(
  c: GfaCase,
  input: ReturnType<typeof drawGfaInput>,
  { clip, query }: GfaNumbers,
): number {
  const rows = [
    ...unitRows(input.clip.data, c.channels),
    ...unitRows(input.query.data, c.channels),
  ];
  const rng = new Rng(c.seed + 1);
  const direction = Array.from({ length: c.channels }, () => rng.normal());
  const length = Math.hypot(...direction);
  const axes = Array.from({ length: c.channels }, (_, axis) => axis);
  const project = (values: ArrayLike<number>, at: number, axis: number | null) =>
    axis === null
      ? direction.reduce((sum, x, d) => sum + x * values[at + d]!, 0) / length
      : values[at + axis]!;
  let worst = 0;
  for (const axis of [null, ...axes]) {
    let low = Infinity;
    let high = -Infinity;
    for (let at = 0; at < rows.length; at += c.channels) {
      const value = project(rows, at, axis);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    for (const fused of [clip, query]) {
      for (let at = 0; at < fused.length; at += c.channels) {
        const value = project(fused, at, axis);
        const excess = Math.max(low - value, value - high, 0);
        worst = Math.max(worst, excess);
      }
    }
  }
  return worst;
}

/**
 * What raw affinity makes of unit rows, at λ = 1: ‖PZ‖∞, and the smallest column norm of Z that is
 * not 0. Dividing by it is what rounding grows by.
 */
function rawNorms(
  c: GfaCase,
  input: ReturnType<typeof drawGfaInput>,
): { system: number; smallest: number } {
  const clip = unitRows(input.clip.data, c.channels);
  const query = unitRows(input.query.data, c.channels);
  const z = (n: number, q: number) => {
    let sum = 0;
    for (let d = 0; d < c.channels; d++) {
      sum += clip[n * c.channels + d]! * query[q * c.channels + d]!;
    }
    return sum;
  };
  const affinity = Array.from(
    { length: c.clips },
    (_, n) => Array.from({ length: c.queries }, (_, q) => z(n, q)),
  );
  let system = 0;
  let smallest = Infinity;
  for (let q = 0; q < c.queries; q++) {
    const norm = affinity.reduce((sum, row) => sum + Math.abs(row[q]!), 0);
    if (norm === 0) continue;
    smallest = Math.min(smallest, norm);
    let total = 0;
    for (let other = 0; other < c.queries; other++) {
      let sum = 0;
      for (const row of affinity) sum += row[q]! / norm * row[other]!;
      total += Math.abs(sum);
    }
    system = Math.max(system, total);
  }
  return { system, smallest };
}

/**
 * The λ that brings raw affinity to a rate ω²‖PZ‖∞. Null where it is out of reach, or where a
 * query is so nearly orthogonal to all rows that its column is rounding.
 */
function rawLambda(
  c: GfaCase,
  rate: number,
  { system, smallest }: ReturnType<typeof rawNorms>,
): number | null {
  if (system === 0 || smallest < 1e-3) return null;
  const lambda = rate / (c.omega ** 2 * system);
  return lambda <= 1e6 ? lambda : null;
}

/**
 * How far gradients are off, in units of what rounding may do. Rows are first multiplied by the
 * input's length, since a gradient by a row is that by its direction, divided by the length.
 *
 * A zero row must have a zero gradient: it has no direction.
 */
function gradientError(
  input: GfaTensors,
  cotangent: GfaTensors,
  got: GfaNumbers,
  expected: GfaTensors,
): number {
  const columns = input.clip.shape.at(-1)!;
  let worst = 0;
  let scale = Math.max(
    largest(cotangent.clip.data as Numbers),
    largest(cotangent.query.data as Numbers),
  );
  for (const key of ["clip", "query"] as const) {
    const rows = input[key].data as Numbers;
    const [a, b] = [got[key], expected[key].data as Numbers];
    if (a.length !== b.length) return NaN;
    for (let at = 0; at < rows.length; at += columns) {
      const length = Math.hypot(...rows.subarray(at, at + columns));
      for (let i = at; i < at + columns; i++) {
        if (length === 0 && a[i] !== 0) return Infinity;
        scale = Math.max(scale, length * Math.abs(b[i]!));
        const error = length * Math.abs(a[i]! - b[i]!);
        worst = Math.max(worst, error);
      }
    }
  }
  return worst / scale;
}

type Subject = GfaImplementation;

function law(
  name: string,
  judge: (subject: Subject, c: GfaCase) => Promise<number | null>,
  lacks?: (subject: Subject) => string | null,
): LawOf<Subject> {
  return defineLaw<Subject, GfaCase>(`gfa: ${name}`, gfaCases, judge, {
    tolerance: float32Tolerance,
    ...(lacks ? { lacks } : {}),
  });
}

const lacksGradients = ({ gfaGradients }: Subject) => gfaGradients ? null : "it has no gradients";
const lacksFloat16 = ({ float16 }: Subject) => float16 ? null : "it does not take float16";

/** The laws of GFA, about any implementation. Errors are in units of what they are relative to. */
export const lawsOfGfa: readonly LawOf<GfaImplementation>[] = [
  law("agrees with the float64 reference", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const got = await subject.gfa(input, { omega, lambda });
    return apart(got, await gfaReference(input, { omega, lambda })) / condition(c);
  }),

  law("the direct solution agrees with the float64 reference", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const got = await subject.gfa(input, { omega, lambda, method: "closed" });
    if (got.method !== undefined && got.method !== "closed") return Infinity;
    return apart(got, await gfaReference(input, { omega, lambda })) / condition(c);
  }),

  law("the series keeps the error bound that it states", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const tolerance = 10 ** -c.digits;
    const got = await subject.gfa(input, { omega, lambda, method: "series", tolerance });
    const { method = "series", errorBound = tolerance } = got;
    if (method !== "series" || !(errorBound <= tolerance)) {
      throw new Error(`method ${method} with the bound ${errorBound}, tolerance ${tolerance}`);
    }
    const expected = await gfaReference(input, { omega, lambda });
    const error = Math.max(
      difference(got.clip, expected.clip.data),
      difference(got.query, expected.query.data),
    );
    // Rounding comes on top.
    return error <= errorBound ? 0 : (error - errorBound) / condition(c);
  }),

  law("a finite walk agrees with the reference's", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda, walk } = c;
    const got = await subject.gfa(input, { omega, lambda, method: "steps", steps: walk });
    return apart(got, await gfaIteration(input, { omega, lambda }, walk)) / condition(c);
  }),

  law("a walk comes nearer to the limit by omega squared per step", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda, walk } = c;
    const limit = await subject.gfa(input, { omega, lambda });
    const distance = async (steps: number) => {
      const got = await subject.gfa(input, { omega, lambda, method: "steps", steps });
      return difference(got.clip, limit.clip);
    };
    const [first, second] = [await distance(walk), await distance(walk + 1)];
    const excess = Math.max(
      first - stepsBound(omega, walk),
      second - omega ** 2 * first,
      0,
    );
    return Number.isNaN(first + second) ? NaN : excess / condition(c);
  }),

  law("rows are convex combinations of the unit rows", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    return outside(c, input, await subject.gfa(input, { omega, lambda })) / condition(c);
  }),

  law("stays finite and convex however sharp the affinity", async (subject, c) => {
    const input = drawGfaInput(c);
    const options = { omega: c.omega, lambda: 10 ** (1 + c.rate * 30) };
    return outside(c, input, await subject.gfa(input, options)) / condition(c);
  }),

  law("repeats bit by bit", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const first = await subject.gfa(input, { omega, lambda });
    const again = await (subject.fresh ?? subject).gfa(input, { omega, lambda });
    return sameBits(first.clip, again.clip) && sameBits(first.query, again.query) ? 0 : Infinity;
  }),

  law("permuted inputs, permuted outputs", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const forClip = permutation(c.clips, c.seed + 3);
    const forQuery = permutation(c.queries, c.seed + 4);
    const first = await subject.gfa(input, { omega, lambda });
    const other = await subject.gfa({
      clip: permuteRows(input.clip, forClip),
      query: permuteRows(input.query, forQuery),
    }, { omega, lambda });
    const expected = {
      clip: permuteRows(float32(input.clip.shape, Float32Array.from(first.clip)), forClip),
      query: permuteRows(float32(input.query.shape, Float32Array.from(first.query)), forQuery),
    };
    // Both sides round.
    return apart(other, expected) / condition(c) / 2;
  }),

  law("commutes with a rotation of the feature space", async (subject, c) => {
    const input = drawGfaInput(c);
    const { omega, lambda } = c;
    const reflect = reflection(c.channels, c.seed + 2);
    const first = await subject.gfa(input, { omega, lambda });
    const turned = (tensor: HostTensor<"float32">) =>
      float32(tensor.shape, Float32Array.from(reflect(tensor.data)));
    const other = await subject.gfa(
      { clip: turned(input.clip), query: turned(input.query) },
      { omega, lambda },
    );
    const error = Math.max(
      difference(other.clip, reflect(first.clip)),
      difference(other.query, reflect(first.query)),
    );
    if (error === 0) return 0;
    // A rotation may put all of a row on one axis.
    const scale = Math.max(
      longestRow(first.clip, c.channels),
      longestRow(first.query, c.channels),
    );
    // The rotated input is rounded to float32 as well: twice the rounding on either side.
    return error / scale / condition(c) / 4;
  }),

  law("omega towards 0 gives the unit rows back", async (subject, c) => {
    const input = drawGfaInput(c);
    const got = await subject.gfa(input, { omega: 1e-7, lambda: c.lambda });
    return Math.max(
      difference(got.clip, unitRows(input.clip.data, c.channels)),
      difference(got.query, unitRows(input.query.data, c.channels)),
    );
  }),

  law("one repeated row is a fixed point", async (subject, c) => {
    const { omega, lambda } = c;
    const input = drawGfaInput({ ...c, kind: "identical" });
    const got = await subject.gfa(input, { omega, lambda });
    return Math.max(
      difference(got.clip, unitRows(input.clip.data, c.channels)),
      difference(got.query, unitRows(input.query.data, c.channels)),
    ) / condition(c);
  }),

  law("raw affinity agrees with the float64 reference", async (subject, c) => {
    const input = drawGfaInput(c);
    const norms = rawNorms(c, input);
    const lambda = rawLambda(c, c.rate, norms);
    if (lambda === null) return null;
    const options = { omega: c.omega, lambda, affinity: "raw" } as const;
    const got = await subject.gfa(input, options);
    // P divides by the columns' norms, Z multiplies by λ, the limit divides by 1 − ω²‖PZ‖∞.
    const growth = (1 + lambda) / Math.min(1, norms.smallest) / (1 - c.rate);
    // The result is as small as 1 − ω, what a series leaves out is not.
    const { errorBound = 0 } = got;
    if (!(errorBound <= seriesTolerance)) return Infinity;
    return apart(got, await gfaReference(input, options), errorBound) / growth;
  }),

  law(
    "raw affinity that may diverge is refused, with a lambda that will do",
    async (subject, c) => {
      const input = drawGfaInput(c);
      const norms = rawNorms(c, input);
      const lambda = rawLambda(c, 1.01 + 10 * c.rate, norms);
      if (lambda === null) return null;
      let message: string;
      try {
        await subject.gfa(input, { omega: c.omega, lambda, affinity: "raw" });
        throw new Error(`lambda ${lambda} is taken; the rate is ${1.01 + 10 * c.rate}`);
      } catch (error) {
        message = error instanceof Error ? error.message : String(error);
      }
      const best = rawLambda(c, 1, norms)!;
      const figures = message.match(/\d+(\.\d+)?(e[+-]?\d+)?/gi) ?? [];
      if (figures.some((figure) => Math.abs(Number(figure) / best - 1) < 2e-3)) return 0;
      throw new Error(`the refusal does not name lambda ${best}: ${message}`);
    },
  ),

  law("gradients agree with the float64 reference", async (subject, c) => {
    const [input, cotangent] = [drawGfaInput(c), drawGfaCotangent(c)];
    const { omega, lambda } = c;
    const got = await subject.gfaGradients!(input, cotangent, { omega, lambda });
    const expected = await gfaGradients(input, cotangent as never, { omega, lambda });
    return gradientError(input, cotangent, got, expected) / condition(c) / (1 + lambda);
  }, lacksGradients),

  law("gradients of a finite walk agree with the float64 reference", async (subject, c) => {
    const [input, cotangent] = [drawGfaInput(c), drawGfaCotangent(c)];
    const { omega, lambda } = c;
    const options = { omega, lambda, method: "steps", steps: c.walk } as const;
    const got = await subject.gfaGradients!(input, cotangent, options);
    const expected = await gfaGradients(input, cotangent as never, options);
    return gradientError(input, cotangent, got, expected) / condition(c) / (1 + lambda);
  }, lacksGradients),

  law("gradients of raw affinity agree with the float64 reference", async (subject, c) => {
    const [input, cotangent] = [drawGfaInput(c), drawGfaCotangent(c)];
    const norms = rawNorms(c, input);
    const lambda = rawLambda(c, c.rate, norms);
    if (lambda === null) return null;
    const options = { omega: c.omega, lambda, affinity: "raw" } as const;
    const got = await subject.gfaGradients!(input, cotangent, options);
    const expected = await gfaGradients(input, cotangent as never, options);
    const growth = (1 + lambda) / Math.min(1, norms.smallest) / (1 - c.rate);
    return gradientError(input, cotangent, got, expected) / growth;
  }, lacksGradients),

  law("stopped gradients are zero", async (subject, c) => {
    const { omega, lambda } = c;
    const got = await subject.gfaGradients!(drawGfaInput(c), drawGfaCotangent(c), {
      omega,
      lambda,
      gradient: "stop",
    });
    const isZero = (data: Numbers, rows: number) =>
      data.length === rows * c.channels && data.every((value) => value === 0);
    return isZero(got.clip, c.clips) && isZero(got.query, c.queries) ? 0 : Infinity;
  }, lacksGradients),

  law("a batch is its members one by one", async (subject, c) => {
    const { omega, lambda } = c;
    const inputs = Array.from(
      { length: c.batch },
      (_, b) => drawGfaInput({ ...c, seed: c.seed + b }),
    );
    const input = {
      clip: stack(inputs.map(({ clip }) => clip)),
      query: stack(inputs.map(({ query }) => query)),
    };
    const got = await subject.gfa(input, { omega, lambda });
    if (got.clip.length !== input.clip.data.length) return NaN;
    if (got.query.length !== input.query.data.length) return NaN;
    let worst = 0;
    for (const [b, member] of inputs.entries()) {
      const [clips, queries] = [member.clip.data.length, member.query.data.length];
      const error = apart({
        clip: got.clip.subarray(b * clips, (b + 1) * clips),
        query: got.query.subarray(b * queries, (b + 1) * queries),
      }, await gfaReference(member, { omega, lambda }));
      worst = Math.max(worst, error);
    }
    return worst / condition(c);
  }),

  law("a batch's gradients are its members' one by one", async (subject, c) => {
    const { omega, lambda } = c;
    const members = Array.from({ length: c.batch }, (_, b) => ({ ...c, seed: c.seed + b }))
      .map((c) => ({ input: drawGfaInput(c), cotangent: drawGfaCotangent(c) }));
    const stacked = (of: "input" | "cotangent") => ({
      clip: stack(members.map((member) => member[of].clip)),
      query: stack(members.map((member) => member[of].query)),
    });
    const got = await subject.gfaGradients!(stacked("input"), stacked("cotangent"), {
      omega,
      lambda,
    });
    let worst = 0;
    for (const [b, { input, cotangent }] of members.entries()) {
      const [clips, queries] = [input.clip.data.length, input.query.data.length];
      const error = gradientError(
        input,
        cotangent,
        {
          clip: got.clip.subarray(b * clips, (b + 1) * clips),
          query: got.query.subarray(b * queries, (b + 1) * queries),
        },
        await gfaGradients(input, cotangent as never, { omega, lambda }),
      );
      worst = Math.max(worst, error);
    }
    return worst / condition(c) / (1 + lambda);
  }, lacksGradients),

  law("float16 inputs are as good as their values", async (subject, c) => {
    const { omega, lambda } = c;
    const input = drawGfaInput(c, 3);
    const [clip, query] = [rounded(input.clip), rounded(input.query)];
    const got = await subject.gfa({ clip: clip.bits, query: query.bits }, { omega, lambda });
    const expected = await gfaReference(
      { clip: clip.values, query: query.values },
      { omega, lambda },
    );
    return apart(got, expected) * float32Tolerance / float16Tolerance;
  }, lacksFloat16),
];

/** Options of {@linkcode gfaLaws}. */
export interface GfaLawsOptions {
  /** How implementation is called in the laws' names. */
  readonly name?: string;
  /** The bound on errors relative to the largest entry times the condition; 2e-6 where left out. */
  readonly tolerance?: number;
  /** How many cases are judged at a time; 1 where left out. */
  readonly concurrency?: number;
}

/**
 * The laws of GFA, about one implementation: its agreement with a float64 reference by every
 * method, and what is true without any reference. Laws about what it lacks (gradients, float16) are
 * left out.
 *
 * @param implementation For example {@linkcode kernelsOn} a device.
 *
 * @example
 * ```ts ignore
 * import { gfaLaws, kernelsOn } from "@ovstage/ovstage/testing";
 * for (const law of gfaLaws(kernelsOn(device))) Deno.test(law.name, () => law.check());
 * ```
 */
export function gfaLaws(implementation: GfaImplementation, options: GfaLawsOptions = {}): Law[] {
  const { name, ...rest } = options;
  return lawsOfGfa.map((law) =>
    bindLaw(law, implementation, name === undefined ? law.name : `${name}: ${law.name}`, rest)
  );
}
