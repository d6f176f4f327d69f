/**
 * Gradient-Free Aggregation as an ONNX subgraph, for devices without WebGPU.
 *
 * @module
 */
import { customGradient } from "../../lib/graph/custom_gradient.ts";
import { Graph, type Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { Engine } from "../../lib/runtime.ts";
import { type DType, float32, type HostTensor, type Tensor } from "../../lib/tensor.ts";
import { LazySession } from "../dispatch/lazy_session.ts";
import { toHost } from "../dispatch/operand.ts";
import { refuseNonFinite } from "../finite.ts";
import {
  checkConvergence,
  checkGfa,
  checkGfaCotangent,
  FusedEmbeddings,
  type GfaCotangent,
  GfaGradients,
  type GfaInput,
  type GfaMethod,
  type GfaOptions,
  type GfaSizes,
  type ResolvedGfaOptions,
  resolveGfaOptions,
  seriesBound,
  seriesTerms,
  seriesTolerance,
  stepsBound,
  stochasticNorms,
  type WalkNorms,
} from "./contract.ts";
import type { InversePlan } from "./system_graph.ts";
import {
  sharpLambda,
  type WalkForm,
  WalkGraph,
  type WalkPlan,
  type WalkScalars,
} from "./walk_graph.ts";

/** Rows of the smallest diagonal block that the elimination goes down to. */
const smallestBlock = 32;

/** How often to halve a system of so many rows; none where the size isn't known. */
function levelsFor(queries: number): number {
  return Math.max(0, Math.floor(Math.log2(queries / smallestBlock)));
}

/** How often to double the series so that it keeps the tolerance; see {@linkcode seriesBound}. */
export function seriesDoublings(
  omega: number,
  tolerance: number = seriesTolerance,
  norms: WalkNorms = stochasticNorms,
): number {
  return Math.ceil(Math.log2(seriesTerms(omega, tolerance, norms)));
}

/** Products of N_Q×N_Q matrices that an inverse takes; those of halves are an eighth of the work. */
function inverseCost({ doublings, levels }: InversePlan): number {
  return levels === 0
    ? 2 * Math.max(0, doublings - 1)
    : (6 + 2 * inverseCost({ doublings, levels: levels - 1 })) / 8;
}

/**
 * Chooses between the inverse and the series' terms one by one, by the multiplications that they
 * take. With the inverse one product with N_Q×D follows; every term but the first is such a product.
 * Measured at N 250, D 640: 4.6 ms with one term, 5.3 with two, 5.9 with the inverse, which is when
 * this changes over; see docs/kernels.md.
 */
function planFor(
  options: ResolvedGfaOptions,
  sizes: { queries: number; channels: number } | null,
  norms: WalkNorms,
): { plan: WalkPlan; method: GfaMethod } {
  const { omega, method, tolerance, steps } = options;
  if (steps !== null) return { plan: { kind: "steps", steps }, method: "steps" };
  const levels = sizes === null ? 0 : levelsFor(sizes.queries);
  const width = sizes === null ? 1 : sizes.channels / sizes.queries;
  const terms = seriesTerms(omega, tolerance, norms);
  const doubled = method === "series"
    ? { doublings: seriesDoublings(omega, tolerance, norms), levels: 0 }
    : { doublings: seriesDoublings(omega, seriesTolerance, norms), levels };
  const isShort = (terms - 1) * width <= inverseCost(doubled) + width;
  if (method !== "closed" && isShort) return { plan: { kind: "terms", terms }, method: "series" };
  return {
    plan: { kind: "inverse", ...doubled },
    method: method === "series" ? "series" : "closed",
  };
}

/** What a plan leaves out. */
function errorBoundOf(plan: WalkPlan, omega: number, norms: WalkNorms): number {
  switch (plan.kind) {
    case "inverse":
      return seriesBound(omega, 2 ** plan.doublings, norms);
    case "terms":
      return seriesBound(omega, plan.terms, norms);
    case "steps":
      return stepsBound(omega, plan.steps, norms);
  }
}

/**
 * Below this ω its square would vanish in float32. Both outputs are within 2ω of the unit rows, so
 * that no digit of theirs tells it from a smaller one.
 */
const smallestOmega = 1e-9;

function scalarsOf({ omega, lambda }: ResolvedGfaOptions): Record<keyof WalkScalars, number> {
  const w = Math.max(omega, smallestOmega);
  return { omega: w, rest: 1 - w, squared: w ** 2, lambda };
}

/** What a graph with raw affinity assumes of ω²‖PZ‖∞, which is known only when it runs. */
const assumedRate = 0.99;

/**
 * Adds GFA to a graph, so that a network and its fusion can be one session. Sizes may be symbolic.
 *
 * ONNX has no linear solver: `(I − ω²PZ)⁻¹` is summed as a Neumann series, each product doubling the
 * number of its terms, up to the tolerance (2⁻²⁵ unless the method is `series`). Gradients are by
 * implicit differentiation, with the transpose of the same inverse.
 *
 * With raw affinity nothing can be refused when the graph is built: where ω²‖PZ‖∞ is above 0.99 the
 * outputs are NaN.
 *
 * @param clip F_C, [B×]N_C×D.
 * @param query F_Q, [B×]N_Q×D, of the same graph.
 * @param options ω, λ, affinity, method and gradient; `checkFinite` has no effect.
 * @returns F_C∞ and F_Q∞ of the normalised rows.
 * @throws {OptionError} If an option is unknown or outside its domain.
 *
 * @example
 * ```ts
 * import { gfaGraph } from "@ovstage/ovstage/kernels";
 * import { Graph } from "@ovstage/ovstage/graph";
 * const graph = new Graph("fusion");
 * const clip = graph.input("clip", ["N", 64]);
 * const query = graph.input("query", [100, 64]);
 * graph.output("fused", gfaGraph(clip, query, { omega: 0.5, lambda: 10 }).clip);
 * ```
 */
export function gfaGraph(
  clip: Value,
  query: Value,
  options: GfaOptions,
): { clip: Value; query: Value } {
  const resolved = resolveGfaOptions(options);
  const { omega, lambda, affinity, gradient, steps } = resolved;
  const [queries, channels] = query.shape.slice(-2);
  const sizes = typeof queries === "number" && typeof channels === "number"
    ? { queries, channels }
    : null;
  const norms = affinity === "raw"
    ? { system: assumedRate / omega ** 2, affinity: assumedRate / omega ** 2 }
    : stochasticNorms;
  const walk = new WalkGraph(
    clip,
    query,
    scalarsOf(resolved),
    formOf(resolved, planFor(resolved, sizes, norms).plan),
  );
  let outputs = [walk.clip, walk.query];
  if (walk.norms !== null && steps === null) {
    const largest = ops.mul(walk.norms.system, omega ** 2 * lambda);
    const isSafe = ops.less(largest, assumedRate);
    outputs = outputs.map((value) => ops.where(isSafe, value, NaN));
  }
  const inverse = {
    doublings: seriesDoublings(omega, seriesTolerance, norms),
    levels: sizes === null ? 0 : levelsFor(sizes.queries),
  };
  const [fusedClip, fusedQuery] = customGradient([clip, query], outputs, ([byClip, byQuery]) => {
    if (gradient === "stop") return [null, null];
    const by = walk.gradients(byClip!, byQuery!, inverse);
    return [by.clip, by.query];
  });
  return { clip: fusedClip!, query: fusedQuery! };
}

function formOf({ affinity, lambda }: ResolvedGfaOptions, plan: WalkPlan): WalkForm {
  return { affinity, isSharp: affinity === "softmax" && lambda > sharpLambda, plan };
}

const dtypes: readonly DType[] = ["float32", "float16"];

/** A session and how many kernels use it. */
interface SharedSession {
  readonly session: LazySession;
  users: number;
}

/** Neither ω nor λ is part of a session, so that kernels that differ in them can share it. */
const sessionsOf = new WeakMap<Engine, Map<string, SharedSession>>();

/**
 * GFA on an ONNX engine. Its sessions are loaded on first use; one serves all inputs of a kind,
 * whatever their sizes, and all kernels of the engine whose ω and λ take as many terms.
 */
export class CpuGfa {
  readonly #engine: Engine;
  readonly #options: ResolvedGfaOptions;
  /** Keys of the sessions that this kernel uses. */
  readonly #used = new Set<string>();
  readonly #scalars: HostTensor<"float32">;
  /** Of the last input with raw affinity; where nothing is known yet, those of a quick walk. */
  #norms: WalkNorms;

  /**
   * @param engine Executes the graph.
   * @param options ω and λ, and how to compute.
   */
  constructor(engine: Engine, options: GfaOptions) {
    this.#engine = engine;
    this.#options = resolveGfaOptions(options);
    const { omega, affinity } = this.#options;
    const { rest, squared, ...scalars } = scalarsOf(this.#options);
    this.#scalars = float32(
      [4],
      Float32Array.of(scalars.omega, rest, squared, scalars.lambda),
    );
    const quick = 0.5 / omega ** 2;
    this.#norms = affinity === "raw" ? { system: quick, affinity: quick } : stochasticNorms;
  }

  /** Fuses once; see {@linkcode Gfa.run}. */
  async run(input: GfaInput): Promise<FusedEmbeddings> {
    const options = this.#options;
    const sizes = checkGfa(input, dtypes);
    const operands = { clip: await toHost(input.clip), query: await toHost(input.query) };
    for (;;) {
      const { plan, method } = planFor(options, sizes, this.#norms);
      const { fusedClip, fusedQuery, ...rest } = await this.#execute(plan, null, operands, sizes);
      const fused = [fusedClip, fusedQuery] as [Tensor<"float32">, Tensor<"float32">];
      await this.#assertFinite(operands, fused, sizes);
      const norms = await this.#normsOf(rest);
      const errorBound = errorBoundOf(plan, options.omega, norms);
      // Longer than the last input's: once more, with as many terms as it takes.
      const isEnough = plan.kind === "steps" ||
        errorBound <= (method === "series" ? options.tolerance : seriesTolerance);
      if (isEnough) return new FusedEmbeddings(...fused, method, errorBound);
      this.#norms = norms;
    }
  }

  /** The gradients by the inputs; see {@linkcode Gfa.gradients}. */
  async gradients(input: GfaInput, cotangent: GfaCotangent): Promise<GfaGradients> {
    const { gradient, steps, omega } = this.#options;
    const sizes = checkGfa(input, dtypes);
    checkGfaCotangent(cotangent, sizes, dtypes);
    if (gradient === "stop") {
      return new GfaGradients(float32(input.clip.shape), float32(input.query.shape));
    }
    const operands = { clip: await toHost(input.clip), query: await toHost(input.query) };
    const by = {
      "cotangent.clip": await toHost(cotangent.clip),
      "cotangent.query": await toHost(cotangent.query),
    };
    for (;;) {
      const inverse = {
        doublings: steps === null ? seriesDoublings(omega, seriesTolerance, this.#norms) : 0,
        levels: levelsFor(sizes.queries),
      };
      const plan: WalkPlan = steps === null
        ? { kind: "inverse", ...inverse }
        : { kind: "steps", steps };
      const { gradClip, gradQuery, ...rest } = await this.#execute(
        plan,
        inverse,
        { ...operands, ...by },
        sizes,
      );
      const grads = [gradClip, gradQuery] as [Tensor<"float32">, Tensor<"float32">];
      await this.#assertFinite({ ...operands, ...by }, grads, sizes);
      const norms = await this.#normsOf(rest);
      if (steps !== null || errorBoundOf(plan, omega, norms) <= seriesTolerance) {
        return new GfaGradients(...grads);
      }
      this.#norms = norms;
    }
  }

  /** Frees the sessions that no other kernel uses. */
  async dispose(): Promise<void> {
    const sessions = sessionsOf.get(this.#engine);
    const keys = [...this.#used];
    this.#used.clear();
    for (const key of keys) {
      const shared = sessions!.get(key)!;
      if (--shared.users > 0) continue;
      sessions!.delete(key);
      await shared.session.dispose();
    }
  }

  /** Runs the session for a plan: forward, or backward where `inverse` says how to. */
  #execute(
    plan: WalkPlan,
    inverse: InversePlan | null,
    operands: Readonly<Record<string, HostTensor>>,
    sizes: GfaSizes,
  ): Promise<Record<string, Tensor>> {
    const types = Object.fromEntries(Object.entries(operands).map(([name, x]) => [name, x.dtype]));
    const form = formOf(this.#options, plan);
    const isBatched = sizes.batch !== null;
    const key = JSON.stringify([form, inverse, types, isBatched]);
    let sessions = sessionsOf.get(this.#engine);
    if (sessions === undefined) sessionsOf.set(this.#engine, sessions = new Map());
    let shared = sessions.get(key);
    if (shared === undefined) {
      const build = () => buildModel(form, inverse, types, isBatched);
      shared = { session: new LazySession(this.#engine, build), users: 0 };
      sessions.set(key, shared);
    }
    if (!this.#used.has(key)) {
      this.#used.add(key);
      shared.users++;
    }
    return shared.session.run({ ...operands, scalars: this.#scalars });
  }

  /** The norms of the walk that was run. */
  async #normsOf(outputs: Record<string, Tensor>): Promise<WalkNorms> {
    const { systemNorm, affinityNorm } = outputs;
    if (!systemNorm || !affinityNorm) return stochasticNorms;
    const { lambda, steps } = this.#options;
    const [system] = await systemNorm.read() as Float32Array;
    const [affinity] = await affinityNorm.read() as Float32Array;
    const norms = { system: lambda * system!, affinity: lambda * affinity! };
    if (steps === null) checkConvergence(this.#options, norms);
    return norms;
  }

  /**
   * Looks for NaN and infinity where every one of them shows: a row's own normalisation makes NaN of
   * it, P or Z passes that on to the same column of every other row, and 0 · NaN is NaN. So the
   * first rows of the results tell, and the inputs are searched only when they do.
   */
  async #assertFinite(
    operands: Readonly<Record<string, HostTensor>>,
    results: readonly Tensor<"float32">[],
    { channels }: GfaSizes,
  ): Promise<void> {
    if (!this.#options.checkFinite) return;
    for (const result of results) {
      const data = await result.read();
      const image = result.shape.at(-2)! * channels;
      let sum = 0;
      for (let at = 0; at < data.length; at += image) {
        for (let d = 0; d < channels; d++) sum += 0 * data[at + d]!;
      }
      if (sum === 0) continue;
      for (const [name, operand] of Object.entries(operands)) {
        refuseNonFinite("gfa", name, operand);
      }
    }
  }
}

/** The model of a session: forward, or backward where `inverse` says how to. */
function buildModel(
  form: WalkForm,
  inverse: InversePlan | null,
  types: Readonly<Record<string, DType>>,
  isBatched: boolean,
): Uint8Array {
  const graph = new Graph("gfa");
  const input = (name: string, rows: string) => {
    const shape = [...(isBatched ? ["B"] : []), rows, "D"];
    const value = graph.input(name, shape, types[name]!);
    return value.dtype === "float32" ? value : ops.cast(value, "float32");
  };
  const [omega, rest, squared, lambda] = ops.split(
    graph.input("scalars", [4]),
    [1, 1, 1, 1],
    0,
  ) as [Value, Value, Value, Value];
  const walk = new WalkGraph(
    input("clip", "N_C"),
    input("query", "N_Q"),
    { omega, rest, squared, lambda },
    form,
  );
  if (inverse === null) {
    graph.output("fusedClip", walk.clip);
    graph.output("fusedQuery", walk.query);
  } else {
    const by = walk.gradients(
      input("cotangent.clip", "N_C"),
      input("cotangent.query", "N_Q"),
      inverse,
    );
    graph.output("gradClip", by.clip);
    graph.output("gradQuery", by.query);
  }
  if (walk.norms !== null) {
    graph.output("systemNorm", walk.norms.system);
    graph.output("affinityNorm", walk.norms.affinity);
  }
  return graph.toOnnx();
}
