import assert from "node:assert/strict";
import { GpuTensor } from "../../../kernels/dispatch/gpu_tensor.ts";
import { Rng } from "../../../lib/rng.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import { float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";
import { gfaFuser } from "../../../plugins/fusers/gfa.ts";
import { EmptyMasks } from "../../../plugins/poolers/empty_masks.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { onGpu } from "../../kernels/on_gpu.ts";

const context = { signal: new AbortController().signal, progress() {} };

/** Masks, channels, and which masks are empty. */
const cases = [[1, 3, []], [5, 70, [1, 4]], [70, 5, [0]], [3, 8, [0, 1, 2]]] as const;

/** Unit rows, which are all that classifiers see of an embedding. */
async function directions(tensor: Tensor<"float32">): Promise<number[]> {
  const data = await tensor.read();
  const columns = tensor.shape[1]!;
  return Array.from(data, (value, i) => {
    const row = Math.floor(i / columns) * columns;
    return value / Math.hypot(...data.subarray(row, row + columns));
  });
}

onGpu(
  "fuser gfa: each output on WebGPU has the CPU's directions, empty masks or not",
  async ({ device, gpu }) => {
    await using host = await acquireDevice("cpu");
    const rng = new Rng(3);
    const rows = (n: number, d: number) =>
      float32([n, d], Float32Array.from({ length: n * d }, () => rng.normal()));
    for (const [n, d, empties] of cases) {
      const [clip, query] = [rows(n, d), rows(n, d)];
      const areas = float32([n], new Float32Array(n).fill(2));
      for (const row of empties) {
        areas.data[row] = 0;
        clip.data.fill(0, row * d, (row + 1) * d);
      }
      const flags = Uint8Array.from(areas.data, (area) => Number(area === 0));
      for (const output of ["clip", "query", "mean"] as const) {
        const options = { output, omega: 0.6, lambda: 2 };
        const models = modelsIn({});
        const onHost = await openStage(gfaFuser, options, { device: host, models });
        const onDevice = await openStage(gfaFuser, options, { device, models });
        const { fused: expected } = await onHost.run(
          {
            pooled: { embeddings: clip, empty: new HostTensor("uint8", [n], flags) },
            queryEmbeddings: query,
          },
          { ...context, device: host },
        );
        const uploaded = {
          clip: await GpuTensor.upload(gpu, clip),
          query: await GpuTensor.upload(gpu, query),
          empty: new EmptyMasks(await GpuTensor.upload(gpu, areas)),
        };
        const { fused } = await onDevice.run(
          {
            pooled: { embeddings: uploaded.clip, empty: uploaded.empty },
            queryEmbeddings: uploaded.query,
          },
          { ...context, device },
        );
        assert.equal(fused.location, "gpu");
        const [got, wanted] = [await directions(fused), await directions(expected)];
        got.forEach((value, i) => {
          assert.ok(Math.abs(value - wanted[i]!) < 1e-5, `${output}: ${value} is not ${wanted[i]}`);
        });
        fused.dispose();
        for (const tensor of Object.values(uploaded)) tensor.dispose();
        await onHost.dispose?.();
        await onDevice.dispose?.();
      }
    }
  },
);
