/**
 * What Gradient-Free Aggregation takes and gives, on every engine.
 *
 * @module
 */
import { OptionError, ShapeError } from "../../lib/errors.ts";
import { type DType, formatShape, type Tensor } from "../../lib/tensor.ts";
import { checkOperand } from "../dispatch/operand.ts";

/** How the similarities of F_C and F_Q become the walk's weights Z. */
export type GfaAffinity = "softmax" | "raw";

/** How the walk's limit is reached; see {@linkcode GfaOptions.method}. */
export type GfaMethod = "closed" | "series" | "steps";

/** What the truncated series leaves out by default, a quarter of float32's ε. */
export const seriesTolerance: number = 2 ** -25;

/** Options of GFA. */
export interface GfaOptions {
  /** How far fusion goes: ω, strictly between 0 and 1. */
  readonly omega: number;
  /** How sharp the affinity is: λ, above 0 and at most 1e30. */
  readonly lambda: number;
  /**
   * `softmax` (the default): Z = softmax_rows(λ F_C F_Qᵀ). `raw`: Z = λ F_C F_Qᵀ, whose walk has a
   * limit only where ω²‖PZ‖∞ < 1; other inputs are refused.
   */
  readonly affinity?: GfaAffinity;
  /**
   * `closed` solves the N_Q×N_Q system to float32's precision, `series` sums its Neumann series up
   * to `tolerance`, `steps` walks `steps` steps from F_C(0) = F_C. `auto`, the default, takes
   * `steps` where `steps` is given and else what is fastest for the engine, sizes and tolerance.
   */
  readonly method?: "auto" | GfaMethod;
  /** What the series may leave out, in units of the unit rows' entries; 2⁻²⁵ by default. */
  readonly tolerance?: number;
  /** Number of steps of the method `steps`, at least 1. */
  readonly steps?: number;
  /**
   * `implicit`, the default: the exact vector-Jacobian product. `stop`: gradients are zero, as the
   * paper trains.
   */
  readonly gradient?: "implicit" | "stop";
  /** Refuse NaN and infinity in the inputs by name; off by default. */
  readonly checkFinite?: boolean;
}

/** {@linkcode GfaOptions} with every default filled in. */
export interface ResolvedGfaOptions extends Required<Omit<GfaOptions, "steps">> {
  /** Number of steps; null unless the method is `steps`. */
  readonly steps: number | null;
}

/** Inputs of GFA: float32, or float16. With a leading batch axis each image walks by itself. */
export interface GfaInput {
  /** Pooled features F_C, [B×]N_C×D. */
  readonly clip: Tensor;
  /** Query embeddings F_Q, [B×]N_Q×D; N_Q may differ from N_C. */
  readonly query: Tensor;
}

/** Gradients of a loss by both outputs of GFA. */
export interface GfaCotangent {
  /** ∂L/∂F_C∞, [B×]N_C×D. */
  readonly clip: Tensor;
  /** ∂L/∂F_Q∞, [B×]N_Q×D. */
  readonly query: Tensor;
}

/** Result of GFA. Whoever receives it disposes of it. */
export class FusedEmbeddings implements Disposable {
  /** F_C∞, [B×]N_C×D, where the kernel ran. */
  readonly clip: Tensor<"float32">;
  /** F_Q∞, [B×]N_Q×D, where the kernel ran. */
  readonly query: Tensor<"float32">;
  /** The method that computed them. */
  readonly method: GfaMethod;
  /**
   * How far any entry is at most from the walk's limit, rounding aside: what the series or the walk
   * left out, and 0 where the system was solved by elimination. Unit rows have entries up to 1.
   */
  readonly errorBound: number;

  /** Made by the kernels. */
  constructor(
    clip: Tensor<"float32">,
    query: Tensor<"float32">,
    method: GfaMethod = "closed",
    errorBound = 0,
  ) {
    this.clip = clip;
    this.query = query;
    this.method = method;
    this.errorBound = errorBound;
  }

  /** Frees both tensors. */
  dispose(): void {
    this.clip.dispose();
    this.query.dispose();
  }

  /** As {@linkcode FusedEmbeddings.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Gradients of a loss by both inputs of GFA. Whoever receives them disposes of them. */
export class GfaGradients implements Disposable {
  /** ∂L/∂F_C, [B×]N_C×D. */
  readonly clip: Tensor<"float32">;
  /** ∂L/∂F_Q, [B×]N_Q×D. */
  readonly query: Tensor<"float32">;

  /** Made by the kernels. */
  constructor(clip: Tensor<"float32">, query: Tensor<"float32">) {
    this.clip = clip;
    this.query = query;
  }

  /** Frees both tensors. */
  dispose(): void {
    this.clip.dispose();
    this.query.dispose();
  }

  /** As {@linkcode GfaGradients.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Sizes of one run. */
export interface GfaSizes {
  /** B; null where the inputs have no batch axis. */
  readonly batch: number | null;
  /** N_C */
  readonly clips: number;
  /** N_Q */
  readonly queries: number;
  /** D */
  readonly channels: number;
}

/**
 * Checks the options and fills in the defaults. `auto` with `steps` becomes `steps`; else it is
 * left to the engine.
 *
 * @throws {OptionError} If one is unknown or outside its domain.
 */
export function resolveGfaOptions(options: GfaOptions): ResolvedGfaOptions {
  const {
    omega,
    lambda,
    affinity = "softmax",
    tolerance = seriesTolerance,
    steps,
    gradient = "implicit",
    checkFinite = false,
  } = options;
  if (!(omega > 0 && omega < 1)) {
    throw new OptionError(`gfa: omega must be strictly between 0 and 1, got ${omega}`);
  }
  if (!(lambda > 0 && lambda <= 1e30)) {
    throw new OptionError(`gfa: lambda must be above 0 and at most 1e30, got ${lambda}`);
  }
  oneOf("affinity", affinity, ["softmax", "raw"]);
  oneOf("method", options.method ?? "auto", ["auto", "closed", "series", "steps"]);
  oneOf("gradient", gradient, ["implicit", "stop"]);
  if (!(tolerance > 0 && tolerance < 1)) {
    throw new OptionError(`gfa: tolerance must be strictly between 0 and 1, got ${tolerance}`);
  }
  if (steps !== undefined && !(Number.isInteger(steps) && steps >= 1)) {
    throw new OptionError(`gfa: steps must be an integer and at least 1, got ${steps}`);
  }
  const requested = options.method ?? "auto";
  const method = requested === "auto" && steps !== undefined ? "steps" : requested;
  if (method === "steps" && steps === undefined) {
    throw new OptionError('gfa: method "steps" needs the option steps, an integer and at least 1');
  }
  if (method !== "steps" && steps !== undefined) {
    throw new OptionError(
      `gfa: steps is ${steps}, but method is "${method}"; must be "steps", or leave steps out`,
    );
  }
  return {
    omega,
    lambda,
    affinity,
    method,
    tolerance,
    steps: steps ?? null,
    gradient,
    checkFinite,
  };
}

/**
 * Checks the options.
 *
 * @throws {OptionError} If one is unknown or outside its domain.
 */
export function checkGfaOptions(options: GfaOptions): void {
  resolveGfaOptions(options);
}

function oneOf(name: string, value: string, known: readonly string[]): void {
  if (known.includes(value)) return;
  const names = known.map((text) => `"${text}"`).join(", ");
  throw new OptionError(`gfa: ${name} must be one of ${names}, got ${JSON.stringify(value)}`);
}

/**
 * Checks the inputs and reads their sizes.
 *
 * @throws {ShapeError} If one has another element type or rank, an empty axis, or another B or D.
 */
export function checkGfa(input: GfaInput, dtypes: readonly DType[] = ["float32"]): GfaSizes {
  const { clip, query } = input;
  const batch = clip.shape.length === 3 ? ["B"] : [];
  checkOperand("gfa", "clip", clip, [...batch, "N_C", "D"], dtypes);
  checkOperand("gfa", "query", query, [...batch, "N_Q", "D"], dtypes);
  const [clips, channels] = clip.shape.slice(-2) as [number, number];
  const [queries, other] = query.shape.slice(-2) as [number, number];
  if (channels !== other) {
    throw new ShapeError(
      `gfa: clip has ${channels} features per row, query has ${other}; both must be D`,
    );
  }
  if (batch.length === 0) return { batch: null, clips, queries, channels };
  const [ofClip, ofQuery] = [clip.shape[0]!, query.shape[0]!];
  if (ofClip !== ofQuery) {
    throw new ShapeError(`gfa: clip has a batch of ${ofClip}, query of ${ofQuery}; both must be B`);
  }
  return { batch: ofClip, clips, queries, channels };
}

/**
 * Checks the gradients by the outputs against the sizes of a run.
 *
 * @throws {ShapeError} If one has another element type or shape than the output.
 */
export function checkGfaCotangent(
  cotangent: GfaCotangent,
  sizes: GfaSizes,
  dtypes: readonly DType[] = ["float32"],
): void {
  const lead = sizes.batch === null ? [] : [sizes.batch];
  for (const [name, rows] of [["clip", sizes.clips], ["query", sizes.queries]] as const) {
    const { dtype, shape } = cotangent[name];
    if (!dtypes.includes(dtype)) {
      throw new ShapeError(
        `gfa: the gradient by ${name} must be ${dtypes.join(" or ")}, got ${dtype}`,
      );
    }
    const wanted = formatShape([...lead, rows, sizes.channels]);
    if (formatShape(shape) !== wanted) {
      throw new ShapeError(
        `gfa: the gradient by ${name} must be ${wanted}, as the output is, got ${
          formatShape(shape)
        }`,
      );
    }
  }
}

/** Norms of the walk, which decide whether it has a limit: both 1 with the softmax affinity. */
export interface WalkNorms {
  /** g = ‖PZ‖∞ */
  readonly system: number;
  /** ‖Z‖∞ */
  readonly affinity: number;
}

/** The norms of a walk whose Z and P have rows that sum to 1. */
export const stochasticNorms: WalkNorms = { system: 1, affinity: 1 };

/**
 * Refuses a walk with raw affinity that may have no limit. g = ‖PZ‖∞ is proportional to λ, since P
 * does not depend on it.
 *
 * @throws {OptionError} If ω²g ≥ 1, with the figures and the largest λ that would do.
 */
export function checkConvergence(
  options: Pick<GfaOptions, "omega" | "lambda">,
  { system }: WalkNorms,
): void {
  const { omega, lambda } = options;
  const rate = omega ** 2 * system;
  if (rate < 1) return;
  if (!Number.isFinite(rate)) {
    throw new OptionError(
      `gfa: raw affinity: ‖PZ‖∞ is ${system}, so that the walk has no limit; the inputs must be ` +
        `finite, and lambda (${lambda}) lower`,
    );
  }
  throw new OptionError(
    `gfa: raw affinity: omega² ‖PZ‖∞ = ${omega}² · ${figure(system)} = ${figure(rate)}, so that ` +
      `the walk may diverge; it must be below 1: with these features lambda below ` +
      `${figure(lambda / rate, Math.floor)} (now ${figure(lambda)}), or a lower omega`,
  );
}

function figure(value: number, round = Math.round): string {
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  return String(Number((round(value / unit) * unit).toPrecision(4)));
}

/**
 * How far the series' result is at most from the limit, entry by entry, after the terms 0 … K:
 * with the softmax affinity ω^(2(K+1)).
 *
 * The right-hand side (1−ω)(F_Q + ωPF_C) has entries of at most 1 − ω² for unit rows, the terms
 * left out sum to (ω²g)^(K+1) / (1 − ω²g) times that, and F_C∞ gets ω‖Z‖∞ of F_Q∞'s error.
 *
 * @param omega ω
 * @param terms K + 1
 * @param norms Of the walk.
 */
export function seriesBound(
  omega: number,
  terms: number,
  norms: WalkNorms = stochasticNorms,
): number {
  const rate = omega ** 2 * norms.system;
  if (rate >= 1) return Infinity;
  return rate ** terms * (1 - omega ** 2) / (1 - rate) * Math.max(1, omega * norms.affinity);
}

/**
 * How many terms of the series keep {@linkcode seriesBound} within a tolerance.
 *
 * @throws {OptionError} If no number of terms does, because ω²‖PZ‖∞ ≥ 1.
 */
export function seriesTerms(
  omega: number,
  tolerance: number = seriesTolerance,
  norms: WalkNorms = stochasticNorms,
): number {
  const first = seriesBound(omega, 0, norms);
  if (first <= tolerance) return 1;
  if (!Number.isFinite(first)) {
    throw new OptionError(`gfa: omega² ‖PZ‖∞ = ${omega ** 2 * norms.system}; must be below 1`);
  }
  let terms = Math.max(
    1,
    Math.floor(Math.log(tolerance / first) / Math.log(omega ** 2 * norms.system)),
  );
  // The logarithms round.
  while (seriesBound(omega, terms, norms) > tolerance) terms++;
  return terms;
}

/**
 * How far a walk is at most from its limit, entry by entry, after a number of steps: with the
 * softmax affinity 2ω^(2·steps); Infinity where it may have no limit.
 *
 * F_C(0) is ω(F_C − ZF_Q∞) away, every further step multiplies F_C's distance by ω²ZP, and F_Q's
 * is ωP times F_C's of the step before.
 */
export function stepsBound(
  omega: number,
  steps: number,
  norms: WalkNorms = stochasticNorms,
): number {
  const { system, affinity } = norms;
  const rate = omega ** 2 * system;
  if (rate >= 1) return Infinity;
  const limit = (1 - omega ** 2) / (1 - rate);
  return omega ** 2 * rate ** (steps - 1) * (1 + affinity * limit) *
    Math.max(1, omega * affinity);
}
