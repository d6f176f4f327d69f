/**
 * Learned fusion of pooled features and query embeddings by attention: what Gradient-Free
 * Aggregation is compared with (OVSNet, section 4).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { attention } from "./attention.ts";
import { feedForward } from "./feed_forward.ts";
import { layerNorm } from "./layers.ts";
import { transformerBlock } from "./transformer_block.ts";

/** Which of the two. */
export type AttentionFuserKind = "self_attention" | "cross_attention";

/** Sizes of an attention fuser. */
export interface AttentionFuserConfig {
  /** Among all embeddings, or from queries to pooled features. */
  kind: AttentionFuserKind;
  /** Blocks. */
  depth: number;
  /** Heads of each; must divide D. */
  heads: number;
}

/** What an attention fuser takes. */
export interface AttentionFuserInputs {
  /** F_C, B×N×D. */
  pooled: Value;
  /** B×N, 1 where a mask holds no pixel: nobody looks there. */
  empty: Value;
  /** F_Q, B×N×D. */
  query: Value;
}

/**
 * Builds an attention fuser over unit rows.
 *
 * - `self_attention`: transformer blocks over [F_Q; F_C], each with a learned mark of its kind; the
 *   queries' half is the result.
 * - `cross_attention`: blocks in which F_Q attends to F_C.
 *
 * @returns B×N×D, not normalised.
 * @throws {ShapeError} If the heads don't divide D.
 */
export function attentionFuser(
  scope: ParameterScope,
  inputs: AttentionFuserInputs,
  { kind, depth, heads }: AttentionFuserConfig,
): Value {
  const width = inputs.query.shape[2] as number;
  const pooled = ops.l2Normalize(inputs.pooled);
  const query = ops.l2Normalize(inputs.query);
  const hidden = ops.mul(inputs.empty, -1e9);
  const blocks = scope.scope("blocks");
  if (kind === "cross_attention") {
    const bias = ops.unsqueeze(hidden, [1, 2]);
    let x = query;
    for (let i = 0; i < depth; i++) {
      const block = blocks.scope(i);
      const source = layerNorm(block.scope("sourceNorm"), pooled);
      const target = layerNorm(block.scope("attentionNorm"), x);
      x = ops.add(x, attention(block.scope("attention"), target, source, { heads, bias }));
      x = ops.add(
        x,
        feedForward(block.scope("feedForward"), layerNorm(block.scope("feedForwardNorm"), x)),
      );
    }
    return x;
  }
  const mark = (name: string) => scope.parameter(name, [1, 1, width], { normal: 0.02 });
  let tokens = ops.concat(
    [ops.add(query, mark("queryMark")), ops.add(pooled, mark("pooledMark"))],
    1,
  );
  const seen = ops.mul(hidden, 0);
  const bias = ops.unsqueeze(ops.concat([seen, hidden], 1), [1, 2]);
  for (let i = 0; i < depth; i++) {
    tokens = transformerBlock(blocks.scope(i), tokens, { heads, bias });
  }
  return ops.slice(tokens, 1, 0, ops.dimOf(query, 1));
}
