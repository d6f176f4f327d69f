/**
 * Mask pooling as an ONNX subgraph, for devices without WebGPU.
 *
 * @module
 */
import { customGradient } from "../../lib/graph/custom_gradient.ts";
import { Graph, type Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import type { Engine } from "../../lib/runtime.ts";
import { type DType, HostTensor, type Tensor } from "../../lib/tensor.ts";
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
import { resizeAdjoint, type SizeRelation } from "./resize_adjoint.ts";

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
  const [height, width] = features.shape.slice(-2).map(Number) as [number, number];
  const [maskHeight, maskWidth] = maskLogits.shape.slice(-2).map(Number) as [number, number];
  const relation = relationOf({ height, width, maskHeight, maskWidth });
  const [pooled] = customGradient([features, maskLogits], [pooling.pooled], ([byPooled]) => {
    const by = pooling.gradients(byPooled!, relation);
    return [
      ops.reshape(by.features, leading(features, features.rank)),
      by.maskLogits && ops.reshape(by.maskLogits, leading(maskLogits, maskLogits.rank)),
    ];
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
   * From g = ∂L/∂F_C to ∂L/∂X = (g / (A + ε))ᵀ a and, when soft, ∂L/∂M. Both come as the last
   * operator leaves them, to be given their shapes: an operator that does no more than that copies
   * what is an output of a session.
   *
   * @param byPooled [B×]N×D.
   * @param relation Of the logits' size to that of the features.
   * @returns By X, [B×]D×hw, and by M, its elements in their order.
   */
  gradients(
    byPooled: Value,
    relation: SizeRelation,
  ): { features: Value; maskLogits: Value | null } {
    const g = ops.div(byPooled, this.#total);
    const features = ops.matMul(transposed(g), this.#weights);
    if (this.#mode === "hard") return { features, maskLogits: null };
    // ∂L/∂a_np = Σ_d g_nd (X_dp − F_nd); the sum with F is one over pixels of that with X.
    const a = this.#weights;
    // Each logit has a quarter of one cell where there are four to a cell.
    const share = relation === "double" && !this.#isSameSize ? 0.25 : 1;
    const byA = ops.matMul(share === 1 ? g : ops.mul(g, share), this.#x);
    const mean = ops.div(ops.reduceSum(ops.mul(a, byA), [-1], true), this.#total);
    const byLogit = ops.mul(ops.mul(ops.sub(byA, mean), a), ops.sub(1, a));
    if (this.#isSameSize) return { features, maskLogits: byLogit };
    const images = ops.reshape(byLogit, [
      ...(g.rank === 3 ? [] : [1]),
      ...leading(byLogit, g.rank - 1),
      ops.dimOf(this.#features, -2),
      ops.dimOf(this.#features, -1),
    ]);
    return { features, maskLogits: resizeAdjoint(images, this.#maskLogits, relation) };
  }
}

/** How the logits' size relates to that of the features. */
function relationOf(
  { height, width, maskHeight, maskWidth }: Pick<
    MaskPoolingSizes,
    "height" | "width" | "maskHeight" | "maskWidth"
  >,
): SizeRelation {
  if (maskHeight === 2 * height && maskWidth === 2 * width) return "double";
  return maskHeight >= 2 * height ? "wide" : "other";
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
    const byMaskLogits = results["byMaskLogits"];
    return new MaskPoolingGradients(
      await shaped(results["byFeatures"]!, input.features.shape),
      byMaskLogits === undefined ? null : await shaped(byMaskLogits, input.maskLogits.shape),
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
    const isBatched = sizes.batch !== null;
    const isTransposed = this.#options.mode === "soft" && "cotangent.pooled" in types;
    const relation = isSameSize ? "same" : isTransposed ? relationOf(sizes) : "other";
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
    relation: "same" | SizeRelation,
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
      const by = pooling.gradients(cotangent, relation === "same" ? "other" : relation);
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

/** The same elements under another shape. */
async function shaped(tensor: Tensor, shape: readonly number[]): Promise<HostTensor<"float32">> {
  return new HostTensor("float32", shape, await tensor.read() as Float32Array<ArrayBuffer>);
}

async function onHost(
  input: MaskPoolingInput,
): Promise<{ features: HostTensor; maskLogits: HostTensor }> {
  return {
    features: await toHost(input.features),
    maskLogits: await toHost(input.maskLogits),
  };
}
