/**
 * The fuser that listens to CLIP alone.
 *
 * @module
 */
import type { NoOptions } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";

/**
 * `fused = F_C`: every mask is judged by the image features pooled under it. A mask without pixels
 * keeps the zero vector, which is equally far from every category.
 */
export const clipFuser: StagePlugin<["pooled"], ["fused"], NoOptions> = {
  role: "fuser",
  name: "clip",
  description: "the pooled CLIP features alone",
  needs: ["pooled"],
  gives: ["fused"],
  options: {},
  create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }),
};
