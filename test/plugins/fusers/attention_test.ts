import assert from "node:assert/strict";
import { Rng } from "../../../lib/rng.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage, type StagePlugin } from "../../../lib/stages/plugin.ts";
import type { AnyStage } from "../../../lib/stages/stage.ts";
import { fuserLaws } from "../../../lib/testing/mod.ts";
import { float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";
import { crossAttentionFuser, selfAttentionFuser } from "../../../plugins/fusers/attention.ts";
import type { AttentionFuserKind } from "../../../plugins/networks/attention_fuser.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { fuserModel } from "./fuser_model.ts";

const fusers = {
  self_attention: selfAttentionFuser,
  cross_attention: crossAttentionFuser,
} as const;

/** A learned fuser is of one D; the laws draw any. This one has a network for each. */
function ofAnySize(kind: AttentionFuserKind): StagePlugin<
  ["pooled", "queryEmbeddings"],
  ["fused"],
  Record<never, never>
> {
  const fuser = fusers[kind];
  return {
    ...fuser,
    options: {},
    create(_, { device }) {
      const stages = new Map<number, Promise<AnyStage>>();
      return {
        async run(inputs, context) {
          const size = inputs.queryEmbeddings.shape[1]!;
          let stage = stages.get(size);
          if (stage === undefined) {
            const model = fuserModel({ kind, depth: 2, heads: 1 }, size);
            const models = modelsIn({ [`${kind}_fuser.onnx`]: model });
            stages.set(size, stage = openStage(fuser, {}, { device, models }));
          }
          return await (await stage).run(inputs, context) as { fused: Tensor<"float32"> };
        },
        async dispose() {
          for (const stage of stages.values()) await (await stage).dispose?.();
        },
      };
    },
  };
}

const device = await acquireDevice("cpu", { threads: 1 });

for (const kind of ["self_attention", "cross_attention"] as const) {
  // A learned map has axes of its own: it commutes with no rotation.
  for (const law of fuserLaws(ofAnySize(kind), { device, except: ["rotation"] })) {
    Deno.test({
      name: law.name,
      ignore: law.leftOut,
      fn: () => law.check({ cases: 30 }),
    });
  }

  Deno.test(`fuser "${kind}": masks without pixels have no say in the others`, async () => {
    const [masks, size] = [5, 8];
    const models = modelsIn({
      [`${kind}_fuser.onnx`]: fuserModel({ kind, depth: 2, heads: 2 }, size),
    });
    const stage: AnyStage = await openStage(fusers[kind], {}, { device, models });
    const rng = new Rng(3);
    const draw = () => Float32Array.from({ length: masks * size }, () => rng.normal());
    const [query, pooled] = [draw(), draw()];
    const fuse = async (clip: Float32Array, flags: number[]) => {
      const { fused } = await stage.run({
        pooled: {
          embeddings: float32([masks, size], clip),
          empty: new HostTensor("uint8", [masks], Uint8Array.from(flags)),
        },
        queryEmbeddings: float32([masks, size], query),
      }, { device, signal: new AbortController().signal, progress() {} });
      return (await fused!.read()).slice();
    };
    const flags = [0, 1, 0, 1, 0];
    const other = pooled.slice();
    for (const n of [1, 3]) other.set(draw().subarray(0, size), n * size);
    assert.deepEqual(await fuse(other, flags), await fuse(pooled, flags));
    // With pixels they have one.
    const change = (a: Float32Array, b: Float32Array) =>
      a.reduce((max, x, i) => Math.max(max, Math.abs(x - b[i]!)), 0);
    const none = [0, 0, 0, 0, 0];
    assert.ok(change(await fuse(other, none), await fuse(pooled, none)) > 1e-3);
    // Where all are empty, the result is finite and the queries'.
    const all = [1, 1, 1, 1, 1];
    assert.ok((await fuse(pooled, all)).every(Number.isFinite));
    await stage.dispose?.();
  });

  Deno.test(`fuser "${kind}": a network of another D is refused by its name`, async () => {
    const models = modelsIn({
      [`${kind}_fuser.onnx`]: fuserModel({ kind, depth: 1, heads: 1 }, 4),
    });
    const stage: AnyStage = await openStage(fusers[kind], {}, { device, models });
    await assert.rejects(
      async () =>
        await stage.run({
          pooled: {
            embeddings: float32([2, 6]),
            empty: new HostTensor("uint8", [2], new Uint8Array(2)),
          },
          queryEmbeddings: float32([2, 6]),
        }, { device, signal: new AbortController().signal, progress() {} }),
      new RegExp(`model ${kind}_fuser\\.onnx: doesn't take embeddings of 6 features per row`),
    );
    await stage.dispose?.();
  });
}
