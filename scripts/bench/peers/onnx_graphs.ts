/**
 * The tasks as ONNX graphs in the way that one would export them, for the bare ONNX Runtime.
 *
 * @module
 */
import { Graph, type Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import type { ClassificationTask, GfaTask, KernelTask, PoolingTask } from "../tasks.ts";
import { bandPlan } from "./bands.ts";

/** A graph and what to feed it. */
export interface OnnxTask {
  /** The serialised model. */
  readonly model: Uint8Array;
  /** Its inputs by name. */
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** The outputs that are compared, in order. */
  readonly outputs: readonly string[];
}

/** Writes a task as a graph with fixed sizes. */
export function onnxTask(task: KernelTask): OnnxTask {
  switch (task.kernel) {
    case "pooling":
      return pooling(task);
    case "gfa":
      return gfa(task);
    case "classification":
      return classification(task);
  }
}

/** Resize, Greater, Cast, Gemm with the features transposed, ReduceSum, Div. */
function pooling({ features, maskLogits }: PoolingTask): OnnxTask {
  const graph = new Graph("pooling");
  const [d, h, w] = features.shape as [number, number, number];
  const [n, mh, mw] = maskLogits.shape as [number, number, number];
  const x = graph.input("features", [d, h * w]);
  const m = graph.input("maskLogits", [1, n, mh, mw]);
  const weights = ops.cast(ops.greater(ops.resizeBilinear(m, h, w), 0), "float32");
  const flat = ops.reshape(weights, [n, h * w]);
  const area = ops.reduceSum(flat, [1], true);
  graph.output(
    "pooled",
    ops.div(ops.gemm(flat, x, { transposeB: true }), ops.add(area, 1e-8)),
  );
  return {
    model: graph.toOnnx(),
    inputs: {
      features: new HostTensor("float32", [d, h * w], features.data),
      maskLogits: new HostTensor("float32", [1, n, mh, mw], maskLogits.data),
    },
    outputs: ["pooled"],
  };
}

/** ONNX has no solver: the Neumann series, by repeated squaring up to 2⁻²⁵. */
function gfa({ clip, query, omega, lambda }: GfaTask): OnnxTask {
  const graph = new Graph("gfa");
  const normalize = (x: Value) => ops.div(x, ops.sqrt(ops.reduceSum(ops.mul(x, x), [1], true)));
  const c = normalize(graph.input("clip", clip.shape));
  const q = normalize(graph.input("query", query.shape));
  const z = ops.softmax(ops.mul(ops.gemm(c, q, { transposeB: true }), lambda), 1);
  const p = ops.transpose(ops.div(z, ops.reduceSum(z, [0], true)), [1, 0]);
  let power = ops.mul(ops.matMul(p, z), omega ** 2);
  let fused = ops.mul(ops.add(q, ops.mul(ops.matMul(p, c), omega)), 1 - omega);
  for (let terms = 1; omega ** (2 * terms) > 2 ** -25; terms *= 2) {
    if (terms > 1) power = ops.matMul(power, power);
    fused = ops.add(fused, ops.matMul(power, fused));
  }
  graph.output("fusedClip", ops.add(ops.mul(ops.matMul(z, fused), omega), ops.mul(c, 1 - omega)));
  graph.output("fusedQuery", fused);
  return {
    model: graph.toOnnx(),
    inputs: { clip, query },
    outputs: ["fusedClip", "fusedQuery"],
  };
}

/**
 * Bands of rows, each resized from the rows of the mask logits that it needs, sigmoid, one product
 * with the class probabilities per group of classes, and the best class of each pixel. Classes
 * come last in the scores, which is the order in which the maximum is quickest. Everything is one
 * graph, so that no host loop stands between the pieces.
 */
function classification(task: ClassificationTask): OnnxTask {
  const { maskLogits, height, width } = task;
  const [masks, h, w] = maskLogits.shape as [number, number, number];
  const classes = task.probabilities.shape[1]!;
  const scale = height / h;
  if (!Number.isInteger(scale) || scale % 2 !== 0 || width !== scale * w) {
    throw new Error(`the graph wants an output that is an even multiple of ${h}×${w}`);
  }
  const plan = bandPlan(masks, classes, height, width, 64e6);
  const graph = new Graph("classification");
  const m = graph.input("maskLogits", [masks, h, w]);
  const p = graph.input("probabilities", [masks, classes]);
  const groups = plan.groups.length === 1
    ? [p]
    : ops.split(p, plan.groups.map(({ begin, end }) => end - begin), 1);
  const labels: Value[] = [], scores: Value[] = [];
  for (const { begin, end } of plan.bands) {
    // A row more on either side, repeated at the image's edges, as the resize itself would.
    const rows: bigint[] = [];
    for (let row = begin / scale - 1; row <= end / scale; row++) {
      rows.push(BigInt(Math.min(h - 1, Math.max(0, row))));
    }
    const index = graph.constant(new BigInt64Array(rows), [rows.length], "int64");
    const near = graph.add("Gather", [m, index], [{
      dtype: "float32",
      shape: [masks, rows.length, w],
    }], { axis: { int: 1 } })[0]!;
    const resized = ops.squeeze(
      ops.resizeBilinear(ops.unsqueeze(near, [0]), rows.length * scale, width),
      [0],
    );
    const band = ops.slice(resized, 1, scale, rows.length * scale - scale);
    const pixels = (end - begin) * width;
    const weights = ops.reshape(ops.sigmoid(band), [masks, pixels]);
    let best: { score: Value; label: Value } | null = null;
    groups.forEach((group, g) => {
      const product = ops.gemm(weights, group, { transposeA: true });
      const score = ops.reduceMax(product, [1]);
      const found = graph.add("ArgMax", [product], [{ dtype: "int64", shape: [pixels] }], {
        axis: { int: 1 },
        keepdims: { int: 0 },
      })[0]!;
      const label = ops.add(ops.cast(found, "int32"), constant(graph, plan.groups[g]!.begin));
      if (best === null) best = { score, label };
      else {
        const better = ops.greater(score, best.score);
        best = {
          score: ops.max(score, best.score),
          label: ops.where(better, label, best.label),
        };
      }
    });
    labels.push(best!.label);
    scores.push(best!.score);
  }
  graph.output("labels", ops.concat(labels, 0));
  graph.output("scores", ops.concat(scores, 0));
  return {
    model: graph.toOnnx(),
    inputs: { maskLogits, probabilities: task.probabilities },
    outputs: ["labels"],
  };
}

function constant(graph: Graph, value: number): Value {
  return graph.constant(value, [], "int32");
}
