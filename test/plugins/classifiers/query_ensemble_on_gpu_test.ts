import assert from "node:assert/strict";
import { GpuTensor } from "../../../kernels/dispatch/gpu_tensor.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import { geometricEnsembleClassifier } from "../../../plugins/classifiers/geometric_ensemble.ts";
import { queryVoidClassifier } from "../../../plugins/classifiers/query_void.ts";
import { trainedWordsClassifier } from "../../../plugins/classifiers/trained_words.ts";
import { EmptyMasks } from "../../../plugins/poolers/empty_masks.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { onGpu } from "../../kernels/on_gpu.ts";

const sizes = [[1, 1, 3], [4, 6, 5], [70, 130, 8], [3, 500, 2]] as const;

onGpu("queries and others vote: WebGPU gives the CPU's probabilities", async ({ device, gpu }) => {
  await using host = await acquireDevice("cpu");
  const rng = new Rng(11);
  const rows = (count: number, size: number) =>
    float32([count, size], Float32Array.from({ length: count * size }, () => rng.normal()));
  for (const [masks, classes, size] of sizes) {
    const json = JSON.stringify({ voidEmbedding: [...rows(1, size).data], logitScale: 30 });
    const models = modelsIn({ "ovsnet.json": new TextEncoder().encode(json) });
    const open = (device: Device) =>
      Promise.all([
        openStage(geometricEnsembleClassifier, { alpha: 0.2, beta: 0.7 }, { device, models }),
        openStage(trainedWordsClassifier, { queryShare: 0.7 }, { device, models }),
        openStage(queryVoidClassifier, {}, { device, models }),
      ]);
    const [onHost, onDevice] = [await open(host), await open(device)];
    const [query, pooled, text] = [rows(masks, size), rows(masks, size), rows(classes, size)];
    const areas = float32([masks], Float32Array.from({ length: masks }, () => rng.integer(3)));
    const empty = Uint8Array.from(areas.data, (area) => Number(area === 0));
    empty.forEach((flag, n) => flag && pooled.data.fill(0, n * size, (n + 1) * size));
    using queryThere = await GpuTensor.upload(gpu, query);
    using pooledThere = await GpuTensor.upload(gpu, pooled);
    using areasThere = await GpuTensor.upload(gpu, areas);
    const emptyThere = new EmptyMasks(areasThere);
    // The third time the shares are those of the first: what is kept must not be taken for them.
    for (const share of [0.5, 0.9, 0.5]) {
      const names = Array.from({ length: classes }, (_, c) => `class ${c}`);
      const vocabulary = {
        names,
        active: names.map((_, c) => c),
        trained: names.map((_, c) => (c * 0.37) % 1 < share),
      };
      const context = { signal: new AbortController().signal, progress() {} };
      const there = {
        vocabulary,
        text,
        queryEmbeddings: queryThere,
        pooled: { embeddings: pooledThere, empty: emptyThere },
        fused: pooledThere,
      };
      const here = {
        vocabulary,
        text,
        queryEmbeddings: query,
        pooled: { embeddings: pooled, empty: new HostTensor("uint8", [masks], empty) },
        fused: pooled,
      };
      for (const [k, stage] of onHost.entries()) {
        const expected = await stage.run(here, { ...context, device: host });
        const found = await onDevice[k]!.run(there, { ...context, device });
        const { logits } = found.classLogits!;
        assert.ok(logits instanceof GpuTensor);
        const got: Float32Array = await logits.read();
        const wanted = await expected.classLogits!.logits.read();
        logits.dispose();
        got.forEach((value, i) => {
          const [p, q] = [Math.exp(value), Math.exp(wanted[i]!)];
          assert.ok(Math.abs(p - q) <= 2e-5, `${k}: ${masks}×${classes}, ${i}: ${p} is not ${q}`);
        });
      }
    }
    for (const stage of [...onHost, ...onDevice]) await stage.dispose?.();
  }
});
