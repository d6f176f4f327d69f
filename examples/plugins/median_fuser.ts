/**
 * A third party's fuser, in a file of its own that imports nothing but types:
 *
 *     deno task ovs segment photo.png --classes "dog, guitar" \
 *       --plugin examples/plugins/median_fuser.ts --fuser median
 *
 * For every mask it takes, element by element, the median of three opinions: the pooled features,
 * the query embedding, and the query embedding whose direction is nearest to the pooled features.
 * An outlier of one of the three does not get through.
 *
 * @module
 */
import type { OptionSchema, StagePlugin, Tensor } from "@ovstage/ovstage";

const options = {
  weight: {
    type: "number",
    description: "share of the median; the rest is the pooled features'",
    default: 1,
    minimum: 0,
    maximum: 1,
  },
} as const satisfies OptionSchema;

/** Unit rows; a row of zeros stays one. */
async function unitRows(tensor: Tensor<"float32">): Promise<Float32Array[]> {
  const data = await tensor.read();
  const [rows, columns] = tensor.shape as [number, number];
  return Array.from({ length: rows }, (_, n) => {
    const row = data.slice(n * columns, (n + 1) * columns);
    const norm = Math.hypot(...row) || 1;
    return row.map((value) => value / norm);
  });
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, d) => sum + value * b[d]!, 0);
}

function median(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

const medianFuser: StagePlugin<["pooled", "queryEmbeddings"], ["fused"], typeof options> = {
  role: "fuser",
  name: "median",
  description: "the element-wise median of pooled features, own query and nearest query",
  needs: ["pooled", "queryEmbeddings"],
  gives: ["fused"],
  options,
  create: ({ weight }) => ({
    async run({ pooled, queryEmbeddings }) {
      const clips = await unitRows(pooled.embeddings);
      const queries = await unitRows(queryEmbeddings);
      const empty = await pooled.empty.read();
      const shape = queryEmbeddings.shape;
      const columns = shape[1]!;
      const fused = new Float32Array(queries.length * columns);
      queries.forEach((query, n) => {
        // A mask without pixels has no pooled features to listen to.
        const clip = empty[n] ? query : clips[n]!;
        // Beginning with its own, so that a tie does not depend on the order of the masks.
        const nearest = queries.reduce((a, b) => dot(clip, b) > dot(clip, a) ? b : a, query);
        for (let d = 0; d < columns; d++) {
          const middle = median(clip[d]!, query[d]!, nearest[d]!);
          fused[n * columns + d] = weight * middle + (1 - weight) * clip[d]!;
        }
      });
      // A tensor is anything of this form; `HostTensor` of the package would do as well.
      const result: Tensor<"float32"> = {
        dtype: "float32",
        shape,
        location: "host",
        read: () => Promise.resolve(fused),
        dispose() {},
      };
      return { fused: result };
    },
  }),
};

export default medianFuser;
