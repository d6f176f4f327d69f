import assert from "node:assert/strict";
import { KernelContext } from "../../kernels/dispatch/context.ts";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { Gfa, gfa } from "../../kernels/gfa/gfa.ts";
import { gfaReference } from "../../kernels/gfa/reference.ts";
import { MaskPooling, maskPooling } from "../../kernels/mask_pooling/mask_pooling.ts";
import { DeviceError, DeviceLostError } from "../../lib/errors.ts";
import { float32 } from "../../lib/tensor.ts";
import { gfaCase, gfaInput, maskPoolingInput, poolingCase } from "./arbitraries.ts";
import { kernelConformance } from "./conformance.ts";
import { acquireGpu, type OnGpu, onGpu } from "./on_gpu.ts";

const cases = Number(Deno.env.get("OVS_KERNEL_CASES") ?? 8);

function gpuTest(name: string, body: (on: OnGpu) => Promise<void> | void): void {
  onGpu(`WebGPU: ${name}`, body);
}

gpuTest("the kernels obey their laws", async ({ device }) => {
  const results = await kernelConformance(device, 2025, cases);
  assert.deepEqual(results.filter(({ ok }) => !ok).map(({ name, message }) => [name, message]), []);
});

gpuTest(
  "a system of many blocks and a split inner axis agree with the reference",
  async ({ device }) => {
    for (const [clips, queries] of [[700, 130], [3, 260]] as const) {
      const input = gfaInput({ ...gfaCase, clips, queries, channels: 24 });
      using out = await gfa(device, input, { omega: 0.8, lambda: 8 });
      const expected = await gfaReference(input, { omega: 0.8, lambda: 8 });
      for (const key of ["clip", "query"] as const) {
        const got = await out[key].read();
        const scale = expected[key].data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const error = got.reduce((a, x, i) => Math.max(a, Math.abs(x - expected[key].data[i]!)), 0);
        assert(
          error / scale <= 2e-6 / (1 - 0.8 ** 2),
          `${clips}×${queries} ${key}: ${error / scale}`,
        );
      }
    }
  },
);

gpuTest("results stay on the device and feed the next kernel there", async ({ device, gpu }) => {
  const before = liveBuffers(gpu);
  {
    const host = maskPoolingInput(poolingCase);
    using features = await GpuTensor.upload(gpu, host.features);
    using maskLogits = await GpuTensor.upload(gpu, host.maskLogits);
    const { query } = gfaInput(gfaCase);
    using pooled = await maskPooling(device, { features, maskLogits }, { mode: "soft" });
    using fused = await gfa(device, { clip: pooled.pooled, query }, gfaCase);
    assert.equal(pooled.pooled.location, "gpu");
    assert.equal(fused.clip.location, "gpu");
    using again = await maskPooling(device, host, { mode: "soft" });
    const clip = float32([5, 8], await again.pooled.read());
    using expected = await gfa(device, { clip, query }, gfaCase);
    assert.deepEqual(await fused.clip.read(), await expected.clip.read());
    assert.deepEqual(await features.read(), host.features.data);
  }
  assert.equal(liveBuffers(gpu), before);
});

gpuTest(
  "repeated and concurrent runs share scratch memory and leave none behind",
  async ({ device, gpu }) => {
    const before = liveBuffers(gpu);
    const fuser = new Gfa(device, gfaCase);
    const pooling = new MaskPooling(device, { mode: "hard" });
    const inputs = [1, 2, 3].map((seed) => gfaInput({ ...gfaCase, seed }));
    const alone = [];
    for (const input of inputs) {
      using out = await fuser.run(input);
      alone.push(await out.clip.read());
    }
    const settled = liveBuffers(gpu);
    const together = await Promise.all(inputs.map(async (input) => {
      using out = await fuser.run(input);
      return await out.clip.read();
    }));
    assert.deepEqual(together, alone);
    assert.equal(liveBuffers(gpu), settled);
    (await pooling.run(maskPoolingInput(poolingCase))).dispose();
    await fuser.dispose();
    await pooling.dispose();
    assert.equal(liveBuffers(gpu), before);
  },
);

gpuTest("inputs from another device are copied over", async ({ device }) => {
  const other = await acquireGpu();
  assert(other?.gpu);
  const input = gfaInput(gfaCase);
  using clip = await GpuTensor.upload(other.gpu, input.clip);
  using out = await gfa(device, { clip, query: input.query }, gfaCase);
  using expected = await gfa(device, input, gfaCase);
  assert.deepEqual(await out.clip.read(), await expected.clip.read());
  await other.dispose();
});

gpuTest("a tensor used after its disposal is an error that says so", async ({ device, gpu }) => {
  const input = gfaInput(gfaCase);
  const clip = await GpuTensor.upload(gpu, input.clip);
  clip.dispose();
  clip.dispose();
  await assert.rejects(() => clip.read(), DeviceError);
  await assert.rejects(
    gfa(device, { clip, query: input.query }, gfaCase),
    (error) => error instanceof DeviceError && /after its disposal/.test(error.message),
  );
});

gpuTest("what a buffer can't hold is refused with figures, before allocation", ({ gpu }) => {
  const before = liveBuffers(gpu);
  const elements = Math.floor(Number(gpu.limits.maxBufferSize) / 4) + 1;
  assert.throws(
    () => GpuTensor.allocate(gpu, "float32", [elements], "features"),
    (error) =>
      error instanceof DeviceError && /features .* MiB.* at most .* MiB/.test(error.message),
  );
  assert.equal(liveBuffers(gpu), before);
});

gpuTest("rejected work is a typed error and leaves no buffer", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  const before = liveBuffers(gpu);
  await assert.rejects(
    context.pipeline("broken", "@compute @workgroup_size(1) fn main() { nonsense }"),
    DeviceError,
  );
  await assert.rejects(
    context.guard("bad buffer", () => gpu.createBuffer({ size: 16, usage: 0x3 }).destroy()),
    (error) => error instanceof DeviceError && /bad buffer/.test(error.message),
  );
  assert.equal(liveBuffers(gpu), before);
});

gpuTest(
  "a lost device is a typed error, and another device takes over",
  async ({ device, gpu }) => {
    const input = gfaInput(gfaCase);
    const fuser = new Gfa(device, gfaCase);
    const out = await fuser.run(input);
    const expected = await out.clip.read();
    const late = fuser.run(input).then(async (result) => {
      using late = result;
      return await late.clip.read();
    });
    gpu.destroy();
    // In flight when the device goes: either it was quick enough, or it says why.
    await late.then(
      (rows) => assert.deepEqual(rows, expected),
      (error) => assert(error instanceof DeviceLostError, String(error)),
    );
    await assert.rejects(fuser.run(input), DeviceLostError);
    await assert.rejects(out.clip.read(), DeviceLostError);
    await assert.rejects(GpuTensor.upload(gpu, input.clip), DeviceLostError);
    out.dispose();
    await fuser.dispose();
    const next = await acquireGpu();
    assert(next);
    using again = await gfa(next, input, gfaCase);
    assert.deepEqual(await again.clip.read(), expected);
    await next.dispose();
  },
);
