import assert from "node:assert/strict";
import { liveBuffers } from "../../../kernels/dispatch/gpu_tensor.ts";
import { readAll } from "../../../kernels/dispatch/read_all.ts";
import { ModelError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import { float32, type HostTensor } from "../../../lib/tensor.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { semanticSegmenter } from "../../../plugins/segmenters/semantic.ts";
import { semanticInference } from "../../../plugins/segmenters/semantic_inference.ts";

const probe = await acquireDevice("webgpu", { networks: "cpu" }).catch(() => null);
await probe?.dispose();

const [masks, side, width, height] = [5, 8, 37, 29];

function drawn(shape: readonly number[], seed: number, scale: number): HostTensor<"float32"> {
  const rng = new Rng(seed);
  const out = float32(shape);
  for (let i = 0; i < out.data.length; i++) out.data[i] = scale * rng.normal();
  return out;
}

async function segment(
  device: Device,
  maskLogits: HostTensor<"float32">,
  classLogits: HostTensor<"float32">,
  vocabulary: { names: readonly string[]; active: readonly number[] },
  threshold = 0,
) {
  const stage = await openStage(semanticSegmenter, { threshold }, { device } as never);
  const before = device.gpu ? liveBuffers(device.gpu) : 0;
  try {
    const { segmentation } = await stage.run({
      image: { width, height, rgb: new Uint8Array(3 * width * height) },
      vocabulary,
      maskLogits,
      classLogits: { logits: classLogits, hasVoid: true },
    }, { device, signal: new AbortController().signal, progress() {} });
    try {
      const [labels, scores] = await readAll([segmentation.labels, segmentation.scores]);
      return { labels, scores };
    } finally {
      segmentation.labels.dispose();
      segmentation.scores.dispose();
    }
  } finally {
    if (device.gpu) assert.equal(liveBuffers(device.gpu), before);
    await stage.dispose?.();
  }
}

async function behaves(device: Device): Promise<void> {
  const names = ["a", "b", "c", "d", "e", "f"];
  const maskLogits = drawn([masks, side, side], 1, 3);
  const size = { numMasks: masks, maskHeight: side, maskWidth: side, width, height };
  for (const active of [[0, 1, 2, 3, 4, 5], [1, 4, 5]]) {
    const classLogits = drawn([masks, active.length + 1], 2, 2);
    for (const threshold of [0, 0.4]) {
      const vocabulary = { names, active };
      const got = await segment(device, maskLogits, classLogits, vocabulary, threshold);
      const expected = await semanticInference({
        ...size,
        maskLogits: maskLogits.data,
        classLogits: classLogits.data,
        numClasses: active.length,
        hasVoid: true,
        threshold,
      });
      const label = (i: number) => expected.labels[i]! < 0 ? -1 : active[expected.labels[i]!];
      const differ = got.labels.filter((value, i) => value !== label(i)).length;
      assert(differ <= 1, `${differ} labels differ`);
      assert(got.labels.includes(-1) === threshold > 0);
    }
  }
  const all = { names, active: [0, 1, 2, 3, 4, 5] };
  const none = await segment(device, float32([0, side, side]), float32([0, 7]), all);
  assert(none.labels.every((label) => label === -1) && none.scores.every((score) => score === 0));
  const broken = float32(maskLogits.shape, maskLogits.data.slice());
  broken.data[70] = NaN;
  await assert.rejects(
    segment(device, broken, drawn([masks, 7], 2, 2), all),
    (error) => error instanceof ModelError && /maskLogits\[1, 0, 6\] is NaN/.test(error.message),
  );
}

Deno.test("the semantic segmenter names classes of a shortened vocabulary, on the CPU", async () => {
  await using device = await acquireDevice("cpu");
  await behaves(device);
});

Deno.test({
  name: "WebGPU: the semantic segmenter names classes of a shortened vocabulary",
  ignore: probe === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1",
  async fn() {
    await using device = await acquireDevice("webgpu", { networks: "cpu" });
    await behaves(device);
  },
});
