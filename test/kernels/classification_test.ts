import assert from "node:assert/strict";
import {
  type ClassificationInput,
  PixelClassification,
} from "../../kernels/classification/classification.ts";
import { CpuClassification } from "../../kernels/classification/cpu.ts";
import { classificationGraph } from "../../kernels/classification/cpu_graph.ts";
import { GpuClassification } from "../../kernels/classification/gpu.ts";
import {
  classificationError,
  type ClassificationImplementation,
  classificationLaws,
  type ClassificationSettings,
  type ClassificationTensors,
  drawClassificationInput,
} from "../../kernels/classification/laws.ts";
import { prunedClassification } from "../../kernels/classification/pruned.ts";
import { classificationReference } from "../../kernels/classification/reference.ts";
import { KernelContext } from "../../kernels/dispatch/context.ts";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import {
  DeviceError,
  DeviceLostError,
  InputError,
  OptionError,
  ShapeError,
} from "../../lib/errors.ts";
import { toFloat16, toFloat16Array } from "../../lib/float16.ts";
import { Graph } from "../../lib/graph/graph.ts";
import { Rng } from "../../lib/rng.ts";
import type { Device, Engine } from "../../lib/runtime.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { ignore, type OnGpu, onGpu } from "./on_gpu.ts";
import fixture from "../fixtures/kernels_classification/torch.json" with { type: "json" };

const cases = Number(Deno.env.get("OVS_KERNEL_CASES") ?? 20);

function gpuTest(name: string, body: (on: OnGpu) => Promise<void>): void {
  onGpu(`WebGPU: classification: ${name}`, body);
}

interface Kernel {
  run(input: ClassificationInput): Promise<{
    labels: { read(): Promise<Int32Array> };
    scores: { read(): Promise<Float32Array> };
    dispose(): void;
  }>;
}

async function numbers(kernel: Kernel, input: ClassificationInput) {
  const result = await kernel.run(input);
  try {
    return { labels: await result.labels.read(), scores: await result.scores.read() };
  } finally {
    result.dispose();
  }
}

type Run = ClassificationImplementation["classification"];

function kernelRun(make: (options: { threshold?: number }) => Kernel): Run {
  return (input, { height, width, threshold = 0 }) =>
    numbers(make({ threshold }), { ...input, height, width });
}

const pruned: Run = (input, settings) => {
  const [masks, maskHeight, maskWidth] = input.maskLogits.shape as [number, number, number];
  return prunedClassification({
    masks,
    maskHeight,
    maskWidth,
    classes: input.probabilities.shape[1]!,
    maskLogits: input.maskLogits.data as Float32Array,
    probabilities: input.probabilities.data as Float32Array,
    height: settings.height,
    width: settings.width,
    threshold: settings.threshold ?? 0,
  });
};

function graphRun(engine: Engine, classBlock: number, isStatic: boolean): Run {
  return async ({ maskLogits, probabilities }, { height, width, threshold = 0 }) => {
    const graph = new Graph("classification");
    const { labels, scores } = classificationGraph(
      graph.input("m", isStatic ? maskLogits.shape : ["N", "h", "w"]),
      graph.input("p", isStatic ? probabilities.shape : ["N", "C"]),
      height,
      width,
      { threshold, classBlock },
    );
    graph.output("labels", labels);
    graph.output("scores", scores);
    const session = await engine.load(graph.toOnnx());
    try {
      const out = await session.run({ m: maskLogits, p: probabilities });
      return {
        labels: await out.labels!.read() as Int32Array,
        scores: await out.scores!.read() as Float32Array,
      };
    } finally {
      await session.dispose();
    }
  };
}

async function judge(
  implementation: ClassificationImplementation,
  seed: number,
  share = 1,
): Promise<void> {
  for (const law of classificationLaws(implementation)) {
    await law.check({ seed, cases: Math.ceil(cases * share) });
  }
}

Deno.test("classification: the reference agrees with PyTorch", async () => {
  for (const c of fixture.cases) {
    const [height, width] = c.size as [number, number];
    const { labels, scores } = await classificationReference({
      maskLogits: new HostTensor("float64", c.maskShape, Float64Array.from(c.maskLogits)),
      probabilities: new HostTensor(
        "float64",
        c.probabilityShape,
        Float64Array.from(c.probabilities),
      ),
      height,
      width,
    });
    assert.deepEqual([...labels.data], c.labels);
    scores.data.forEach((score, i) => assert(Math.abs(score - c.scores[i]!) <= 1e-13));
  }
});

Deno.test("classification: the float64 reference obeys the laws", async () => {
  await judge({
    async classification(input, settings) {
      const { threshold = 0, ...size } = settings;
      const { labels, scores } = await classificationReference({ ...input, ...size }, {
        threshold,
      });
      return { labels: labels.data, scores: scores.data };
    },
    float16: true,
  }, 1);
});

Deno.test("classification: the pruned method on the CPU obeys the laws", () =>
  judge({ classification: pruned }, 4));

Deno.test("classification: the graph obeys the laws, in blocks of classes and in one", async () => {
  await using device = await acquireDevice("cpu");
  // Every run loads a session of its own.
  await judge({ classification: graphRun(device.engine, 3, true) }, 5, 0.2);
  await judge({ classification: graphRun(device.engine, 1, false) }, 2, 0.2);
});

Deno.test("classification: a CPU device takes float16 and names what isn't finite", async () => {
  await using device = await acquireDevice("cpu");
  await judge({
    classification: kernelRun((options) => new CpuClassification(device.engine, options)),
    float16: true,
  }, 6);
  await refusals(device);
});

Deno.test("classification: a CPU device's two methods agree", async () => {
  await using device = await acquireDevice("cpu");
  const size = { height: 300, width: 240 };
  const kernel = new PixelClassification(device, { threshold: 0.3 });
  // The graph, at once for another output size, and what is too many classes for it.
  await Promise.all(([[20, 300], [20, 299], [65, 300]] as const).map(async ([classes, height]) => {
    const input = blobs(20, classes, 40, 7);
    const got = await numbers(kernel, { ...input, ...size, height });
    const expected = await pruned(input, { ...size, height, threshold: 0.3 });
    const differ = got.labels.filter((label, i) => label !== expected.labels[i]).length;
    assert(differ <= 5, `${differ} labels differ`);
  }));
  await kernel.dispose();
});

const small = {
  masks: 3,
  classes: 5,
  maskHeight: 4,
  maskWidth: 5,
  height: 9,
  width: 11,
  kind: "normal",
  probabilities: "softmax",
  seed: 5,
} as const;
const size = { height: small.height, width: small.width };

/** Smooth blobs, each of a class of its own. */
function blobs(masks: number, classes: number, side: number, seed: number): ClassificationTensors {
  const rng = new Rng(seed);
  const maskLogits = float32([masks, side, side]);
  const probabilities = float32([masks, classes]);
  for (let n = 0; n < masks; n++) {
    const [x, y, radius] = [rng.uniform(0, side), rng.uniform(0, side), rng.uniform(2, side / 3)];
    for (let p = 0; p < side * side; p++) {
      const distance = Math.hypot(p % side - x, Math.floor(p / side) - y) / radius;
      maskLogits.data[n * side * side + p] = 6 * Math.tanh(1.5 * (1 - distance)) - 1;
    }
    const own = rng.integer(classes);
    for (let c = 0; c < classes; c++) {
      probabilities.data[n * classes + c] = (c === own ? 0.7 : 0) + 0.2 * rng.uniform() / classes;
    }
  }
  return { maskLogits, probabilities };
}

async function refusals(device: Device): Promise<void> {
  const { maskLogits, probabilities } = drawClassificationInput(small);
  const kernel = new PixelClassification(device, { checkFinite: true });
  const refused = (input: Partial<ClassificationInput>, type: typeof InputError, message: RegExp) =>
    assert.rejects(
      kernel.run({ maskLogits, probabilities, ...size, ...input }),
      (error) => error instanceof type && message.test(error.message),
    );
  for (const value of [NaN, Infinity, -Infinity]) {
    const m = float32(maskLogits.shape, maskLogits.data.slice());
    m.data[27] = value;
    m.data[31] = NaN;
    await refused({ maskLogits: m }, InputError, /maskLogits\[1, 1, 2\] is/);
    const p = float32(probabilities.shape, probabilities.data.slice());
    p.data[14] = value;
    await refused({ probabilities: p }, InputError, /probabilities\[2, 4\] is/);
    const halves = toFloat16Array(maskLogits.data);
    halves[41] = toFloat16(value);
    const half = new HostTensor("float16", maskLogits.shape, halves);
    await refused({ maskLogits: half }, InputError, /maskLogits\[2, 0, 1\] is/);
  }
  // Nobody asked: the result is arbitrary, but there is one.
  const careless = new PixelClassification(device);
  const broken = float32(maskLogits.shape, maskLogits.data.map((x, i) => i % 3 ? x : NaN));
  const arbitrary = await numbers(careless, { maskLogits: broken, probabilities, ...size });
  assert.equal(arbitrary.labels.length, size.height * size.width);
  await careless.dispose();
  await refused({ probabilities: float32([2, 5]) }, ShapeError, /2 rows, maskLogits 3 masks/);
  await refused({ probabilities: float32([3, 0]) }, ShapeError, /at least 1/);
  await refused({ maskLogits: float32([0, 4, 5]) }, ShapeError, /at least 1/);
  await refused({ maskLogits: float32([3, 20]) }, ShapeError, /N×h×w/);
  await refused({ maskLogits: new HostTensor("int32", [3, 4, 5]) }, ShapeError, /int32/);
  await refused({ height: 0 }, ShapeError, /height .* got 0/);
  await refused({ width: 1.5 }, ShapeError, /width .* got 1.5/);
  assert.throws(() => new PixelClassification(device, { threshold: NaN }), OptionError);
  assert.throws(() => new PixelClassification(device, { threshold: -0.1 }), OptionError);
  // Everything in order: the kernel still works.
  const got = await numbers(kernel, { maskLogits, probabilities, ...size });
  assert(await classificationError({ maskLogits, probabilities }, size, got) <= 2e-6);
  await kernel.dispose();
}

gpuTest("the laws", async ({ gpu }) => {
  await judge({
    classification: kernelRun((options) => new GpuClassification(gpu, options)),
    unprunedClassification: kernelRun((options) =>
      new GpuClassification(gpu, options, { prune: false })
    ),
    float16: true,
  }, 7);
});

gpuTest("the laws, with lists that overflow and slices of next to nothing", async ({ gpu }) => {
  await judge(
    {
      classification: kernelRun((options) =>
        new GpuClassification(gpu, options, { capacity: 2, slice: 1 })
      ),
      unprunedClassification: kernelRun((options) =>
        new GpuClassification(gpu, options, { prune: false })
      ),
      float16: true,
    },
    3,
    0.4,
  );
});

gpuTest("the laws, with bindings so small that everything is split", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  const limit = context.bindingLimit;
  const whole = new GpuClassification(gpu);
  for (const float16 of [false, true]) {
    const c = { ...small, masks: 9, classes: 300, maskHeight: 30, maskWidth: 21 };
    const input = drawClassificationInput({ ...c, kind: "normal", seed: 8 });
    const tensors: ClassificationTensors = float16
      ? {
        maskLogits: new HostTensor("float16", [9, 30, 21], toFloat16Array(input.maskLogits.data)),
        probabilities: new HostTensor(
          "float16",
          [9, 300],
          toFloat16Array(input.probabilities.data),
        ),
      }
      : input;
    const settings: ClassificationSettings = { height: 75, width: 64 };
    const expected = await numbers(whole, { ...tensors, ...settings });
    using maskLogits = await GpuTensor.upload(gpu, tensors.maskLogits);
    using probabilities = await GpuTensor.upload(gpu, tensors.probabilities);
    context.bindingLimit = 20_000;
    const kernel = new GpuClassification(gpu, { checkFinite: true });
    for (const source of [tensors, { maskLogits, probabilities }]) {
      assert.deepEqual(await numbers(kernel, { ...source, ...settings }), expected);
    }
    context.bindingLimit = limit;
  }
});

gpuTest("what can't be split is refused with figures, before allocation", async ({ gpu }) => {
  const context = KernelContext.of(gpu);
  const before = liveBuffers(gpu);
  const kernel = new GpuClassification(gpu);
  const refused = (input: ClassificationInput, message: RegExp) =>
    assert.rejects(
      kernel.run(input),
      (error) => error instanceof DeviceError && message.test(error.message),
    );
  const { maskLogits, probabilities } = drawClassificationInput(small);
  const limit = context.bindingLimit;
  context.bindingLimit = 1024;
  await refused({ maskLogits, probabilities, height: 60, width: 60 }, /labels .* 14400 bytes/);
  await refused(
    { maskLogits: float32([3, 4, 400]), probabilities, ...size },
    /3 masks of 4×400 need \d+ bytes .* 1024 bytes/,
  );
  await refused(
    { maskLogits: float32([2000, 1, 1]), probabilities: float32([2000, 1]), ...size },
    /one class take 8000 bytes/,
  );
  context.bindingLimit = limit;
  assert.equal(liveBuffers(gpu), before);
});

gpuTest("NaN and infinity are refused by name", ({ device }) => refusals(device));

gpuTest("tensors of the device are used where they are", async ({ device, gpu }) => {
  const kernel = new PixelClassification(device);
  const input = drawClassificationInput(small);
  const expected = await numbers(kernel, { ...input, ...size });
  using maskLogits = await GpuTensor.upload(gpu, input.maskLogits);
  using probabilities = await GpuTensor.upload(gpu, input.probabilities);
  const before = liveBuffers(gpu);
  {
    using result = await kernel.run({ maskLogits, probabilities, ...size });
    assert.equal(result.labels.location, "gpu");
    assert.equal(liveBuffers(gpu), before + 2);
    assert.deepEqual(await result.labels.read(), expected.labels);
    assert.deepEqual(await result.scores.read(), expected.scores);
  }
  const together = await Promise.all(
    [1, 2, 3].map(() => numbers(kernel, { maskLogits, probabilities, ...size })),
  );
  for (const got of together) assert.deepEqual(got, expected);
});

gpuTest("an abort ends the work between slices and leaves nothing behind", async ({ gpu }) => {
  const input = drawClassificationInput({
    ...small,
    masks: 8,
    classes: 70,
    probabilities: "equal",
  });
  const controller = new AbortController();
  const reason = new Error("enough");
  const before = liveBuffers(gpu);
  let reports = 0;
  const kernel = new GpuClassification(gpu, {}, { slice: 1 });
  await assert.rejects(
    kernel.run({ ...input, height: 70, width: 70 }, {
      signal: controller.signal,
      progress(done, total) {
        assert(done <= total);
        reports++;
        controller.abort(reason);
      },
    }),
    reason,
  );
  assert.equal(reports, 1);
  await assert.rejects(kernel.run({ ...input, ...size }, { signal: controller.signal }), reason);
  assert.equal(liveBuffers(gpu), before);
});

gpuTest("a device lost in the middle is a typed error", async ({ device, gpu }) => {
  const input = drawClassificationInput({
    ...small,
    masks: 8,
    classes: 70,
    probabilities: "equal",
  });
  const kernel = new GpuClassification(gpu, {}, { slice: 1 });
  await assert.rejects(
    kernel.run({ ...input, height: 70, width: 70 }, { progress: () => gpu.destroy() }),
    DeviceLostError,
  );
  await assert.rejects(kernel.run({ ...input, ...size }), DeviceLostError);
  await assert.rejects(new PixelClassification(device).run({ ...input, ...size }), DeviceLostError);
});

Deno.test({
  name: "WebGPU: classification: 20,000 classes at 1024×1024 within WebGPU's default limits",
  ignore,
  async fn() {
    const adapter = await navigator.gpu?.requestAdapter();
    assert(adapter, "OVS_REQUIRE_GPU is set, but there is no WebGPU adapter");
    const gpu = await adapter.requestDevice();
    try {
      assert.equal(gpu.limits.maxStorageBufferBindingSize, 2 ** 27);
      assert.equal(gpu.limits.maxStorageBuffersPerShaderStage, 8);
      const input = blobs(20, 20_000, 64, 3);
      const [height, width] = [1024, 1024];
      const got = await numbers(new GpuClassification(gpu), { ...input, height, width });
      const expected = await pruned(input, { height, width });
      const differ = got.labels.filter((label, i) => label !== expected.labels[i]).length;
      assert(differ <= 20, `${differ} labels differ`);
      got.scores.forEach((score, i) => {
        assert(Math.abs(score - expected.scores[i]!) <= 2e-6 * expected.scores[i]!);
      });
      assert.equal(liveBuffers(gpu), 0);
    } finally {
      gpu.destroy();
    }
  },
});
