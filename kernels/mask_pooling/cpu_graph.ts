/**
 * Mask pooling as an ONNX subgraph, for devices without WebGPU.
 *
 * @module
 */
import { customGradient } from "../../lib/graph/custom_gradient.ts";
import { Graph, type Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { Engine } from "../../lib/runtime.ts";
import type { DType, HostTensor, Tensor } from "../../lib/tensor.ts";
import { LazySession } from "../dispatch/lazy_session.ts";
import { toHost } from "../dispatch/operand.ts";
import { refuseNonFinite } from "../finite.ts";
import {
  checkMaskPooling,
  checkMaskPoolingCotangent,
  checkMaskPoolingOptions,
  emptyArea,
  type MaskPoolingCotangent,
  MaskPoolingGradients,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  type MaskPoolingSizes,
  PooledMasks,
} from "./contract.ts";
import { resizeAdjoint } from "./resize_adjoint.ts";

/**
 * Adds mask pooling to a graph, so that a network and its pooling can be one session. Sizes may be
 * symbolic.
 *
 * @param features X, [B×]D×h×w.
 * @param maskLogits M, [B×]N×h'×w', of the same graph.
 * @param options Hard or soft; `checkFinite` has no effect.
 * @returns `pooled`, [B×]N×D, and `area`, [B×]N. Gradients flow from `pooled` to the features and,
 *   when soft, to the logits.
 * @throws {OptionError} If the mode is unknown.
 *
 * @example
 * ```ts
 * import { maskPoolingGraph } from "@ovstage/ovstage/kernels";
 * import { Graph } from "@ovstage/ovstage/graph";
 * const graph = new Graph("pooling");
 * const features = graph.input("features", [64, "h", "w"]);
 * const maskLogits = graph.input("maskLogits", ["N", "H", "W"]);
 * graph.output("pooled", maskPoolingGraph(features, maskLogits, { mode: "hard" }).pooled);
 * ```
 */
export function maskPoolingGraph(
  features: Value,
  maskLogits: Value,
  options: MaskPoolingOptions,
): { pooled: Value; area: Value } {
  checkMaskPoolingOptions(options);
  const pooling = new PoolingGraph(features, maskLogits, options.mode);
  // A size known only at run time is not a number, and compares as false.
  const isWide = Number(maskLogits.shape.at(-2)) >= 2 * Number(features.shape.at(-2));
  const [pooled] = customGradient([features, maskLogits], [pooling.pooled], ([byPooled]) => {
    const by = pooling.gradients(byPooled!, isWide);
    return [by.features, by.maskLogits];
  });
  return { pooled: pooled!, area: ops.stopGradient(pooling.area) };
}

/** Mask pooling in a graph. */
class PoolingGraph {
  /** [B×]N×D */
  readonly pooled: Value;
  /** [B×]N */
  readonly area: Value;
  readonly #features: Value;
  readonly #maskLogits: Value;
  readonly #mode: "hard" | "soft";
  /** X with its pixels in one axis, [B×]D×hw. */
  readonly #x: Value;
  /** Whether M has the features' size already. */
  readonly #isSameSize: boolean;
  /** a, [B×]N×hw. */
  readonly #weights: Value;
  /** A + ε, [B×]N×1. */
  readonly #total: Value;

  constructor(features: Value, maskLogits: Value, mode: "hard" | "soft") {
    this.#features = features;
    this.#maskLogits = maskLogits;
    this.#mode = mode;
    const rank = features.rank;
    this.#x = ops.reshape(features, [...leading(features, rank - 2), -1]);
    // The operator takes images with a batch axis.
    const images = rank === 4 ? maskLogits : ops.unsqueeze(maskLogits, [0]);
    const resized = ops.resizeBilinear(
      images,
      ops.dimOf(features, rank - 2),
      ops.dimOf(features, rank - 1),
    );
    this.#isSameSize = resized === images;
    const flat = ops.reshape(
      this.#isSameSize ? maskLogits : resized,
      [...leading(maskLogits, rank - 2), -1],
    );
    this.#weights = mode === "hard" ? ops.cast(ops.greater(flat, 0), "float32") : ops.sigmoid(flat);
    const area = ops.reduceSum(this.#weights, [-1], true);
    this.area = ops.squeeze(area, [-1]);
    this.#total = ops.add(area, emptyArea);
    this.pooled = ops.div(ops.matMul(this.#weights, transposed(this.#x)), this.#total);
  }

  /**
   * From g = ∂L/∂F_C to ∂L/∂X = (g / (A + ε))ᵀ a and, when soft, ∂L/∂M.
   *
   * @param byPooled [B×]N×D.
   * @param isWide As {@linkcode resizeAdjoint} has it.
   */
  gradients(byPooled: Value, isWide: boolean): { features: Value; maskLogits: Value | null } {
    // Divided after the transposition, which ONNX Runtime would else leave to the product: slower.
    const gTransposed = ops.div(transposed(byPooled), transposed(this.#total));
    const byX = ops.matMul(gTransposed, this.#weights);
    const features = ops.reshape(byX, leading(this.#features, this.#features.rank));
    if (this.#mode === "hard") return { features, maskLogits: null };
    // ∂L/∂a_np = Σ_d g_nd (X_dp − F_nd); the sum with F is one over pixels of that with X.
    const a = this.#weights;
    const g = ops.div(byPooled, this.#total);
    const aByA = ops.mul(a, ops.matMul(g, this.#x));
    const mean = ops.div(ops.reduceSum(aByA, [-1], true), this.#total);
    const byLogit = ops.mul(ops.sub(aByA, ops.mul(a, mean)), ops.sub(1, a));
    const rank = this.#maskLogits.rank;
    const byResized = ops.reshape(byLogit, [
      ...leading(this.#maskLogits, rank - 2),
      ops.dimOf(this.#features, rank - 2),
      ops.dimOf(this.#features, rank - 1),
    ]);
    return {
      features,
      maskLogits: this.#isSameSize ? byResized : resizeAdjoint(byResized, this.#maskLogits, isWide),
    };
  }
}

/** The sizes of the first axes, as `reshape` takes them. */
function leading(x: Value, count: number): (number | ops.DimOf)[] {
  return Array.from({ length: count }, (_, axis) => ops.dimOf(x, axis));
}

/** Swaps the last two axes. */
function transposed(x: Value): Value {
  const axes = [...Array(x.rank).keys()];
  return ops.transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

const dtypes: readonly DType[] = ["float32", "float16"];

/**
 * Mask pooling on an ONNX engine. Its sessions are loaded on first use; one serves all inputs of a
 * kind, whatever their sizes.
 */
export class CpuMaskPooling {
  readonly #engine: Engine;
  readonly #options: MaskPoolingOptions;
  readonly #sessions = new Map<string, LazySession>();

  /**
   * @param engine Executes the graph.
   * @param options Hard or soft.
   */
  constructor(engine: Engine, options: MaskPoolingOptions) {
    checkMaskPoolingOptions(options);
    this.#engine = engine;
    this.#options = options;
  }

  /** Pools once; see {@linkcode MaskPooling.run}. */
  async run(input: MaskPoolingInput): Promise<PooledMasks> {
    const sizes = checkMaskPooling(input, dtypes);
    const operands = await onHost(input);
    const { pooled, area, logitSum } = await this.#execute(operands, sizes);
    if (logitSum !== undefined) {
      // One pixel that isn't finite spoils its channel in every mask's sum: 0 · NaN is NaN.
      const data = await pooled!.read() as Float32Array;
      const image = sizes.masks * sizes.channels;
      let sum = (await logitSum.read() as Float32Array)[0]! * 0;
      for (let at = 0; at < data.length; at += image) {
        for (let d = 0; d < sizes.channels; d++) sum += 0 * data[at + d]!;
      }
      if (sum !== 0) this.#refuse(operands);
    }
    return new PooledMasks(pooled as Tensor<"float32">, area as Tensor<"float32">);
  }

  /** The gradients by the inputs; see {@linkcode MaskPooling.gradients}. */
  async gradients(
    input: MaskPoolingInput,
    cotangent: MaskPoolingCotangent,
  ): Promise<MaskPoolingGradients> {
    const sizes = checkMaskPooling(input, dtypes);
    checkMaskPoolingCotangent(cotangent, sizes, dtypes);
    const operands = {
      ...await onHost(input),
      "cotangent.pooled": await toHost(cotangent.pooled),
    };
    const results = await this.#execute(operands, sizes);
    for (const name of ["featureSum", "logitSum", "cotangentSum"]) {
      const [sum] = await results[name]?.read() as Float32Array | undefined ?? [0];
      if (sum! * 0 !== 0) this.#refuse(operands);
    }
    return new MaskPoolingGradients(
      results["byFeatures"] as Tensor<"float32">,
      (results["byMaskLogits"] as Tensor<"float32"> | undefined) ?? null,
    );
  }

  /** Frees the sessions. */
  async dispose(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) await session.dispose();
  }

  /** A sum of finite elements may overflow, so that there need not be anything to refuse. */
  #refuse(operands: Readonly<Record<string, HostTensor>>): void {
    for (const [name, operand] of Object.entries(operands)) {
      refuseNonFinite("mask pooling", name, operand);
    }
  }

  /** Runs the session: backward where there is a cotangent among the operands. */
  #execute(
    operands: Readonly<Record<string, HostTensor>>,
    sizes: MaskPoolingSizes,
  ): Promise<Record<string, Tensor>> {
    const types = Object.fromEntries(Object.entries(operands).map(([name, x]) => [name, x.dtype]));
    const isSameSize = sizes.height === sizes.maskHeight && sizes.width === sizes.maskWidth;
    const isWide = sizes.maskHeight >= 2 * sizes.height;
    const isBatched = sizes.batch !== null;
    const relation = isSameSize ? "same" : isWide && "cotangent.pooled" in types ? "wide" : "other";
    const key = JSON.stringify([types, relation, isBatched]);
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = new LazySession(this.#engine, () => this.#build(types, relation, isBatched));
      this.#sessions.set(key, session);
    }
    return session.run(operands);
  }

  #build(
    types: Readonly<Record<string, DType>>,
    relation: "same" | "wide" | "other",
    isBatched: boolean,
  ): Uint8Array {
    const { mode, checkFinite } = this.#options;
    const graph = new Graph("mask_pooling");
    const input = (name: string, ...axes: string[]) => {
      const value = graph.input(name, [...(isBatched ? ["B"] : []), ...axes], types[name]!);
      return value.dtype === "float32" ? value : ops.cast(value, "float32");
    };
    const features = input("features", "D", "h", "w");
    const maskLogits = input("maskLogits", "N", ...(relation === "same" ? ["h", "w"] : ["H", "W"]));
    const pooling = new PoolingGraph(features, maskLogits, mode);
    if (checkFinite) graph.output("logitSum", ops.reduceSum(maskLogits));
    if ("cotangent.pooled" in types) {
      const cotangent = input("cotangent.pooled", "N", "D");
      const by = pooling.gradients(cotangent, relation === "wide");
      graph.output("byFeatures", by.features);
      if (by.maskLogits !== null) graph.output("byMaskLogits", by.maskLogits);
      if (checkFinite) {
        graph.output("featureSum", ops.reduceSum(features));
        graph.output("cotangentSum", ops.reduceSum(cotangent));
      }
    } else {
      graph.output("pooled", pooling.pooled);
      graph.output("area", pooling.area);
    }
    return graph.toOnnx();
  }
}

async function onHost(
  input: MaskPoolingInput,
): Promise<{ features: HostTensor; maskLogits: HostTensor }> {
  return {
    features: await toHost(input.features),
    maskLogits: await toHost(input.maskLogits),
  };
}
