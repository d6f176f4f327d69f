/**
 * Gradient-Free Aggregation in float64: slow, and short enough to be seen right. It judges the
 * kernels.
 *
 * @module
 */
import { HostTensor, type Tensor } from "../../lib/tensor.ts";
import { checkGfa, checkGfaOptions, type GfaInput, type GfaOptions } from "./contract.ts";
import { Matrix } from "./matrix.ts";

/** Both outputs, or gradients of a scalar loss by them or by both inputs. */
export interface GfaPair {
  /** N_C×D */
  readonly clip: HostTensor<"float64">;
  /** N_Q×D */
  readonly query: HostTensor<"float64">;
}

/**
 * GFA by its closed form:
 *
 *     F_Q∞ = (1−ω) (I − ω² P Z)⁻¹ (F_Q + ω P F_C)
 *     F_C∞ = ω Z F_Q∞ + (1−ω) F_C
 *
 * with Z = softmax_rows(λ F_C F_Qᵀ), P = Norm(Z)ᵀ and the rows of F_C and F_Q normalised first.
 *
 * @param input `clip` N_C×D and `query` N_Q×D, on the host, in float32 or float64.
 * @param options ω and λ.
 * @throws {ShapeError} If the shapes don't fit.
 * @throws {OptionError} If ω or λ is outside its domain.
 */
export async function gfaReference(input: GfaInput, options: GfaOptions): Promise<GfaPair> {
  const { fusedClip, fusedQuery } = await forward(input, options);
  return { clip: tensor(fusedClip), query: tensor(fusedQuery) };
}

/**
 * GFA as a walk of a given number of steps, without the closed form:
 * `F_Q(t) = ω P F_C(t−1) + (1−ω) F_Q`, `F_C(t) = ω Z F_Q(t) + (1−ω) F_C`, from `F_C(0) = F_C`.
 *
 * @param input `clip` N_C×D and `query` N_Q×D.
 * @param options ω and λ.
 * @param steps Number of steps, at least 1.
 */
export async function gfaIteration(
  input: GfaInput,
  options: GfaOptions,
  steps: number,
): Promise<GfaPair> {
  const { c, q, z, p } = await walk(input, options);
  const { omega } = options;
  let clip = c;
  let query = q;
  for (let t = 0; t < steps; t++) {
    query = p.times(clip).scaled(omega).plus(q, 1 - omega);
    clip = z.times(query).scaled(omega).plus(c, 1 - omega);
  }
  return { clip: tensor(clip), query: tensor(query) };
}

/**
 * The exact vector-Jacobian product of {@linkcode gfaReference}, by implicit differentiation: with
 * H = I − ω²PZ, one solve with Hᵀ and products; nothing is unrolled. A zero row, whose direction is
 * undefined, gets a zero gradient.
 *
 * @param input `clip` N_C×D and `query` N_Q×D.
 * @param cotangent ∂L/∂F_C∞ and ∂L/∂F_Q∞.
 * @param options ω and λ.
 * @returns ∂L/∂clip and ∂L/∂query.
 */
export async function gfaGradients(
  input: GfaInput,
  cotangent: GfaPair,
  options: GfaOptions,
): Promise<GfaPair> {
  const { omega, lambda } = options;
  const run = await forward(input, options);
  const { c, q, z, p, system, fusedQuery } = run;
  const byFusedClip = matrix(cotangent.clip.shape, Float64Array.from(cotangent.clip.data));
  const byFusedQuery = matrix(cotangent.query.shape, Float64Array.from(cotangent.query.data))
    .plus(z.transpose.times(byFusedClip), omega);

  // H F_Q∞ = (1−ω)(F_Q + ωPF_C): v is the gradient by the right-hand side, −v F_Q∞ᵀ that by H.
  const v = system.transpose.solve(byFusedQuery);
  const pv = p.transpose.times(v);
  const zy = z.times(fusedQuery);
  const byP = v.times(zy.transpose).scaled(omega ** 2)
    .plus(v.times(c.transpose), (1 - omega) * omega);
  const byZ = byFusedClip.times(fusedQuery.transpose).scaled(omega)
    .plus(pv.times(fusedQuery.transpose), omega ** 2);
  let byC = byFusedClip.scaled(1 - omega).plus(pv, (1 - omega) * omega);
  let byQ = v.scaled(1 - omega);

  // Z and P are both softmaxes of log Z: over its rows and over its columns.
  const meanP = Array.from({ length: p.rows }, (_, i) => {
    let sum = 0;
    for (let n = 0; n < p.columns; n++) sum += byP.at(i, n) * p.at(i, n);
    return sum;
  });
  const byLogZ = Matrix.build(
    z.rows,
    z.columns,
    (n, i) => z.at(n, i) * byZ.at(n, i) + p.at(i, n) * (byP.at(i, n) - meanP[i]!),
  );
  const total = Array.from({ length: z.rows }, (_, n) => {
    let sum = 0;
    for (let i = 0; i < z.columns; i++) sum += byLogZ.at(n, i);
    return sum;
  });
  const bySimilarity = Matrix.build(
    z.rows,
    z.columns,
    (n, i) => byLogZ.at(n, i) - z.at(n, i) * total[n]!,
  );
  byC = byC.plus(bySimilarity.times(q), lambda);
  byQ = byQ.plus(bySimilarity.transpose.times(c), lambda);
  return {
    clip: tensor(throughNormalisation(c, run.clipNorms, byC)),
    query: tensor(throughNormalisation(q, run.queryNorms, byQ)),
  };
}

async function walk(input: GfaInput, options: GfaOptions) {
  checkGfaOptions(options);
  checkGfa(input, ["float32", "float64"]);
  const [c, clipNorms] = normalise(await load(input.clip));
  const [q, queryNorms] = normalise(await load(input.query));
  const similarity = c.times(q.transpose).scaled(options.lambda);
  const logZ = logSoftmaxRows(similarity);
  const z = exp(logZ);
  // Norm(Z)ᵀ from the logarithms: a column of Z may vanish, its proportions don't.
  const p = exp(logSoftmaxRows(logZ.transpose));
  return { c, q, z, p, clipNorms, queryNorms };
}

async function forward(input: GfaInput, options: GfaOptions) {
  const { omega } = options;
  const w = await walk(input, options);
  const { c, q, z, p } = w;
  const identity = Matrix.build(q.rows, q.rows, (i, j) => Number(i === j));
  const system = identity.plus(p.times(z), -(omega ** 2));
  const fusedQuery = system.solve(q.plus(p.times(c), omega).scaled(1 - omega));
  const fusedClip = z.times(fusedQuery).scaled(omega).plus(c, 1 - omega);
  return { ...w, system, fusedQuery, fusedClip };
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
  const along = norms.map((_, i) => {
    let sum = 0;
    for (let j = 0; j < unit.columns; j++) sum += unit.at(i, j) * gradient.at(i, j);
    return sum;
  });
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

async function load(tensor: Tensor): Promise<Matrix> {
  const data = await tensor.read() as Float32Array | Float64Array;
  return matrix(tensor.shape, Float64Array.from(data));
}

function matrix(shape: readonly number[], data: Float64Array<ArrayBuffer>): Matrix {
  return new Matrix(shape[0]!, shape[1]!, data);
}

function tensor(x: Matrix): HostTensor<"float64"> {
  return new HostTensor("float64", [x.rows, x.columns], x.data);
}
