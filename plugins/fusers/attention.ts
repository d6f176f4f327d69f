/**
 * The learned fusers: self-attention and cross-attention.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";
import { firstLine } from "../../lib/first_line.ts";
import { loadNetwork, unbatched } from "../../lib/stages/network.ts";
import type { OptionSchema, StringOption } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32 } from "../../lib/tensor.ts";
import type { AttentionFuserKind } from "../networks/attention_fuser.ts";
import { normalizedRows } from "./rows.ts";

/** Options of a learned fuser. */
export interface LearnedFuserOptions extends OptionSchema {
  /** Its model's file. */
  readonly model: StringOption;
}

/** The plugin of a learned fuser. */
export type AttentionFuser = StagePlugin<
  ["pooled", "queryEmbeddings"],
  ["fused"],
  LearnedFuserOptions
>;

function attentionFuser(name: AttentionFuserKind, description: string): AttentionFuser {
  return {
    role: "fuser",
    name,
    description,
    needs: ["pooled", "queryEmbeddings"],
    gives: ["fused"],
    options: {
      model: { type: "string", description: "the model's file", default: `${name}_fuser.onnx` },
    },
    async create({ model }, environment) {
      const session = await loadNetwork(environment, model, {
        inputs: ["pooled", "empty", "query"],
        outputs: ["fused"],
      });
      return {
        async run({ pooled, queryEmbeddings }) {
          // Unit rows: the network takes rows of any length, but not of any magnitude.
          const clip = await normalizedRows(pooled.embeddings);
          const query = await normalizedRows(queryEmbeddings);
          const empty = Float32Array.from(await pooled.empty.read(), Number);
          const shape = [1, ...query.shape];
          let outputs: Awaited<ReturnType<typeof session.run>>;
          try {
            outputs = await session.run({
              pooled: float32(shape, clip.data),
              empty: float32([1, empty.length], empty),
              query: float32(shape, query.data),
            });
          } catch (cause) {
            throw new ModelError(
              `model ${model}: doesn't take embeddings of ${shape[2]} features per row: ` +
                firstLine(cause),
              { cause },
            );
          }
          return { fused: unbatched(outputs["fused"]!, "fused") };
        },
        dispose: () => session.dispose(),
      };
    },
  };
}

/**
 * Transformer blocks over query embeddings and pooled features together; the queries' half is the
 * result. Masks without pixels are looked at by nobody. Trained by `ovs train` with
 * `fuser.kind: "self_attention"`.
 */
export const selfAttentionFuser: AttentionFuser = attentionFuser(
  "self_attention",
  "self-attention over pooled features and query embeddings, learned",
);

/**
 * Query embeddings attend to pooled features. Masks without pixels are looked at by nobody. Trained
 * by `ovs train` with `fuser.kind: "cross_attention"`.
 */
export const crossAttentionFuser: AttentionFuser = attentionFuser(
  "cross_attention",
  "cross-attention from query embeddings to pooled features, learned",
);
