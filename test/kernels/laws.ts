/**
 * What is true of mask pooling and GFA, on every engine. Each law measures how far an
 * implementation is from it, in the unit of the tolerance.
 *
 * @module
 */
import fc from "fast-check";
import type { GfaInput, GfaOptions } from "../../kernels/gfa/gfa.ts";
import { gfaReference } from "../../kernels/gfa/reference.ts";
import type {
  MaskPoolingInput,
  MaskPoolingOptions,
} from "../../kernels/mask_pooling/mask_pooling.ts";
import { maskPoolingReference } from "../../kernels/mask_pooling/reference.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";
import {
  type GfaCase,
  gfaCases,
  gfaInput,
  maskPoolingCases,
  maskPoolingInput,
} from "./arbitraries.ts";

type Numbers = Float32Array | Float64Array;

/** Something that claims to compute the kernels. */
export interface Implementation {
  maskPooling(
    input: MaskPoolingInput,
    options: MaskPoolingOptions,
  ): Promise<{ pooled: Numbers; area: Numbers; empty: boolean[] }>;
  gfa(input: GfaInput, options: GfaOptions): Promise<{ clip: Numbers; query: Numbers }>;
}

/** A law, run on one implementation. */
export interface LawResult {
  name: string;
  /** Number of generated cases. */
  cases: number;
  /** The largest error, relative to the largest entry and, for GFA, times 1 − ω². */
  maxError: number;
  /** What it may be. */
  tolerance: number;
  ok: boolean;
  /** The smallest failing case that was found, with its seed. */
  message?: string;
}

/** A law. */
export interface Law {
  name: string;
  /** Runs it on generated cases. */
  run(
    implementation: Implementation,
    options: { seed: number; cases: number; tolerance: number },
  ): Promise<LawResult>;
}

/** The bound of float32, relative to the largest entry; for GFA times the condition 1/(1−ω²). */
export const float32Tolerance = 2e-6;

function law<C>(
  name: string,
  arbitrary: fc.Arbitrary<C>,
  measure: (implementation: Implementation, c: C) => Promise<number>,
): Law {
  return {
    name,
    async run(implementation, { seed, cases, tolerance }) {
      let maxError = 0;
      const property = fc.asyncProperty(arbitrary, async (c) => {
        const error = await measure(implementation, c);
        if (!(error <= maxError)) maxError = error;
        if (!(error <= tolerance)) throw new Error(`error ${error}, at most ${tolerance} allowed`);
      });
      const details = await fc.check(property, { seed, numRuns: cases });
      const result = { name, cases: details.numRuns, maxError, tolerance, ok: !details.failed };
      return details.failed
        ? {
          ...result,
          message: `seed ${details.seed}: ${JSON.stringify(details.counterexample)}: ${
            details.errorInstance instanceof Error ? details.errorInstance.message : "failed"
          }`,
        }
        : result;
    },
  };
}

/** All laws. */
export const laws: readonly Law[] = [
  law("mask pooling: agrees with the float64 reference", maskPoolingCases, async (impl, c) => {
    const input = maskPoolingInput(c);
    const expected = await maskPoolingReference(input, c);
    const resized = c.height !== c.maskHeight || c.width !== c.maskWidth;
    if (c.mode === "hard" && resized) {
      // Where the interpolated logit is zero but for rounding, either answer is right.
      const margin = 1e-5 * largest(input.maskLogits.data);
      fc.pre(expected.resized.data.every((logit) => Math.abs(logit) > margin));
    }
    const got = await impl.maskPooling(input, c);
    const empty = Array.from(expected.area.data, (area) => area <= 1e-8);
    if (c.mode === "hard" && String(got.empty) !== String(empty)) return Infinity;
    return Math.max(
      difference(got.pooled, expected.pooled.data) / largest(input.features.data),
      relative(got.area, expected.area.data),
    );
  }),

  law(
    "mask pooling: a mask that covers nothing gives zeros and is flagged",
    maskPoolingCases,
    async (impl, c) => {
      const { features, maskLogits } = maskPoolingInput({ ...c, kind: "normal" });
      const plane = c.maskHeight * c.maskWidth;
      const emptied = maskLogits.data.map((logit, i) =>
        Math.floor(i / plane) % 2 === 0 ? -Math.abs(logit) : Math.abs(logit) + 0.1
      );
      const got = await impl.maskPooling(
        { features, maskLogits: float32(maskLogits.shape, emptied) },
        { mode: "hard" },
      );
      for (let n = 0; n < c.masks; n++) {
        const row = got.pooled.subarray(n * c.channels, (n + 1) * c.channels);
        if (got.empty[n] !== (n % 2 === 0)) return Infinity;
        if (n % 2 === 0 && (got.area[n] !== 0 || row.some((value) => value !== 0))) return Infinity;
      }
      return 0;
    },
  ),

  law("mask pooling: constant features pool to the constant", maskPoolingCases, async (impl, c) => {
    const { features, maskLogits } = maskPoolingInput(c);
    const pixels = c.height * c.width;
    const constant = features.data.map((_, i) => features.data[Math.floor(i / pixels) * pixels]!);
    const got = await impl.maskPooling(
      { features: float32(features.shape, constant), maskLogits },
      c,
    );
    const expected = got.pooled.map((_, at) => {
      const n = Math.floor(at / c.channels);
      const share = got.area[n]! / (got.area[n]! + 1e-8);
      return share * constant[(at % c.channels) * pixels]!;
    });
    return difference(got.pooled, expected) / largest(constant);
  }),

  law("mask pooling: saturated soft masks are hard masks", maskPoolingCases, async (impl, c) => {
    const same = { ...c, maskHeight: c.height, maskWidth: c.width, kind: "normal" as const };
    const { features, maskLogits } = maskPoolingInput(same);
    const saturated = maskLogits.data.map((logit) => logit > 0 ? 1e6 : -1e6);
    const input = { features, maskLogits: float32(maskLogits.shape, saturated) };
    const soft = await impl.maskPooling(input, { mode: "soft" });
    const hard = await impl.maskPooling(input, { mode: "hard" });
    return difference(soft.pooled, hard.pooled) / largest(features.data);
  }),

  law(
    "mask pooling: repeats bit by bit; permuted masks, permuted rows",
    maskPoolingCases,
    async (impl, c) => {
      const input = maskPoolingInput(c);
      const order = permutation(c.masks, c.seed);
      const maskLogits = permuted(input.maskLogits, order);
      const first = await impl.maskPooling(input, c);
      const again = await impl.maskPooling(input, c);
      if (difference(first.pooled, again.pooled) !== 0) return Infinity;
      const other = await impl.maskPooling({ ...input, maskLogits }, c);
      const expected = permuted(
        float32([c.masks, c.channels], Float32Array.from(first.pooled)),
        order,
      );
      return difference(other.pooled, expected.data) / largest(input.features.data);
    },
  ),

  law("gfa: agrees with the float64 reference", gfaCases, async (impl, c) => {
    const input = gfaInput(c);
    const expected = await gfaReference(input, c);
    const got = await impl.gfa(input, c);
    return (1 - c.omega ** 2) * Math.max(
      relative(got.clip, expected.clip.data),
      relative(got.query, expected.query.data),
    );
  }),

  law("gfa: rows are convex combinations of the unit rows", gfaCases, async (impl, c) => {
    const input = gfaInput(c);
    const got = await impl.gfa(input, c);
    return (1 - c.omega ** 2) * outside(c, input, got);
  }),

  law(
    "gfa: stays finite and convex however sharp the affinity",
    fc.tuple(gfaCases, fc.double({ min: 1, max: 30, noNaN: true })),
    async (impl, [c, exponent]) => {
      const sharp = { ...c, lambda: 10 ** exponent };
      const input = gfaInput(sharp);
      const got = await impl.gfa(input, sharp);
      return (1 - c.omega ** 2) * outside(sharp, input, got);
    },
  ),

  law("gfa: repeats bit by bit; permuted inputs, permuted outputs", gfaCases, async (impl, c) => {
    const input = gfaInput(c);
    const forClip = permutation(c.clips, c.seed);
    const forQuery = permutation(c.queries, c.seed + 1);
    const first = await impl.gfa(input, c);
    const again = await impl.gfa(input, c);
    if (difference(first.clip, again.clip) + difference(first.query, again.query) !== 0) {
      return Infinity;
    }
    const other = await impl.gfa({
      clip: permuted(input.clip, forClip),
      query: permuted(input.query, forQuery),
    }, c);
    const clip = permuted(float32(input.clip.shape, Float32Array.from(first.clip)), forClip);
    const query = permuted(float32(input.query.shape, Float32Array.from(first.query)), forQuery);
    // Both sides round, and float32 storage of the expectation adds its own half unit.
    return (1 - c.omega ** 2) / 2 * Math.max(
      relative(other.clip, clip.data),
      relative(other.query, query.data),
    );
  }),

  law("gfa: commutes with a rotation of the feature space", gfaCases, async (impl, c) => {
    const input = gfaInput({ ...c, kind: "normal" });
    const reflect = reflection(c.channels, c.seed);
    const got = await impl.gfa(input, c);
    const other = await impl.gfa({
      clip: float32(input.clip.shape, Float32Array.from(reflect(input.clip.data))),
      query: float32(input.query.shape, Float32Array.from(reflect(input.query.data))),
    }, c);
    // The rotated input is rounded to float32 as well: twice the rounding on either side.
    return (1 - c.omega ** 2) / 4 * Math.max(
      difference(other.clip, reflect(got.clip)) / norm(got.clip, c),
      difference(other.query, reflect(got.query)) / norm(got.query, c),
    );
  }),

  law("gfa: omega towards 0 gives the unit rows back", gfaCases, async (impl, c) => {
    const input = gfaInput(c);
    const got = await impl.gfa(input, { omega: 1e-7, lambda: c.lambda });
    return Math.max(
      difference(got.clip, unitRows(input.clip)),
      difference(got.query, unitRows(input.query)),
    );
  }),

  law("gfa: one repeated row is a fixed point", gfaCases, async (impl, c) => {
    const input = gfaInput({ ...c, kind: "identical" });
    const got = await impl.gfa(input, c);
    return (1 - c.omega ** 2) * Math.max(
      relative(got.clip, unitRows(input.clip)),
      relative(got.query, unitRows(input.query)),
    );
  }),
];

/** How far fused rows lie outside the inputs' range, along every axis and a random direction. */
function outside(
  c: GfaCase,
  input: { clip: HostTensor<"float32">; query: HostTensor<"float32"> },
  got: { clip: Numbers; query: Numbers },
): number {
  const rng = new Rng(c.seed);
  const random = Array.from({ length: c.channels }, () => rng.normal());
  const length = Math.hypot(...random) || 1;
  const units = [unitRows(input.clip), unitRows(input.query)];
  let worst = 0;
  for (let axis = -1; axis < c.channels; axis++) {
    const along = (data: Numbers) => {
      const out: number[] = [];
      for (let at = 0; at < data.length; at += c.channels) {
        let sum = 0;
        for (let d = 0; d < c.channels; d++) sum += data[at + d]! * random[d]! / length;
        out.push(axis < 0 ? sum : data[at + axis]!);
      }
      return out;
    };
    const range = units.flatMap(along);
    const low = Math.min(...range);
    const high = Math.max(...range);
    for (const value of [...along(got.clip), ...along(got.query)]) {
      const excess = Math.max(low - value, value - high, 0);
      // NaN must not pass for 0.
      if (!(excess <= worst)) worst = excess;
    }
  }
  return worst;
}

function unitRows(tensor: HostTensor<"float32">): Float64Array {
  const [rows, columns] = tensor.shape as [number, number];
  const out = Float64Array.from(tensor.data);
  for (let i = 0; i < rows; i++) {
    const row = out.subarray(i * columns, (i + 1) * columns);
    const length = Math.hypot(...row);
    if (length > 0) { for (let d = 0; d < columns; d++) row[d]! /= length; }
  }
  return out;
}

function reflection(size: number, seed: number): (rows: Numbers) => Float64Array {
  const rng = new Rng(seed + 2);
  const normal = Array.from({ length: size }, () => rng.normal());
  const length = normal.reduce((sum, value) => sum + value * value, 0);
  return (rows) => {
    const out = Float64Array.from(rows);
    for (let at = 0; at < rows.length; at += size) {
      let dot = 0;
      for (let d = 0; d < size; d++) dot += rows[at + d]! * normal[d]!;
      for (let d = 0; d < size; d++) out[at + d]! -= 2 * dot / length * normal[d]!;
    }
    return out;
  };
}

function permutation(size: number, seed: number): number[] {
  return new Rng(seed + 3).shuffle(Array.from({ length: size }, (_, i) => i));
}

/** Row `i` of the result is row `order[i]` of the tensor. */
function permuted(tensor: HostTensor<"float32">, order: readonly number[]): HostTensor<"float32"> {
  const size = tensor.data.length / order.length;
  const data = new Float32Array(tensor.data.length);
  order.forEach((from, to) =>
    data.set(tensor.data.subarray(from * size, (from + 1) * size), to * size)
  );
  return float32(tensor.shape, data);
}

function largest(data: Numbers): number {
  let max = 0;
  for (const value of data) max = Math.max(max, Math.abs(value));
  return max;
}

/** The longest row; a rotation may put all of it on one axis. */
function norm(data: Numbers, c: GfaCase): number {
  let max = 0;
  for (let at = 0; at < data.length; at += c.channels) {
    max = Math.max(max, Math.hypot(...data.subarray(at, at + c.channels)));
  }
  return max || 1;
}

/** The largest difference; NaN anywhere gives NaN. */
function difference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) return NaN;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (!(d <= max)) max = d;
    if (Number.isNaN(max)) return NaN;
  }
  return max;
}

function relative(a: Numbers, expected: Numbers): number {
  const d = difference(a, expected);
  return d === 0 ? 0 : d / largest(expected);
}
