/**
 * Gradient-Free Aggregation in float64: slow, and short enough to be seen right. It judges the
 * kernels.
 *
 * @module
 */
import { fromFloat16 } from "../../lib/float16.ts";
import { type DType, HostTensor, type Tensor } from "../../lib/tensor.ts";
import {
  checkConvergence,
  checkGfa,
  checkGfaCotangent,
  type GfaCotangent,
  type GfaInput,
  type GfaMethod,
  type GfaOptions,
  resolveGfaOptions,
  seriesBound,
  seriesTerms,
  stepsBound,
  type WalkNorms,
} from "./contract.ts";
import { Matrix } from "./matrix.ts";

/** Both outputs, or gradients of a scalar loss by them or by both inputs. */
export interface GfaPair {
  /** [B×]N_C×D */
  readonly clip: HostTensor<"float64">;
  /** [B×]N_Q×D */
  readonly query: HostTensor<"float64">;
}

/** Result of the reference. */
export interface GfaReference extends GfaPair {
  /** The method that computed it. */
  readonly method: GfaMethod;
  /** How far any entry is at most from the walk's limit. */
  readonly errorBound: number;
  /** The largest norms of any image's walk; both 1 with the softmax affinity, but for rounding. */
  readonly norms: WalkNorms;
}

const dtypes: readonly DType[] = ["float16", "float32", "float64"];

/**
 * GFA as it is defined, by the method that the options ask for (`auto`: the closed form):
 *
 *     F_Q∞ = (1−ω) (I − ω² P Z)⁻¹ (F_Q + ω P F_C)
 *     F_C∞ = ω Z F_Q∞ + (1−ω) F_C
 *
 * with the rows of F_C and F_Q normalised first, Z = softmax_rows(λ F_C F_Qᵀ) or, raw, λ F_C F_Qᵀ,
 * and P = Norm(Z)ᵀ, where Norm divides every column by its L1 norm.
 *
 * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D, on the host.
 * @param options ω, λ, affinity and method.
 * @throws {ShapeError} If the shapes don't fit.
 * @throws {OptionError} If an option is outside its domain, or the walk may diverge.
 */
export async function gfaReference(input: GfaInput, options: GfaOptions): Promise<GfaReference> {
  const resolved = resolveGfaOptions(options);
  const { omega, tolerance } = resolved;
  const method = resolved.method === "auto" ? "closed" : resolved.method;
  const walks = await walksOf(input, options);
  const norms = largestNorms(walks);
  if (method !== "steps") checkConvergence(options, norms);
  let fused: Fused[];
  let errorBound = 0;
  if (method === "closed") {
    fused = walks.map((walk) => limit(walk, omega));
  } else if (method === "series") {
    const terms = seriesTerms(omega, tolerance, norms);
    fused = walks.map((walk) => series(walk, omega, terms));
    errorBound = seriesBound(omega, terms, norms);
  } else {
    const steps = resolved.steps!;
    fused = walks.map((walk) => iterate(walk, omega, steps).at(-1)!);
    errorBound = stepsBound(omega, steps, norms);
  }
  return { ...pair(input, fused), method, errorBound, norms };
}

/**
 * GFA as a walk of a given number of steps, without the closed form:
 * `F_Q(t) = ω P F_C(t−1) + (1−ω) F_Q`, `F_C(t) = ω Z F_Q(t) + (1−ω) F_C`, from `F_C(0) = F_C`.
 *
 * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D.
 * @param options ω, λ and affinity.
 * @param steps Number of steps, at least 1.
 */
export async function gfaIteration(
  input: GfaInput,
  options: GfaOptions,
  steps: number,
): Promise<GfaPair> {
  const walks = await walksOf(input, options);
  return pair(input, walks.map((walk) => iterate(walk, options.omega, steps).at(-1)!));
}

/**
 * GFA by the first terms of the Neumann series, `Σ_{k<terms} (ω²PZ)ᵏ` in place of
 * `(I − ω²PZ)⁻¹`.
 *
 * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D.
 * @param options ω, λ and affinity.
 * @param terms Number of terms, at least 1.
 */
export async function gfaSeries(
  input: GfaInput,
  options: GfaOptions,
  terms: number,
): Promise<GfaPair> {
  const walks = await walksOf(input, options);
  return pair(input, walks.map((walk) => series(walk, options.omega, terms)));
}

/**
 * The exact vector-Jacobian product of {@linkcode gfaReference}. That of the limit is by implicit
 * differentiation: with H = I − ω²PZ one solve with Hᵀ and products, nothing unrolled; it is also
 * that of `series`, whose gradient is the limit's to the same tolerance. With `steps` it goes back
 * through the walk. A zero row, whose direction is undefined, gets a zero gradient, and so does
 * everything with `gradient: "stop"`.
 *
 * @param input `clip` [B×]N_C×D and `query` [B×]N_Q×D.
 * @param cotangent ∂L/∂F_C∞ and ∂L/∂F_Q∞.
 * @param options ω, λ, affinity and method.
 * @returns ∂L/∂clip and ∂L/∂query.
 */
export async function gfaGradients(
  input: GfaInput,
  cotangent: GfaCotangent,
  options: GfaOptions,
): Promise<GfaPair> {
  const { omega, steps, gradient } = resolveGfaOptions(options);
  checkGfaCotangent(cotangent, checkGfa(input, dtypes), dtypes);
  const walks = await walksOf(input, options);
  if (steps === null) checkConvergence(options, largestNorms(walks));
  const [byClip, byQuery] = [await matrices(cotangent.clip), await matrices(cotangent.query)];
  const grads = walks.map((walk, b) => {
    const by = { clip: byClip[b]!, query: byQuery[b]! };
    return gradient === "stop"
      ? { clip: by.clip.scaled(0), query: by.query.scaled(0) }
      : throughWalk(
        walk,
        steps === null ? ofLimit(walk, omega, by) : ofSteps(walk, omega, steps, by),
      );
  });
  return pair(input, grads);
}

/** Z, P and what they are made of, for one image. */
interface Walk {
  options: GfaOptions;
  c: Matrix;
  q: Matrix;
  z: Matrix;
  p: Matrix;
  clipNorms: number[];
  queryNorms: number[];
  /** L1 norms of the columns of Z. */
  columnSums: number[];
}

interface Fused {
  clip: Matrix;
  query: Matrix;
}

/** Gradients by what the walk's equations hold. */
interface WalkGradients {
  byC: Matrix;
  byQ: Matrix;
  byZ: Matrix;
  byP: Matrix;
}

async function walksOf(input: GfaInput, options: GfaOptions): Promise<Walk[]> {
  const { lambda, affinity } = resolveGfaOptions(options);
  checkGfa(input, dtypes);
  const queries = await matrices(input.query);
  return (await matrices(input.clip)).map((clip, b) => {
    const [c, clipNorms] = normalise(clip);
    const [q, queryNorms] = normalise(queries[b]!);
    const similarity = c.times(q.transpose).scaled(lambda);
    const logZ = logSoftmaxRows(similarity);
    const z = affinity === "raw" ? similarity : exp(logZ);
    const columnSums = rowSums(z.transpose, Math.abs);
    // Norm(Z)ᵀ from the logarithms: a column of the softmax may vanish, its proportions don't.
    const p = affinity === "raw"
      ? Matrix.build(
        q.rows,
        c.rows,
        (i, n) => columnSums[i] === 0 ? 0 : z.at(n, i) / columnSums[i]!,
      )
      : exp(logSoftmaxRows(logZ.transpose));
    return { options, c, q, z, p, clipNorms, queryNorms, columnSums };
  });
}

function largestNorms(walks: readonly Walk[]): WalkNorms {
  const norm = (x: Matrix) => Math.max(...rowSums(x, Math.abs));
  return {
    system: Math.max(...walks.map(({ p, z }) => norm(p.times(z)))),
    affinity: Math.max(...walks.map(({ z }) => norm(z))),
  };
}

function systemOf({ p, z, q }: Walk, omega: number): Matrix {
  const identity = Matrix.build(q.rows, q.rows, (i, j) => Number(i === j));
  return identity.plus(p.times(z), -(omega ** 2));
}

function rightSide({ p, c, q }: Walk, omega: number): Matrix {
  return q.plus(p.times(c), omega).scaled(1 - omega);
}

function withClip({ z, c }: Walk, omega: number, query: Matrix): Fused {
  return { query, clip: z.times(query).scaled(omega).plus(c, 1 - omega) };
}

function limit(walk: Walk, omega: number): Fused {
  return withClip(walk, omega, systemOf(walk, omega).solve(rightSide(walk, omega)));
}

function series(walk: Walk, omega: number, terms: number): Fused {
  let term = rightSide(walk, omega);
  let sum = term;
  for (let k = 1; k < terms; k++) {
    term = walk.p.times(walk.z.times(term)).scaled(omega ** 2);
    sum = sum.plus(term);
  }
  return withClip(walk, omega, sum);
}

/** F_C(t) and F_Q(t) for t = 1 … steps. */
function iterate(walk: Walk, omega: number, steps: number): Fused[] {
  const out: Fused[] = [];
  let clip = walk.c;
  for (let t = 0; t < steps; t++) {
    const query = walk.p.times(clip).scaled(omega).plus(walk.q, 1 - omega);
    out.push(withClip(walk, omega, query));
    clip = out.at(-1)!.clip;
  }
  return out;
}

/** Implicit differentiation: v solves Hᵀv = ∂L/∂F_Q∞, and u is the gradient by F_C's walk. */
function ofLimit(walk: Walk, omega: number, by: Fused): WalkGradients {
  const { clip, query } = limit(walk, omega);
  const v = systemOf(walk, omega).transpose.solve(
    by.query.plus(walk.z.transpose.times(by.clip), omega),
  );
  const u = by.clip.plus(walk.p.transpose.times(v), omega);
  return {
    byC: u.scaled(1 - omega),
    byQ: v.scaled(1 - omega),
    byZ: u.times(query.transpose).scaled(omega),
    byP: v.times(clip.transpose).scaled(omega),
  };
}

/** The chain rule, back through every step. */
function ofSteps(walk: Walk, omega: number, steps: number, by: Fused): WalkGradients {
  const { c, q, z, p } = walk;
  const path = iterate(walk, omega, steps);
  let byC = new Matrix(c.rows, c.columns);
  let byQ = new Matrix(q.rows, q.columns);
  let byZ = new Matrix(z.rows, z.columns);
  let byP = new Matrix(p.rows, p.columns);
  let byClip = by.clip;
  let byQuery = by.query;
  for (let t = steps - 1; t >= 0; t--) {
    byQuery = byQuery.plus(z.transpose.times(byClip), omega);
    byZ = byZ.plus(byClip.times(path[t]!.query.transpose), omega);
    byC = byC.plus(byClip, 1 - omega);
    byP = byP.plus(byQuery.times((t === 0 ? c : path[t - 1]!.clip).transpose), omega);
    byQ = byQ.plus(byQuery, 1 - omega);
    byClip = p.transpose.times(byQuery).scaled(omega);
    byQuery = new Matrix(q.rows, q.columns);
  }
  return { byC: byC.plus(byClip), byQ, byZ, byP };
}

/** From the gradients by Z, P and the unit rows to those by the inputs. */
function throughWalk(walk: Walk, gradients: WalkGradients): Fused {
  const { options, c, q, clipNorms, queryNorms } = walk;
  const bySimilarity = options.affinity === "raw"
    ? throughRaw(walk, gradients)
    : throughSoftmax(walk, gradients);
  const byC = gradients.byC.plus(bySimilarity.times(q), options.lambda);
  const byQ = gradients.byQ.plus(bySimilarity.transpose.times(c), options.lambda);
  return {
    clip: throughNormalisation(c, clipNorms, byC),
    query: throughNormalisation(q, queryNorms, byQ),
  };
}

/** Z and P are both softmaxes of log Z: over its rows and over its columns. */
function throughSoftmax({ z, p }: Walk, { byZ, byP }: WalkGradients): Matrix {
  const mean = meansUnder(p, byP);
  const byLogZ = Matrix.build(
    z.rows,
    z.columns,
    (n, i) => z.at(n, i) * byZ.at(n, i) + p.at(i, n) * (byP.at(i, n) - mean[i]!),
  );
  const total = rowSums(byLogZ);
  return Matrix.build(
    z.rows,
    z.columns,
    (n, i) => byLogZ.at(n, i) - z.at(n, i) * total[n]!,
  );
}

/** P's rows are Z's columns over their L1 norms; a zero column stays zero. */
function throughRaw({ z, p, columnSums }: Walk, { byZ, byP }: WalkGradients): Matrix {
  const mean = meansUnder(p, byP);
  return Matrix.build(z.rows, z.columns, (n, i) => {
    if (columnSums[i] === 0) return byZ.at(n, i);
    return byZ.at(n, i) + (byP.at(i, n) - Math.sign(z.at(n, i)) * mean[i]!) / columnSums[i]!;
  });
}

/** For each row of P, the sum of `byP` times it. */
function meansUnder(p: Matrix, byP: Matrix): number[] {
  return rowSums(Matrix.build(p.rows, p.columns, (i, n) => p.at(i, n) * byP.at(i, n)));
}

function rowSums(x: Matrix, f: (value: number) => number = (value) => value): number[] {
  return Array.from({ length: x.rows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < x.columns; j++) sum += f(x.at(i, j));
    return sum;
  });
}

/** Rows of length 1, and the lengths that they had; a zero row stays zero. */
function normalise(x: Matrix): [Matrix, number[]] {
  const norms = Array.from(
    { length: x.rows },
    (_, i) => Math.hypot(...x.data.subarray(i * x.columns, (i + 1) * x.columns)),
  );
  return [
    Matrix.build(x.rows, x.columns, (i, j) => norms[i] === 0 ? 0 : x.at(i, j) / norms[i]!),
    norms,
  ];
}

/** The gradient before the normalisation, from that after it. */
function throughNormalisation(unit: Matrix, norms: readonly number[], gradient: Matrix): Matrix {
  const along = rowSums(
    Matrix.build(unit.rows, unit.columns, (i, j) => unit.at(i, j) * gradient.at(i, j)),
  );
  return Matrix.build(
    unit.rows,
    unit.columns,
    (i, j) => norms[i] === 0 ? 0 : (gradient.at(i, j) - unit.at(i, j) * along[i]!) / norms[i]!,
  );
}

function logSoftmaxRows(x: Matrix): Matrix {
  const largest: number[] = [];
  const logSum: number[] = [];
  for (let i = 0; i < x.rows; i++) {
    const row = x.data.subarray(i * x.columns, (i + 1) * x.columns);
    const max = row.reduce((a, b) => Math.max(a, b));
    largest.push(max);
    logSum.push(Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0)));
  }
  // In this order: beside a huge maximum the logarithm would be lost.
  return Matrix.build(x.rows, x.columns, (i, j) => (x.at(i, j) - largest[i]!) - logSum[i]!);
}

function exp(x: Matrix): Matrix {
  return Matrix.build(x.rows, x.columns, (i, j) => Math.exp(x.at(i, j)));
}

/** A matrix per image. */
async function matrices(tensor: Tensor): Promise<Matrix[]> {
  const data = await tensor.read() as Uint16Array | Float32Array | Float64Array;
  const values = tensor.dtype === "float16"
    ? Float64Array.from(data, fromFloat16)
    : Float64Array.from(data);
  const [rows, columns] = tensor.shape.slice(-2) as [number, number];
  const size = rows * columns;
  const batch = tensor.shape.length === 3 ? tensor.shape[0]! : 1;
  return Array.from(
    { length: batch },
    (_, b) => new Matrix(rows, columns, values.slice(b * size, (b + 1) * size)),
  );
}

/** Every image's matrices in one tensor, with a batch axis where the input has one. */
function pair(input: GfaInput, images: readonly Fused[]): GfaPair {
  const tensor = (shape: readonly number[], parts: readonly Matrix[]) => {
    const out = new HostTensor("float64", shape);
    parts.forEach(({ data }, b) => out.data.set(data, b * data.length));
    return out;
  };
  return {
    clip: tensor(input.clip.shape, images.map(({ clip }) => clip)),
    query: tensor(input.query.shape, images.map(({ query }) => query)),
  };
}
