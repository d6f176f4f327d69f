/**
 * Gradient-Free Aggregation as a fuser.
 *
 * @module
 */
import type { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import { readAll } from "../../kernels/dispatch/read_all.ts";
import { seriesTolerance } from "../../kernels/gfa/contract.ts";
import { Gfa } from "../../kernels/gfa/gfa.ts";
import { gpuJoinOutputs } from "../../kernels/gfa/gpu_join_outputs.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32, type Tensor } from "../../lib/tensor.ts";
import { EmptyMasks } from "../poolers/empty_masks.ts";

/** Rows of a matrix by index, in host memory. */
async function gatherRows(tensor: Tensor<"float32">, rows: readonly number[]) {
  const data = await tensor.read();
  const columns = tensor.shape[1]!;
  const result = float32([rows.length, columns]);
  rows.forEach((row, i) => {
    result.data.set(data.subarray(row * columns, (row + 1) * columns), i * columns);
  });
  return result;
}

/** F_C∞'s share of what is classified; the rest is F_Q∞'s. */
const clipShare = { clip: 1, mean: 0.5, query: 0 } as const;

/** Options of {@linkcode gfaFuser}. */
export const gfaFuserOptions = {
  omega: {
    type: "number",
    description: "how far fusion goes",
    default: 0.5,
    exclusiveMinimum: 0,
    exclusiveMaximum: 1,
  },
  lambda: {
    type: "number",
    description: "how sharp the affinity is",
    default: 10,
    exclusiveMinimum: 0,
    maximum: 1e6,
  },
  output: {
    type: "string",
    description: "what is classified: fused pooled features, fused queries, or their mean",
    default: "clip",
    enum: ["clip", "query", "mean"],
  },
  affinity: {
    type: "string",
    description:
      "the walk's weights: a softmax of the similarities, or the similarities as they are",
    default: "softmax",
    enum: ["softmax", "raw"],
  },
  method: {
    type: "string",
    description: "how the limit is reached: by a solver, by a series up to tolerance, or in steps",
    default: "auto",
    enum: ["auto", "closed", "series", "steps"],
  },
  tolerance: {
    type: "number",
    description: "what the series may leave out, in units of the unit rows' entries",
    default: seriesTolerance,
    exclusiveMinimum: 0,
    exclusiveMaximum: 1,
  },
  steps: {
    type: "integer",
    description: 'number of steps of the method "steps"',
    default: 8,
    minimum: 1,
    maximum: 1000,
  },
  checkFinite: {
    type: "boolean",
    description: "refuse NaN and infinity in the embeddings by name",
    default: false,
  },
} as const satisfies OptionSchema;

/**
 * Gradient-Free Aggregation (OVSNet, section 3.2): a random walk between pooled features and query
 * embeddings, both L2-normalised, taken to its limit,
 * `F_C∞ = (1−ω) (I − ω² A)⁻¹ (ω Z F_Q + F_C)` with `Z = softmax_rows(λ F_C F_Qᵀ)`.
 *
 * A mask without pixels has nothing to walk from: it is left out of F_C, so that it does not pull
 * the others towards zero, and its row of the result is F_Q∞'s.
 */
export const gfaFuser: StagePlugin<
  ["pooled", "queryEmbeddings"],
  ["fused"],
  typeof gfaFuserOptions
> = {
  role: "fuser",
  name: "gfa",
  description: "Gradient-Free Aggregation of pooled features and query embeddings",
  needs: ["pooled", "queryEmbeddings"],
  gives: ["fused"],
  options: gfaFuserOptions,
  create({ output, steps, ...rest }, { device }) {
    const share = clipShare[output];
    const kernel = new Gfa(device, rest.method === "steps" ? { ...rest, steps } : rest);
    return {
      async run({ pooled, queryEmbeddings }) {
        if (pooled.empty instanceof EmptyMasks) {
          const { areas } = pooled.empty;
          const { clip, query } = await kernel.run(
            { clip: pooled.embeddings, query: queryEmbeddings },
            areas,
          );
          try {
            if (share > 0) {
              await gpuJoinOutputs(
                clip as GpuTensor<"float32">,
                query as GpuTensor<"float32">,
                areas,
                share,
              );
            }
            return { fused: query };
          } catch (error) {
            query.dispose();
            throw error;
          } finally {
            clip.dispose();
          }
        }
        const empty = await pooled.empty.read();
        const rows: number[] = [];
        empty.forEach((flag, n) => flag || rows.push(n));
        // Nothing to aggregate with: the queries speak alone.
        if (rows.length === 0) return { fused: queryEmbeddings };
        const isWhole = rows.length === empty.length;
        const clip = isWhole ? pooled.embeddings : await gatherRows(pooled.embeddings, rows);
        const fused = await kernel.run({ clip, query: queryEmbeddings });
        if (output === "query") {
          fused.clip.dispose();
          return { fused: fused.query };
        }
        if (output === "clip" && isWhole) {
          fused.query.dispose();
          return { fused: fused.clip };
        }
        try {
          const [ofClip, ofQuery] = await readAll([fused.clip, fused.query]);
          const result = float32(fused.query.shape, ofQuery.slice());
          const columns = result.shape[1]!;
          rows.forEach((n, i) => {
            for (let d = 0; d < columns; d++) {
              const at = n * columns + d;
              result.data[at] = share * ofClip[i * columns + d]! + (1 - share) * result.data[at]!;
            }
          });
          return { fused: result };
        } finally {
          fused.dispose();
        }
      },
      dispose: () => kernel.dispose(),
    };
  },
};
