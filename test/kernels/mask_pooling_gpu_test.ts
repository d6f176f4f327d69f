import assert from "node:assert/strict";
import fc from "fast-check";
import { KernelContext } from "../../kernels/dispatch/context.ts";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { elementRange } from "../../kernels/dispatch/ranges.ts";
import type { MaskPoolingInput, MaskPoolingOptions } from "../../kernels/mask_pooling/contract.ts";
import { GpuMaskPooling } from "../../kernels/mask_pooling/gpu.ts";
import { divideWork } from "../../kernels/mask_pooling/gpu_jobs.ts";
import {
  maskPoolingGradients,
  maskPoolingReference,
} from "../../kernels/mask_pooling/reference.ts";
import { DeviceError, DeviceLostError, InputError, ShapeError } from "../../lib/errors.ts";
import { fromFloat16Array, toFloat16Array } from "../../lib/float16.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor, sizeOf } from "../../lib/tensor.ts";
import { type OnGpu, onGpu } from "./on_gpu.ts";

function gpuTest(name: string, body: (on: OnGpu) => Promise<void>): void {
  onGpu(`mask pooling on WebGPU: ${name}`, body);
}

interface Case {
  mode: "hard" | "soft";
  batch: number | null;
  channels: number;
  height: number;
  width: number;
  masks: number;
  maskHeight: number;
  maskWidth: number;
  seed: number;
}

interface Tensors {
  features: HostTensor;
  maskLogits: HostTensor;
  cotangent: { pooled: HostTensor };
}

function draw(c: Case, scale = 1): Tensors {
  const rng = new Rng(c.seed);
  const lead = c.batch === null ? [] : [c.batch];
  const normal = (factor: number, ...shape: number[]) => {
    const all = [...lead, ...shape];
    return float32(all, Float32Array.from({ length: sizeOf(all) }, () => factor * rng.normal()));
  };
  return {
    features: normal(1, c.channels, c.height, c.width),
    maskLogits: normal(scale, c.masks, c.maskHeight, c.maskWidth),
    cotangent: { pooled: normal(1, c.masks, c.channels) },
  };
}

function halves(tensor: HostTensor): HostTensor<"float16"> {
  return new HostTensor("float16", tensor.shape, toFloat16Array(tensor.data as Float32Array));
}

type Numbers = ArrayLike<number>;

const values = ({ dtype, data }: HostTensor): Numbers =>
  dtype === "float16" ? fromFloat16Array(data as Uint16Array) : data as Float32Array;

const largest = (values: Numbers) =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** The largest difference, relative to the largest expected value or to a larger scale. */
function difference(got: Numbers, expected: Numbers, scale = 0): number {
  assert.equal(got.length, expected.length);
  const error = largest(Array.from(got, (value, i) => value - expected[i]!));
  return error === 0 ? 0 : error / Math.max(largest(expected), scale);
}

/** How large the gradient by the logits would be if X − F_C did not cancel. */
function logitScale(c: Tensors, area: Numbers, resized: Numbers): number {
  const channels = c.cotangent.pooled.shape.at(-1)!;
  const most = largest(values(c.features));
  const g = values(c.cotangent.pooled);
  const pixels = resized.length / area.length;
  let scale = 0;
  for (let row = 0; row < g.length / channels; row++) {
    let sum = 0;
    for (let d = 0; d < channels; d++) sum += Math.abs(g[row * channels + d]!);
    for (let p = 0; p < pixels; p++) {
      const a = 1 / (1 + Math.exp(-resized[row * pixels + p]!));
      scale = Math.max(scale, sum * most / area[row]! * a * (1 - a));
    }
  }
  return scale;
}

/** Everything that the kernels compute of an input. */
async function compute(gpu: GPUDevice, input: Tensors, options: MaskPoolingOptions) {
  using kernel = new GpuMaskPooling(gpu, options);
  using out = await kernel.run(input);
  using gradients = await kernel.gradients(input, input.cotangent);
  assert.deepEqual(gradients.features.shape, input.features.shape);
  return {
    pooled: await out.pooled.read(),
    area: await out.area.read(),
    features: await gradients.features.read(),
    maskLogits: await gradients.maskLogits?.read() ?? null,
  };
}

/** How far that is from the reference, over all results. */
async function errorOf(gpu: GPUDevice, input: Tensors, options: MaskPoolingOptions) {
  const got = await compute(gpu, input, options);
  const forward = await maskPoolingReference(input, options);
  const backward = await maskPoolingGradients(input, input.cotangent, options);
  assert.equal(got.maskLogits === null, options.mode === "hard");
  return {
    pooled: difference(got.pooled, forward.pooled.data),
    area: difference(got.area, forward.area.data),
    features: difference(got.features, backward.features.data),
    maskLogits: got.maskLogits === null ? 0 : difference(
      got.maskLogits,
      backward.maskLogits.data,
      logitScale(input, forward.area.data, forward.resized.data),
    ),
  };
}

const edge = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.constantFrom(1, 4, 8, 12, 16, 19),
);

const cases: fc.Arbitrary<Case> = fc.record({
  mode: fc.constantFrom("hard" as const, "soft" as const),
  batch: fc.option(fc.integer({ min: 1, max: 3 })),
  channels: fc.integer({ min: 1, max: 9 }),
  height: edge,
  width: edge,
  masks: fc.integer({ min: 1, max: 6 }),
  maskHeight: edge,
  maskWidth: edge,
  sameSize: fc.boolean(),
  seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
}).map(({ sameSize, ...c }) => sameSize ? { ...c, maskHeight: c.height, maskWidth: c.width } : c);

/** Whether no interpolated logit is so near zero that rounding decides about a hard mask. */
async function isClear(input: MaskPoolingInput, c: Case): Promise<boolean> {
  if (c.mode === "soft") return true;
  const { resized } = await maskPoolingReference(input, c);
  return resized.data.every((logit) => Math.abs(logit) > 1e-5);
}

gpuTest("results and gradients agree with the reference at all sizes", async ({ gpu }) => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const input = draw(c);
      fc.pre(await isClear(input, c));
      const errors = await errorOf(gpu, input, c);
      for (const [name, error] of Object.entries(errors)) assert(error < 2e-6, `${name}: ${error}`);
    }),
    { numRuns: 150, seed: 11 },
  );
});

gpuTest("float16 inputs are the rounded float32 inputs", async ({ gpu }) => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const { features, maskLogits, cotangent } = draw(c);
      const input = {
        features: halves(features),
        maskLogits: halves(maskLogits),
        cotangent: { pooled: halves(cotangent.pooled) },
      };
      fc.pre(await isClear(input, c));
      const errors = await errorOf(gpu, input, c);
      for (const [name, error] of Object.entries(errors)) assert(error < 2e-6, `${name}: ${error}`);
    }),
    { numRuns: 60, seed: 12 },
  );
});

gpuTest("an image of a batch gives what it gives alone", async ({ gpu }) => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const batch = c.batch ?? 2;
      const all = draw({ ...c, batch });
      const together = await compute(gpu, all, c);
      const image = (tensor: HostTensor, b: number) => {
        const shape = tensor.shape.slice(1);
        const size = sizeOf(shape);
        return float32(shape, tensor.data.slice(b * size, (b + 1) * size) as Float32Array);
      };
      for (let b = 0; b < batch; b++) {
        const alone = await compute(gpu, {
          features: image(all.features, b),
          maskLogits: image(all.maskLogits, b),
          cotangent: { pooled: image(all.cotangent.pooled, b) },
        }, c);
        for (const key of ["pooled", "area", "features", "maskLogits"] as const) {
          const part = alone[key];
          if (part === null) continue;
          const got = together[key]!.slice(b * part.length, (b + 1) * part.length);
          assert(difference(got, part) < 1e-6, key);
        }
      }
    }),
    { numRuns: 20, seed: 13 },
  );
});

gpuTest("saturated logits keep their small gradients", async ({ gpu }) => {
  const shape = { channels: 3, height: 4, width: 4, masks: 2, maskHeight: 4, maskWidth: 4 };
  const input = draw({ mode: "soft", batch: null, ...shape, seed: 5 });
  // All about 15, where 1 − a is next to float32's last digit.
  const data = (input.maskLogits.data as Float32Array).map((logit) => 15 + logit);
  const saturated = { ...input, maskLogits: float32(input.maskLogits.shape, data) };
  const errors = await errorOf(gpu, saturated, { mode: "soft" });
  assert(errors.maskLogits < 4e-6, String(errors.maskLogits));
});

gpuTest("large products take the other kernel, and agree", async ({ gpu }) => {
  const shape = { channels: 40, height: 20, width: 16, masks: 36 };
  for (const mode of ["hard", "soft"] as const) {
    const maskSize = mode === "hard" ? [20, 16] as const : [10, 8] as const;
    const [maskHeight, maskWidth] = maskSize;
    const c: Case = { mode, batch: 2, ...shape, maskHeight, maskWidth, seed: 6 };
    const input = draw(c);
    const errors = await errorOf(gpu, input, c);
    for (const [name, error] of Object.entries(errors)) assert(error < 2e-6, `${name}: ${error}`);
  }
});

Deno.test("mask pooling's jobs cover everything once, within the limit", () => {
  const count = fc.integer({ min: 1, max: 9 });
  const arbitrary = fc.record({
    batch: fc.option(fc.integer({ min: 1, max: 4 })),
    channels: fc.integer({ min: 1, max: 40 }),
    height: count,
    width: fc.oneof(count, fc.constantFrom(16, 64)),
    masks: fc.integer({ min: 1, max: 12 }),
    maskHeight: count,
    maskWidth: fc.oneof(count, fc.constantFrom(16, 64)),
  });
  const bytes = fc.record({
    features: fc.constantFrom(2, 4),
    maskLogits: fc.constantFrom(2, 4),
  });
  // Down to what holds the largest plane, and on the dot.
  const limit = fc.oneof(fc.integer({ min: 648, max: 4000 }), fc.constantFrom(1024, 2304, 4096));
  fc.assert(
    fc.property(arbitrary, bytes, limit, (sizes, bytes, limit) => {
      const pixels = sizes.height * sizes.width;
      const plane = sizes.maskHeight * sizes.maskWidth;
      const largest = Math.max(bytes.maskLogits * plane, 4 * pixels, 4 * sizes.channels);
      fc.pre(largest + 256 <= limit);
      const buffer = { size: 2 ** 40 } as GPUBuffer;
      const bound = (first: number, elements: number, size: number) => {
        const { place } = elementRange(buffer, first, elements, size === 2 ? "f16" : "f32");
        assert(place.size <= limit, `${place.size} bytes, at most ${limit}`);
      };
      const covered = new Map<string, number>();
      for (const job of divideWork(limit, sizes, bytes)) {
        const first = job.image * sizes.masks + job.mask;
        const planes = job.images * job.masks;
        assert(job.images === 1 || job.masks === sizes.masks);
        bound(first * plane, planes * plane, bytes.maskLogits);
        bound(0, planes * pixels, 4);
        bound(first * sizes.channels, planes * sizes.channels, 4);
        for (const { channel, channels } of job.ranges) {
          assert(job.images === 1 || channels === sizes.channels);
          const at = (job.image * sizes.channels + channel) * pixels;
          bound(at, job.images * channels * pixels, bytes.features);
          for (let b = job.image; b < job.image + job.images; b++) {
            for (let n = job.mask; n < job.mask + job.masks; n++) {
              for (let d = channel; d < channel + channels; d++) {
                const key = `${b} ${n} ${d}`;
                covered.set(key, (covered.get(key) ?? 0) + 1);
              }
            }
          }
        }
      }
      assert.equal(covered.size, (sizes.batch ?? 1) * sizes.masks * sizes.channels);
      assert([...covered.values()].every((times) => times === 1));
    }),
    { numRuns: 300, seed: 21 },
  );
});

gpuTest("what exceeds a binding is divided, and gives the same", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  const unlimited = context.bindingLimit;
  const shapes = [
    { channels: 9, height: 8, width: 8, masks: 7, maskHeight: 8, maskWidth: 8 },
    { channels: 9, height: 7, width: 9, masks: 7, maskHeight: 7, maskWidth: 9 },
    { channels: 6, height: 6, width: 8, masks: 9, maskHeight: 9, maskWidth: 5 },
    { channels: 30, height: 3, width: 5, masks: 5, maskHeight: 9, maskWidth: 11 },
  ];
  for (const mode of ["hard", "soft"] as const) {
    for (const [seed, shape] of shapes.entries()) {
      for (const half of [false, true]) {
        const drawn = draw({ mode, batch: 3, ...shape, seed });
        const input = half
          ? { ...drawn, features: halves(drawn.features), maskLogits: halves(drawn.maskLogits) }
          : drawn;
        context.bindingLimit = unlimited;
        const whole = await compute(gpu, input, { mode });
        // By images; by masks and channels; one by one.
        for (const limit of [5000, 1500, 768]) {
          context.bindingLimit = limit;
          const parts = await compute(gpu, input, { mode });
          for (const key of ["pooled", "area", "features", "maskLogits"] as const) {
            if (whole[key] === null) continue;
            const error = difference(parts[key]!, whole[key]);
            assert(
              error < 1e-6,
              `${JSON.stringify({ mode, ...shape, half, limit, key })}: ${error}`,
            );
          }
        }
      }
    }
  }
});

gpuTest("the parts of a run share their scratch memory", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  context.bindingLimit = 1024;
  const shape = { channels: 16, height: 8, width: 8, masks: 40, maskHeight: 8, maskWidth: 8 };
  const input = draw({ mode: "soft", batch: 3, ...shape, seed: 7 });
  using kernel = new GpuMaskPooling(gpu, { mode: "soft" });
  (await kernel.gradients(input, input.cotangent)).dispose();
  // At most one binding's worth of each of the seven kinds.
  assert(context.liveBuffers <= 7 && context.liveBytes <= 7 * 1024, `${context.liveBytes} bytes`);
});

gpuTest("features beyond a binding's 128 MiB are pooled", async ({ gpu }) => {
  const { bindingLimit } = KernelContext.of(gpu);
  const pixels = 160 * 160;
  const channels = Math.floor(2 ** 27 / 4 / pixels) + 2;
  KernelContext.of(gpu).bindingLimit = Math.min(bindingLimit, 2 ** 27);
  const data = new Float32Array(channels * pixels);
  for (let i = 0; i < data.length; i++) data[i] = (i * 7919 & 1023) / 1024;
  const maskLogits = float32([2, 160, 160]);
  const rng = new Rng(3);
  for (let i = 0; i < 2 * pixels; i++) maskLogits.data[i] = rng.normal();
  using kernel = new GpuMaskPooling(gpu, { mode: "hard" });
  using out = await kernel.run({ features: float32([channels, 160, 160], data), maskLogits });
  const pooled = await out.pooled.read();
  for (const n of [0, 1]) {
    for (const d of [0, 1, channels - 3, channels - 1]) {
      let [sum, area] = [0, 0];
      for (let p = 0; p < pixels; p++) {
        if (maskLogits.data[n * pixels + p]! <= 0) continue;
        sum += data[d * pixels + p]!;
        area++;
      }
      assert(Math.abs(pooled[n * channels + d]! - sum / area) < 2e-6, `mask ${n}, channel ${d}`);
    }
  }
});

gpuTest("what can't be divided is refused with figures, before allocation", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  const shape = { channels: 4, height: 8, width: 8, masks: 4, maskHeight: 20, maskWidth: 20 };
  const input = draw({ mode: "soft", batch: null, ...shape, seed: 1 });
  using kernel = new GpuMaskPooling(gpu, { mode: "soft" });
  context.bindingLimit = 1024;
  const refused = (message: RegExp) => (error: unknown) =>
    error instanceof DeviceError && message.test(error.message);
  const logits = /the logits of one mask takes 1600 bytes.*binds at most 1024 bytes/;
  await assert.rejects(kernel.run(input), refused(logits));
  await assert.rejects(kernel.gradients(input, input.cotangent), refused(logits));
  const wide = draw({ mode: "soft", batch: null, ...shape, channels: 300, maskHeight: 8, seed: 1 });
  await assert.rejects(
    kernel.run(wide),
    refused(/the pooled features of one mask takes 1200 bytes.*at most 1024 bytes/),
  );
  const features = {
    shape: [2 ** 20, 2 ** 10, 2 ** 10],
    dtype: "float32",
    location: "gpu",
  } as const;
  const huge = { ...features, read: () => Promise.reject(), dispose() {} };
  await assert.rejects(
    kernel.run({ ...input, features: huge }),
    refused(/features of shape 1048576×1024×1024 takes 4194304.0 MiB, but a buffer .* at most/),
  );
  assert.equal(liveBuffers(gpu), 0);
});

gpuTest("NaN and infinity are refused by name when asked", async ({ gpu }) => {
  const shape = { channels: 3, height: 4, width: 5, masks: 2, maskHeight: 6, maskWidth: 5 };
  const input = draw({ mode: "soft", batch: 2, ...shape, seed: 2 });
  using kernel = new GpuMaskPooling(gpu, { mode: "soft", checkFinite: true });
  using fine = await kernel.run(input);
  using unchecked = new GpuMaskPooling(gpu, { mode: "soft" });
  using same = await unchecked.run(input);
  assert.deepEqual(await fine.pooled.read(), await same.pooled.read());
  const poison = (tensor: HostTensor, at: number, value: number) => {
    const data = (tensor.data as Float32Array).slice();
    data[at] = value;
    data[data.length - 1] = NaN;
    return float32(tensor.shape, data);
  };
  const names = (message: RegExp) => (error: unknown) =>
    error instanceof InputError && message.test(error.message);
  const bad = { ...input, features: poison(input.features, 67, -Infinity) };
  const where = /mask pooling: features\[1, 0, 1, 2\] is -Infinity/;
  await assert.rejects(kernel.run(bad), names(where));
  await assert.rejects(kernel.gradients(bad, bad.cotangent), names(where));
  await assert.rejects(
    kernel.run({ ...input, maskLogits: poison(input.maskLogits, 0, NaN) }),
    names(/mask pooling: maskLogits\[0, 0, 0, 0\] is NaN/),
  );
  await assert.rejects(
    kernel.gradients(input, { pooled: poison(input.cotangent.pooled, 4, Infinity) }),
    names(/mask pooling: the gradient by pooled\[0, 1, 1\] is Infinity/),
  );
  const half = { features: halves(bad.features), maskLogits: halves(input.maskLogits) };
  await assert.rejects(kernel.run(half), names(where));
});

gpuTest(
  "NaN is found where no mask covers it, and overflow isn't taken for it",
  async ({ gpu }) => {
    // With both kernels of the matrix product.
    const shape = { height: 8, width: 8, maskHeight: 8, maskWidth: 8 };
    using kernel = new GpuMaskPooling(gpu, { mode: "hard", checkFinite: true });
    for (const [channels, masks] of [[6, 3], [64, 40]] as const) {
      const { features } = draw({ mode: "hard", batch: null, ...shape, channels, masks, seed: 2 });
      const maskLogits = float32([masks, 8, 8]);
      for (const value of [NaN, Infinity]) {
        const data = (features.data as Float32Array).slice();
        data[70] = value;
        await assert.rejects(
          kernel.run({ features: float32(features.shape, data), maskLogits }),
          (error) => error instanceof InputError && /features\[1, 0, 6\] is /.test(error.message),
        );
      }
      const huge = float32(features.shape, (features.data as Float32Array).map(() => 3e38));
      const all = float32([masks, 8, 8], new Float32Array(masks * 64).fill(1));
      using out = await kernel.run({ features: huge, maskLogits: all });
      assert.equal((await out.pooled.read())[0], Infinity);
    }
  },
);

gpuTest("inputs that don't fit each other are refused", async ({ gpu }) => {
  const shape = { channels: 3, height: 4, width: 5, masks: 2, maskHeight: 6, maskWidth: 5 };
  const input = draw({ mode: "soft", batch: 2, ...shape, seed: 2 });
  using kernel = new GpuMaskPooling(gpu, { mode: "soft" });
  await assert.rejects(
    kernel.run({ ...input, maskLogits: float32([2, 6, 5]) }),
    ShapeError,
  );
  await assert.rejects(
    kernel.gradients(input, { pooled: float32([2, 3]) }),
    (error) => error instanceof ShapeError && /must be 2×2×3/.test(error.message),
  );
});

gpuTest("concurrent runs and gradients don't disturb each other", async ({ gpu }) => {
  const shape = { channels: 5, height: 6, width: 4, masks: 3, maskHeight: 3, maskWidth: 4 };
  const inputs = [1, 2, 3].map((seed) => draw({ mode: "soft", batch: null, ...shape, seed }));
  using kernel = new GpuMaskPooling(gpu, { mode: "soft", checkFinite: true });
  const one = async (input: Tensors) => {
    const [out, gradients] = await Promise.all([
      kernel.run(input),
      kernel.gradients(input, input.cotangent),
    ]);
    const values = await Promise.all([out.pooled.read(), gradients.maskLogits!.read()]);
    out.dispose();
    gradients.dispose();
    return values;
  };
  const alone = [];
  for (const input of inputs) alone.push(await one(input));
  assert.deepEqual(await Promise.all(inputs.map(one)), alone);
});

gpuTest("tensors on the device stay there, and are not changed", async ({ gpu }) => {
  const shape = { channels: 4, height: 4, width: 4, masks: 3, maskHeight: 8, maskWidth: 8 };
  const input = draw({ mode: "soft", batch: null, ...shape, seed: 9 });
  using features = await GpuTensor.upload(gpu, input.features);
  using maskLogits = await GpuTensor.upload(gpu, input.maskLogits);
  using pooled = await GpuTensor.upload(gpu, input.cotangent.pooled);
  using kernel = new GpuMaskPooling(gpu, { mode: "soft" });
  using gradients = await kernel.gradients({ features, maskLogits }, { pooled });
  assert.equal(gradients.features.location, "gpu");
  assert.equal(gradients.maskLogits?.location, "gpu");
  assert.deepEqual(await features.read(), input.features.data);
  assert.deepEqual(await maskLogits.read(), input.maskLogits.data);
  assert.deepEqual(await pooled.read(), input.cotangent.pooled.data);
});

gpuTest("a lost device is a typed error", async ({ gpu }) => {
  const shape = { channels: 4, height: 4, width: 4, masks: 3, maskHeight: 8, maskWidth: 8 };
  const input = draw({ mode: "soft", batch: null, ...shape, seed: 9 });
  using kernel = new GpuMaskPooling(gpu, { mode: "soft", checkFinite: true });
  (await kernel.gradients(input, input.cotangent)).dispose();
  const late = kernel.gradients(input, input.cotangent).then((result) => result.dispose());
  gpu.destroy();
  await late.catch((error) => assert(error instanceof DeviceLostError, String(error)));
  await assert.rejects(kernel.run(input), DeviceLostError);
  await assert.rejects(kernel.gradients(input, input.cotangent), DeviceLostError);
});
