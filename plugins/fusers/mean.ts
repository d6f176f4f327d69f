/**
 * The fuser that takes the mean.
 *
 * @module
 */
import type { NoOptions } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32 } from "../../lib/tensor.ts";
import { normalizedRows } from "./rows.ts";

/**
 * `fused[n] = (F_C[n] / |F_C[n]| + F_Q[n] / |F_Q[n]|) / 2`. Where a mask has no pixels, the query
 * embedding stands alone.
 */
export const meanFuser: StagePlugin<["pooled", "queryEmbeddings"], ["fused"], NoOptions> = {
  role: "fuser",
  name: "mean",
  description: "the mean of normalised pooled features and query embeddings",
  needs: ["pooled", "queryEmbeddings"],
  gives: ["fused"],
  options: {},
  create: () => ({
    async run({ pooled, queryEmbeddings }) {
      const clip = await normalizedRows(pooled.embeddings);
      const query = await normalizedRows(queryEmbeddings);
      const empty = await pooled.empty.read();
      const columns = query.shape[1]!;
      const fused = query.data.map((value, i) =>
        empty[Math.floor(i / columns)] ? value : (value + clip.data[i]!) / 2
      );
      return { fused: float32(query.shape, fused) };
    },
  }),
};
