/**
 * Mask pooling as an ONNX subgraph, for devices without WebGPU.
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
  checkMaskPooling,
  emptyArea,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  PooledMasks,
} from "./contract.ts";

/**
 * Adds mask pooling to a graph, so that a network and its pooling can be one session. Sizes may be
 * symbolic.
 *
 * @param features X, D×h×w.
 * @param maskLogits M, N×h'×w', of the same graph.
 * @param options Hard or soft.
 * @returns `pooled`, N×D, and `area`, N. Gradients flow to the features and, when soft, to the
 *   logits.
 */
export function maskPoolingGraph(
  features: Value,
  maskLogits: Value,
  options: MaskPoolingOptions,
): { pooled: Value; area: Value } {
  const resized = ops.squeeze(
    ops.resizeBilinear(
      ops.unsqueeze(maskLogits, [0]),
      ops.dimOf(features, 1),
      ops.dimOf(features, 2),
    ),
    [0],
  );
  const weights = options.mode === "hard"
    ? ops.cast(ops.greater(resized, 0), "float32")
    : ops.sigmoid(resized);
  const flat = ops.reshape(weights, [ops.dimOf(maskLogits, 0), -1]);
  const x = ops.reshape(features, [ops.dimOf(features, 0), -1]);
  const area = ops.reduceSum(flat, [1], true);
  const sums = ops.gemm(flat, x, { transposeB: true });
  return {
    pooled: ops.div(sums, ops.add(area, emptyArea)),
    area: ops.squeeze(area, [1]),
  };
}

/** Mask pooling on an ONNX engine. One session serves all sizes; it is loaded on first use. */
export class CpuMaskPooling {
  readonly #session: LazySession;

  /**
   * @param engine Executes the graph.
   * @param options Hard or soft.
   */
  constructor(engine: Engine, options: MaskPoolingOptions) {
    this.#session = new LazySession(engine, () => {
      const graph = new Graph("mask_pooling");
      const { pooled, area } = maskPoolingGraph(
        graph.input("features", ["D", "h", "w"]),
        graph.input("maskLogits", ["N", "maskHeight", "maskWidth"]),
        options,
      );
      graph.output("pooled", pooled);
      graph.output("area", area);
      return graph.toOnnx();
    });
  }

  /** Pools once; see {@linkcode MaskPooling.run}. */
  async run(input: MaskPoolingInput): Promise<PooledMasks> {
    checkMaskPooling(input);
    const { pooled, area } = await this.#session.run({
      features: await toHost(input.features),
      maskLogits: await toHost(input.maskLogits),
    });
    return new PooledMasks(pooled as Tensor<"float32">, area as Tensor<"float32">);
  }

  /** Frees the session. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}
