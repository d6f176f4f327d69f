/**
 * The fuser that listens to the decoder alone.
 *
 * @module
 */
import type { NoOptions } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";

/** `fused = F_Q`: every mask is judged by its query embedding. */
export const queryFuser: StagePlugin<["queryEmbeddings"], ["fused"], NoOptions> = {
  role: "fuser",
  name: "query",
  description: "the query embeddings alone",
  needs: ["queryEmbeddings"],
  gives: ["fused"],
  options: {},
  create: () => ({ run: ({ queryEmbeddings }) => ({ fused: queryEmbeddings }) }),
};
