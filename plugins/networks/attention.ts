/**
 * Multi-head attention and the masks that it takes.
 *
 * @module
 */
import { ShapeError } from "../../lib/errors.ts";
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { linear } from "./layers.ts";
import { counting, type Size } from "./sizes.ts";

/** Options of {@linkcode attention}. */
export interface AttentionOptions {
  /** Number of heads. */
  heads: number;
  /** Added to the affinities before the softmax: any shape that broadcasts to B×heads×T×S. */
  bias?: Value;
  /**
   * Where the target may look, as booleans of any shape that broadcasts to B×heads×T×S. A row that is
   * false everywhere should not be: see {@linkcode unlessEmpty}.
   */
  mask?: Value;
  /** Added to the keys' source, not to the values': position embeddings. */
  keyPosition?: Value;
}

/**
 * Multi-head scaled dot-product attention (Vaswani et al., 2017).
 *
 * @param target B×T×C, what asks.
 * @param source B×S×C', what is asked; `target` for self-attention.
 * @returns B×T×C.
 * @throws {ShapeError} If the heads don't divide the channels.
 *
 * @example
 * ```ts
 * import { Graph, ops, ParameterLayout } from "@ovstage/ovstage/graph";
 * import { attention, causalMask } from "@ovstage/ovstage/networks";
 * const graph = new Graph("causal");
 * const x = graph.input("x", ["B", "T", 64]);
 * const layout = ParameterLayout.of(graph, (scope) => {
 *   const mask = causalMask(x, ops.dimOf(x, 1));
 *   graph.output("y", attention(scope.scope("attention"), x, x, { heads: 4, mask }));
 * });
 * console.log(layout.entries[0]!.name); // attention.query.weight
 * ```
 */
export function attention(
  scope: ParameterScope,
  target: Value,
  source: Value,
  { heads, bias, mask, keyPosition }: AttentionOptions,
): Value {
  const width = target.shape[2] as number;
  const size = headSize(target, heads);
  const scale = 1 / Math.sqrt(size);
  let affinity: Value;
  let value: Value;
  if (target === source && keyPosition === undefined) {
    // One product and one transposition for all three: fewer and larger ones run faster.
    const rows = ops.reshape(joinedLinear(scope, ["query", "key", "value"], target, width), [
      ops.dimOf(target, 0),
      -1,
      3,
      heads,
      size,
    ]);
    const parts = ops.split(ops.transpose(rows, [2, 0, 3, 1, 4]), [1, 1, 1], 0);
    const [query, key] = parts.map((part) => ops.squeeze(part, [0])) as [Value, Value];
    value = ops.squeeze(parts[2]!, [0]);
    affinity = ops.matMul(ops.mul(query, scale), ops.transpose(key, [0, 1, 3, 2]));
  } else {
    const split = (x: Value, permutation: number[]) =>
      ops.transpose(ops.reshape(x, [ops.dimOf(x, 0), -1, heads, size]), permutation);
    const keys = keyPosition === undefined ? source : ops.add(source, keyPosition);
    const query = split(
      ops.mul(linear(scope.scope("query"), target, width), scale),
      [0, 2, 1, 3],
    );
    const key = split(linear(scope.scope("key"), keys, width), [0, 2, 3, 1]);
    value = split(linear(scope.scope("value"), source, width), [0, 2, 1, 3]);
    affinity = ops.matMul(query, key);
  }
  if (bias !== undefined) affinity = ops.add(affinity, bias);
  if (mask !== undefined) affinity = ops.add(affinity, maskBias(mask));
  const mixed = ops.transpose(ops.matMul(ops.softmax(affinity, -1), value), [0, 2, 1, 3]);
  return linear(
    scope.scope("output"),
    ops.reshape(mixed, [ops.dimOf(target, 0), -1, width]),
    width,
  );
}

/** Linear layers of the same input, side by side: …×I to …×(O + O + …). */
function joinedLinear(
  scope: ParameterScope,
  names: readonly string[],
  x: Value,
  outputs: number,
): Value {
  const inputs = x.shape.at(-1) as number;
  const layers = names.map((name) => {
    const part = scope.scope(name);
    return [
      part.parameter("weight", [inputs, outputs], { normal: 0.02 }),
      part.parameter("bias", [outputs], { constant: 0 }),
    ] as const;
  });
  const weight = ops.concat(layers.map(([weight]) => weight), 1);
  return ops.add(ops.matMul(x, weight), ops.concat(layers.map(([, bias]) => bias), 0));
}

/** Channels of a head. */
export function headSize(x: Value, heads: number): number {
  const size = x.shape[2] as number / heads;
  if (Number.isInteger(size)) return size;
  throw new ShapeError(
    `attention: ${x.shape[2]} channels don't make ${heads} heads of equal size${x.graph.here()}`,
  );
}

/** A mask as summands: 0 where it is true, −1e9 where it is false. */
export function maskBias(mask: Value): Value {
  return ops.mul(ops.sub(ops.cast(mask, "float32"), 1), 1e9);
}

/**
 * Each token sees itself and those before it.
 *
 * @param like Any value of the graph.
 * @param length T, the number of tokens.
 * @returns T×T booleans.
 */
export function causalMask(like: Value, length: Size): Value {
  const place = counting(like.graph, length);
  return ops.greaterOrEqual(ops.unsqueeze(place, [1]), place);
}

/** The mask with the rows that are false everywhere made true everywhere. */
export function unlessEmpty(mask: Value): Value {
  const any = ops.reduceMax(ops.cast(mask, "float32"), [-1], true);
  return ops.or(mask, ops.less(any, 0.5));
}

/**
 * Mask2Former's mask (Cheng et al., 2022, section 3.2): a query sees only where it predicted its
 * segment so far, or everything where that is nowhere. Gradients don't pass.
 *
 * @param maskLogits B×N×H×W.
 * @param height Rows of the map that is looked at.
 * @param width Columns of the map that is looked at.
 * @returns B×1×N×(height·width) booleans, for all heads.
 */
export function maskedAttentionMask(maskLogits: Value, height: Size, width: Size): Value {
  const resized = ops.resizeBilinear(ops.stopGradient(maskLogits), height, width);
  const rows = ops.reshape(resized, [ops.dimOf(resized, 0), maskLogits.shape[1] as number, -1]);
  return ops.unsqueeze(unlessEmpty(ops.greaterOrEqual(rows, 0)), [1]);
}
