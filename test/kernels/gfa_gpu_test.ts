import assert from "node:assert/strict";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import type { GfaInput, GfaOptions } from "../../kernels/gfa/gfa.ts";
import { GpuGfa } from "../../kernels/gfa/gpu.ts";
import { gfaGradients, gfaReference } from "../../kernels/gfa/reference.ts";
import { DeviceError, InputError, OptionError } from "../../lib/errors.ts";
import { fromFloat16Array, toFloat16Array } from "../../lib/float16.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { type OnGpu, onGpu } from "./on_gpu.ts";

function gpuTest(name: string, body: (on: OnGpu) => Promise<void>): void {
  onGpu(`GFA on WebGPU: ${name}`, body);
}

const rng = new Rng(11);

function normal(...shape: number[]): HostTensor<"float32"> {
  const tensor = float32(shape);
  for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = rng.normal();
  return tensor;
}

/** The largest difference over the largest entry. */
function relative(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(got.length, expected.length);
  let error = 0, largest = 0;
  for (let i = 0; i < got.length; i++) {
    const difference = Math.abs(got[i]! - expected[i]!);
    if (!(difference <= error)) error = difference;
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return error / largest;
}

async function judge(gpu: GPUDevice, input: GfaInput, options: GfaOptions, tolerance = 2e-6) {
  using kernel = new GpuGfa(gpu, options);
  using got = await kernel.run(input);
  const expected = await gfaReference(input, options);
  const cotangent = { clip: normal(...input.clip.shape), query: normal(...input.query.shape) };
  using gradients = await kernel.gradients(input, cotangent);
  const byInput = await gfaGradients(input, cotangent, options);
  for (const side of ["clip", "query"] as const) {
    const error = relative(await got[side].read(), expected[side].data);
    assert(error <= tolerance / (1 - options.omega ** 2), `${side}: off by ${error}`);
    const slope = relative(await gradients[side].read(), byInput[side].data);
    assert(slope <= tolerance / (1 - options.omega ** 2) ** 2, `gradient by ${side}: ${slope}`);
  }
}

const variants: Record<string, Partial<GfaOptions>> = {
  closed: { method: "closed" },
  series: { method: "series" },
  steps: { steps: 3 },
  raw: { affinity: "raw", lambda: 0.2 },
};

for (const [name, variant] of Object.entries(variants)) {
  gpuTest(`${name}: rows in parts, images in groups`, async ({ gpu, context }) => {
    const options = { omega: 0.6, lambda: 5, ...variant };
    context.bindingLimit = 40_000;
    // One image whose rows don't fit, then five of which two fit at a time.
    await judge(gpu, { clip: normal(500, 24), query: normal(37, 24) }, options);
    await judge(gpu, { clip: normal(5, 150, 17), query: normal(5, 21, 17) }, options);
  });
}

gpuTest("features larger than a binding", async ({ gpu, context }) => {
  const channels = 640;
  const kinds = normal(7, channels);
  const copies = Math.ceil((context.bindingLimit + 1) / kinds.data.byteLength);
  const clip = float32([7 * copies, channels]);
  for (let i = 0; i < copies; i++) clip.data.set(kinds.data, i * kinds.data.length);
  const options = { omega: 0.5, lambda: 5 };
  const query = normal(3, channels);
  using kernel = new GpuGfa(gpu, options);
  using got = await kernel.run({ clip, query });
  // Copies of a row share its weight, so that one of each gives the same.
  const expected = await gfaReference({ clip: kinds, query }, options);
  const rows = await got.clip.read();
  for (const i of [0, copies >> 1, copies - 1]) {
    const some = rows.subarray(i * kinds.data.length, (i + 1) * kinds.data.length);
    assert(relative(some, expected.clip.data) <= 2e-6 / (1 - 0.5 ** 2));
  }
  assert(relative(await got.query.read(), expected.query.data) <= 2e-6 / (1 - 0.5 ** 2));
});

gpuTest(
  "a system that can't be split is refused before anything is allocated",
  async ({ gpu, context }) => {
    context.bindingLimit = 4096;
    using kernel = new GpuGfa(gpu, { omega: 0.5, lambda: 5 });
    await assert.rejects(
      kernel.run({ clip: normal(3, 8), query: normal(40, 8) }),
      (error) =>
        error instanceof DeviceError && /40 queries.*6400 bytes.*4096 bytes/.test(error.message),
    );
    assert.equal(liveBuffers(gpu), 0);
  },
);

gpuTest("half floats keep within 2e-3 of what they stand for", async ({ gpu }) => {
  const options = { omega: 0.8, lambda: 8 };
  const half = (tensor: HostTensor<"float32">) =>
    new HostTensor(
      "float16",
      tensor.shape,
      toFloat16Array(tensor.data) as Uint16Array<ArrayBuffer>,
    );
  const wide = (tensor: HostTensor<"float16">) =>
    float32(tensor.shape, fromFloat16Array(tensor.data));
  const exact = { clip: normal(2, 9, 12), query: normal(2, 5, 12) };
  const input = { clip: half(exact.clip), query: half(exact.query) };
  using kernel = new GpuGfa(gpu, options);
  using got = await kernel.run(input);
  const ofRounded = await gfaReference(
    { clip: wide(input.clip), query: wide(input.query) },
    options,
  );
  const ofExact = await gfaReference(exact, options);
  for (const side of ["clip", "query"] as const) {
    const data = await got[side].read();
    assert(relative(data, ofRounded[side].data) <= 2e-6 / (1 - 0.8 ** 2));
    assert(relative(data, ofExact[side].data) <= 2e-3);
  }
});

gpuTest("stopped gradients are zero", async ({ gpu }) => {
  const input = { clip: normal(4, 6), query: normal(3, 6) };
  using kernel = new GpuGfa(gpu, { omega: 0.5, lambda: 5, gradient: "stop" });
  using gradients = await kernel.gradients(input, input);
  assert((await gradients.clip.read()).every((value) => value === 0));
  assert((await gradients.query.read()).every((value) => value === 0));
});

gpuTest("NaN and infinity are refused by name and place", async ({ gpu }) => {
  using kernel = new GpuGfa(gpu, { omega: 0.5, lambda: 5, checkFinite: true });
  const query = normal(3, 6);
  const clip = normal(2, 40, 6);
  await kernel.run({ clip: normal(4, 6), query }).then((out) => out.dispose());
  clip.data[1 * 240 + 31 * 6 + 4] = NaN;
  clip.data[1 * 240 + 32 * 6] = Infinity;
  await assert.rejects(
    kernel.run({ clip, query: normal(2, 3, 6) }),
    (error) => error instanceof InputError && /clip\[1, 31, 4\] is NaN/.test(error.message),
  );
  query.data[17] = -Infinity;
  await assert.rejects(
    kernel.run({ clip: normal(4, 6), query }),
    (error) => error instanceof InputError && /query\[2, 5\] is -Infinity/.test(error.message),
  );
});

gpuTest("raw affinity that may diverge is refused with a lambda that works", async ({ gpu }) => {
  const input = { clip: normal(30, 6), query: normal(9, 6) };
  const options = { omega: 0.9, affinity: "raw" } as const;
  using kernel = new GpuGfa(gpu, { ...options, lambda: 50 });
  let limit = 0;
  await assert.rejects(kernel.run(input), (error) => {
    limit = Number(/lambda below ([\d.e+-]+)/.exec((error as Error).message)?.[1]);
    return error instanceof OptionError;
  });
  assert(limit > 0 && limit < 50);
  using other = new GpuGfa(gpu, { ...options, lambda: limit * 0.999 });
  using out = await other.run(input);
  assert((await out.clip.read()).every(Number.isFinite));
});

gpuTest("rows of empty masks take no part, and nobody has to be told", async ({ gpu, context }) => {
  const usual = context.bindingLimit;
  for (const [clips, queries, channels] of [[6, 6, 5], [1, 3, 2], [150, 9, 8]] as const) {
    for (const variant of [{}, { method: "series" }, { steps: 2 }] as const) {
      const options = { omega: 0.6, lambda: 5, ...variant };
      const query = normal(queries, channels);
      const clip = normal(clips, channels);
      const present = Array.from({ length: clips }, (_, n) => n).filter((n) => n % 3 !== 0);
      const area = float32([clips], new Float32Array(clips));
      // What an empty mask's row holds doesn't matter.
      for (const n of present) area.data[n] = 0.5 + n;
      using areas = await GpuTensor.upload(gpu, area);
      // In parts where there are many rows.
      context.bindingLimit = clips > 64 ? 4096 + 256 : usual;
      using kernel = new GpuGfa(gpu, options);
      using got = await kernel.run({ clip, query }, areas);
      context.bindingLimit = usual;
      const fusedQuery = await got.query.read();
      if (present.length === 0) {
        // Directions alone: each row is F_Q's.
        for (let n = 0; n < queries; n++) {
          const [a, b] = [fusedQuery, query.data].map((x) =>
            Array.from(x.subarray(n * channels, (n + 1) * channels))
          ) as [number[], number[]];
          const [left, right] = [Math.hypot(...a), Math.hypot(...b)];
          assert(relative(a.map((x) => x / left), b.map((x) => x / right)) < 1e-5);
        }
        continue;
      }
      const rows = present.flatMap((
        n,
      ) => [...clip.data.subarray(n * channels, (n + 1) * channels)]);
      const gathered = float32([present.length, channels], Float32Array.from(rows));
      const expected = await gfaReference({ clip: gathered, query }, options);
      assert(relative(fusedQuery, expected.query.data) < 1e-5);
      const fusedClip = await got.clip.read();
      const found = present.flatMap((n) => [
        ...fusedClip.subarray(n * channels, (n + 1) * channels),
      ]);
      assert(relative(found, expected.clip.data) < 1e-5);
    }
  }
  using few = await GpuTensor.upload(gpu, float32([2]));
  using kernel = new GpuGfa(gpu, { omega: 0.5, lambda: 1 });
  await assert.rejects(
    kernel.run({ clip: normal(3, 2), query: normal(3, 2) }, few),
    /areas are 2; must be 3/,
  );
});
