/**
 * Gradient-Free Aggregation as an ONNX subgraph, for devices without WebGPU.
 *
 * @module
 */
import { Graph, type Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { Engine } from "../../lib/runtime.ts";
import type { Tensor } from "../../lib/tensor.ts";
import { LazySession } from "../dispatch/lazy_session.ts";
import { toHost } from "../dispatch/operand.ts";
import {
  checkGfa,
  checkGfaOptions,
  FusedEmbeddings,
  type GfaInput,
  type GfaOptions,
} from "./contract.ts";

/** The default bound on what the truncated series leaves out, a quarter of float32's ε. */
export const seriesTolerance: number = 2 ** -25;

/**
 * How often to double the Neumann series so that what is left out is at most `tolerance`, relative
 * to the largest entry of the normalised features: after k doublings the terms 0 … K = 2ᵏ − 1 are
 * in, and the rest is at most ω^(2(K+1)).
 */
export function seriesDoublings(omega: number, tolerance: number = seriesTolerance): number {
  let k = 0;
  while (omega ** (2 * 2 ** k) > tolerance) k++;
  return k;
}

/**
 * Adds GFA to a graph, so that a network and its fusion can be one session. Sizes may be symbolic.
 *
 * ONNX has no linear solver: `(I − ω²G)⁻¹ B` with `G = PZ` is summed as a Neumann series by
 * repeated squaring, `Y ← Y + ω^(2·2ʲ) G^(2ʲ) Y`, up to {@linkcode seriesTolerance}. The powers of
 * ω are exact and G's powers are scaled back to row sums of 1 after each squaring, so that rounding
 * does not grow with the number of terms.
 *
 * @param clip F_C, N_C×D.
 * @param query F_Q, N_Q×D, of the same graph.
 * @param options ω and λ.
 * @returns F_C∞ and F_Q∞ of the normalised features.
 * @throws {OptionError} If ω or λ is outside its domain.
 */
export function gfaGraph(
  clip: Value,
  query: Value,
  options: GfaOptions,
): { clip: Value; query: Value } {
  checkGfaOptions(options);
  const { omega, lambda } = options;
  const c = normalize(clip);
  const q = normalize(query);
  const similarity = ops.mul(ops.gemm(c, q, { transposeB: true }), lambda);
  const logZ = ops.logSoftmax(similarity, 1);
  const z = ops.softmax(similarity, 1);
  // Column by column from the logarithms, so that no column sum can vanish.
  const pTransposed = ops.softmax(logZ, 0);
  const p = ops.transpose(pTransposed, [1, 0]);
  let power = ops.matMul(p, z);
  let sum = ops.mul(ops.add(q, ops.mul(ops.matMul(p, c), omega)), 1 - omega);
  const doublings = seriesDoublings(omega);
  for (let j = 0; j < doublings; j++) {
    if (j > 0) power = ops.matMul(power, power);
    power = ops.div(power, ops.reduceSum(power, [1], true));
    sum = ops.add(sum, ops.mul(ops.matMul(power, sum), omega ** (2 * 2 ** j)));
  }
  return {
    clip: ops.add(ops.mul(ops.matMul(z, sum), omega), ops.mul(c, 1 - omega)),
    query: sum,
  };
}

/** Unit rows; the largest magnitude is divided out first, so that no square over- or underflows. */
function normalize(x: Value): Value {
  const largest = ops.reduceMax(ops.abs(x), [1], true);
  const scaled = ops.div(x, ops.where(ops.greater(largest, 0), largest, 1));
  const norm = ops.sqrt(ops.reduceSum(ops.mul(scaled, scaled), [1], true));
  // The norm is at least 1 unless the row is zero.
  return ops.div(scaled, ops.max(norm, 1));
}

/** GFA on an ONNX engine. One session serves all sizes; it is loaded on first use. */
export class CpuGfa {
  readonly #session: LazySession;

  /**
   * @param engine Executes the graph.
   * @param options ω and λ.
   */
  constructor(engine: Engine, options: GfaOptions) {
    this.#session = new LazySession(engine, () => {
      const graph = new Graph("gfa");
      const { clip, query } = gfaGraph(
        graph.input("clip", ["N_C", "D"]),
        graph.input("query", ["N_Q", "D"]),
        options,
      );
      graph.output("fusedClip", clip);
      graph.output("fusedQuery", query);
      return graph.toOnnx();
    });
  }

  /** Fuses once; see {@linkcode Gfa.run}. */
  async run(input: GfaInput): Promise<FusedEmbeddings> {
    checkGfa(input);
    const { fusedClip, fusedQuery } = await this.#session.run({
      clip: await toHost(input.clip),
      query: await toHost(input.query),
    });
    return new FusedEmbeddings(fusedClip as Tensor<"float32">, fusedQuery as Tensor<"float32">);
  }

  /** Frees the session. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}
