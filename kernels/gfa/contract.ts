/**
 * What Gradient-Free Aggregation takes and gives, on every engine.
 *
 * @module
 */
import { OptionError, ShapeError } from "../../lib/errors.ts";
import type { DType, Tensor } from "../../lib/tensor.ts";
import { checkOperand } from "../dispatch/operand.ts";

/** Options of GFA. */
export interface GfaOptions {
  /** How far fusion goes: ω, strictly between 0 and 1. */
  readonly omega: number;
  /** How sharp the affinity is: λ, above 0 and at most 1e30. */
  readonly lambda: number;
}

/** Inputs of GFA. A rank-3 form with a leading batch axis is left free for later. */
export interface GfaInput {
  /** Pooled features F_C, float32 N_C×D. */
  readonly clip: Tensor;
  /** Query embeddings F_Q, float32 N_Q×D; N_Q may differ from N_C. */
  readonly query: Tensor;
}

/** Result of GFA. Whoever receives it disposes of it. */
export class FusedEmbeddings implements Disposable {
  /** F_C∞, N_C×D, where the kernel ran. */
  readonly clip: Tensor<"float32">;
  /** F_Q∞, N_Q×D, where the kernel ran. */
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

  /** As {@linkcode FusedEmbeddings.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Sizes of one run. */
export interface GfaSizes {
  /** N_C */
  readonly clips: number;
  /** N_Q */
  readonly queries: number;
  /** D */
  readonly channels: number;
}

/**
 * Checks the options.
 *
 * @throws {OptionError} If ω or λ is outside its domain.
 */
export function checkGfaOptions(options: GfaOptions): void {
  const { omega, lambda } = options;
  if (!(omega > 0 && omega < 1)) {
    throw new OptionError(`gfa: omega must be strictly between 0 and 1, got ${omega}`);
  }
  if (!(lambda > 0 && lambda <= 1e30)) {
    throw new OptionError(`gfa: lambda must be above 0 and at most 1e30, got ${lambda}`);
  }
}

/**
 * Checks the inputs and reads their sizes.
 *
 * @throws {ShapeError} If one has another element type or rank, an empty axis, or another D.
 */
export function checkGfa(input: GfaInput, dtypes: readonly DType[] = ["float32"]): GfaSizes {
  checkOperand("gfa", "clip", input.clip, ["N_C", "D"], dtypes);
  checkOperand("gfa", "query", input.query, ["N_Q", "D"], dtypes);
  const [clips, channels] = input.clip.shape as [number, number];
  const [queries, other] = input.query.shape as [number, number];
  if (channels !== other) {
    throw new ShapeError(
      `gfa: clip has ${channels} features per row, query has ${other}; both must be D`,
    );
  }
  return { clips, queries, channels };
}
