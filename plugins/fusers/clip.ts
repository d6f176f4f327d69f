/**
 * The fuser that listens to CLIP alone.
 *
 * @module
 */
import { definePlugin } from "../../lib/stages/plugin.ts";

/**
 * `fused = F_C`: every mask is judged by the image features pooled under it. A mask without pixels
 * keeps the zero vector, which is equally far from every category.
 */
export const clipFuser = definePlugin({
  role: "fuser",
  name: "clip",
  description: "the pooled CLIP features alone",
  needs: ["pooled"],
  gives: ["fused"],
  options: {},
  create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }),
});
