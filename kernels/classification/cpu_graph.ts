/**
 * Per-pixel classification as an ONNX subgraph, so that a network and its segmentation can be one
 * session.
 *
 * @module
 */
import { ShapeError } from "../../lib/errors.ts";
import type { Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import { checkClassificationOptions, emptyScore } from "./contract.ts";

/** Options of {@linkcode classificationGraph}. */
export interface ClassificationGraphOptions {
  /** Pixels whose winning score is below it become void; 0 where left out. */
  readonly threshold?: number;
  /** Classes whose scores are held at the same time; 32 where left out. */
  readonly classBlock?: number;
}

/**
 * Adds per-pixel classification to a graph:
 * `labels[p] = argmax_c Σ_n probabilities[n, c] · sigmoid(m_n(p))`, where m_n is the n-th mask's
 * logits resized bilinearly to H×W (align_corners = false); ties go to the lower class.
 *
 * Where C is a number, classes are scored `classBlock` at a time against a running maximum, so that
 * the memory, (2·N + classBlock + 4)·H·W floats, does not grow with C; the number of operators does,
 * by eight for every block. A symbolic C is one block: then C·H·W scores are held at once.
 *
 * @param maskLogits M, N×h×w, of the same graph; sizes may be symbolic.
 * @param probabilities N×C, void left out; sizes may be symbolic.
 * @param height H: a number, or {@linkcode ops.dimOf} of a value.
 * @param width W, likewise.
 * @returns `labels`, int32 H×W with −1 for void, and `scores`, float32 H×W, 0 where void.
 * @throws {ShapeError} If a rank does not fit, or N differs.
 * @throws {OptionError} If the threshold is no number from 0 on.
 */
export function classificationGraph(
  maskLogits: Value,
  probabilities: Value,
  height: number | ops.DimOf,
  width: number | ops.DimOf,
  options: ClassificationGraphOptions = {},
): { labels: Value; scores: Value } {
  checkClassificationOptions(options);
  const { threshold = 0, classBlock = 32 } = options;
  if (maskLogits.rank !== 3 || probabilities.rank !== 2) {
    throw new ShapeError(
      `classification: maskLogits must be N×h×w and probabilities N×C, got rank ` +
        `${maskLogits.rank} and ${probabilities.rank}`,
    );
  }
  if (maskLogits.shape[0] !== probabilities.shape[0]) {
    throw new ShapeError(
      `classification: probabilities have ${probabilities.shape[0]} rows, maskLogits ` +
        `${maskLogits.shape[0]} masks; both must be N`,
    );
  }
  if (!(Number.isInteger(classBlock) && classBlock > 0)) {
    throw new ShapeError(
      `classification: classBlock must be a positive integer, got ${classBlock}`,
    );
  }
  const resized = ops.squeeze(
    ops.resizeBilinear(ops.unsqueeze(maskLogits, [0]), height, width),
    [0],
  );
  const inside = ops.reshape(ops.sigmoid(resized), [ops.dimOf(maskLogits, 0), -1]);
  const classes = probabilities.shape[1]!;
  const starts = typeof classes === "number"
    ? Array.from({ length: Math.ceil(classes / classBlock) }, (_, i) => i * classBlock)
    : [0];
  let label: Value | null = null;
  let score: Value | null = null;
  for (const start of starts) {
    const block = starts.length === 1
      ? probabilities
      : ops.slice(probabilities, 1, start, start + classBlock);
    const sums = ops.gemm(block, inside, { transposeA: true });
    const best = ops.reduceMax(sums, [0]);
    const first = firstMaximum(sums);
    if (label === null || score === null) {
      [label, score] = [first, best];
    } else {
      // Only a strictly higher score displaces a lower class.
      const higher = ops.greater(best, score);
      label = ops.where(higher, ops.add(first, sums.graph.constant(start, [], "int32")), label);
      score = ops.where(higher, best, score);
    }
  }
  // "≥ threshold" is "not below it".
  const covered = ops.cast(ops.greater(score!, emptyScore), "int32");
  const low = ops.cast(ops.less(score!, threshold), "int32");
  const graph = maskLogits.graph;
  const known = ops.greater(ops.sub(covered, low), graph.constant(0, [], "int32"));
  const shape = [height, width];
  return {
    labels: ops.reshape(ops.where(known, label!, graph.constant(-1, [], "int32")), shape),
    scores: ops.reshape(ops.where(known, score!, 0), shape),
  };
}

/** The lowest index of the largest element along the first axis. */
function firstMaximum(x: Value): Value {
  const [index] = x.graph.add("ArgMax", [x], [{ dtype: "int64", shape: x.shape.slice(1) }], {
    axis: { int: 0 },
    keepdims: { int: 0 },
    select_last_index: { int: 0 },
  });
  return ops.cast(index!, "int32");
}
