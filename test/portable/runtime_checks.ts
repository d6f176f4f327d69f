/**
 * Checks of devices and engines.
 *
 * @module
 */
import { DeviceLostError, ModelError, OptionError, ShapeError } from "../../lib/errors.ts";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { Graph } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { detectHost } from "../../plugins/runtimes/host.ts";
import {
  acquireDevice,
  type AcquireOptions,
  isSoftwareAdapter,
  liveDevices,
} from "../../plugins/runtimes/mod.ts";
import { withRuntimeDir } from "../../plugins/runtimes/quiet_driver.ts";
import { type Check, ensure, thrownBy } from "./check.ts";

/** relu(a · b), N×K times K×M. */
function product(): Uint8Array {
  const graph = new Graph("product");
  const a = graph.input("a", ["N", "K"]);
  const b = graph.input("b", ["K", "M"]);
  graph.output("y", ops.relu(ops.matMul(a, b)));
  return graph.toOnnx();
}

/** Small integers, so that float32 is exact whatever the order of summation. */
function integers(rng: Rng, shape: readonly [number, number]): HostTensor<"float32"> {
  const tensor = float32(shape);
  for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = rng.integer(17) - 8;
  return tensor;
}

function expectedProduct(a: HostTensor<"float32">, b: HostTensor<"float32">): number[] {
  const [n, k] = a.shape as [number, number];
  const m = b.shape[1]!;
  const y: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a.data[i * k + l]! * b.data[l * m + j]!;
      y.push(Math.max(0, sum));
    }
  }
  return y;
}

async function ensureElements(tensor: Tensor, expected: readonly number[]): Promise<void> {
  const actual = await tensor.read();
  ensure(actual.length === expected.length, `${actual.length} elements, not ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    ensure(Number(actual[i]) === expected[i], `element ${i} is ${actual[i]}, not ${expected[i]}`);
  }
}

/** y = 2 x by a kernel of five lines; `x` is left as it is. */
function double(gpu: GPUDevice, x: GpuTensor<"float32">): GpuTensor<"float32"> {
  const module = gpu.createShaderModule({
    code: `
      @group(0) @binding(0) var<storage, read> x: array<f32>;
      @group(0) @binding(1) var<storage, read_write> y: array<f32>;
      @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < arrayLength(&y)) { y[id.x] = 2.0 * x[id.x]; }
      }`,
  });
  const pipeline = gpu.createComputePipeline({
    layout: "auto",
    compute: { module, entryPoint: "main" },
  });
  const y = GpuTensor.allocate(gpu, "float32", x.shape);
  const bindGroup = gpu.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [x, y].map(({ buffer }, binding) => ({ binding, resource: { buffer } })),
  });
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(Math.ceil(y.buffer.size / 4 / 64));
  pass.end();
  gpu.queue.submit([encoder.finish()]);
  return y;
}

async function ensureDoubles(gpu: GPUDevice, size: number): Promise<void> {
  const numbers = Float32Array.from({ length: size }, (_, i) => i - size / 2);
  using x = await GpuTensor.upload(gpu, float32([size], numbers));
  using y = double(gpu, x);
  await ensureElements(y, Array.from(numbers, (v) => 2 * v));
}

/** Checks that need no GPU. */
export function cpuChecks(options: AcquireOptions, seed: number): Check[] {
  return [
    {
      name: "cpu: a graph gives the exact product",
      async run() {
        const device = await acquireDevice("cpu", options);
        ensure(device.kind === "cpu" && device.gpu === null, "not a CPU device");
        ensure(device.fallbackReason === null, "nothing to fall back from");
        const session = await device.engine.load(product(), { threads: 1 });
        const rng = new Rng(seed);
        for (const [n, k, m] of [[1, 1, 1], [3, 5, 2], [1, 64, 33]] as const) {
          const a = integers(rng, [n, k]), b = integers(rng, [k, m]);
          const { y } = await session.run({ a, b });
          ensure(y?.shape.join() === `${n},${m}`, `shape ${y?.shape}`);
          await ensureElements(y, expectedProduct(a, b));
        }
        await session.dispose();
        await device.dispose();
      },
    },
    {
      name: "cpu: wrong inputs are shape errors that name the input",
      async run() {
        const device = await acquireDevice("cpu", options);
        const session = await device.engine.load(product());
        const a = float32([2, 3]), b = float32([3, 2]);
        const cases: [string, Record<string, Tensor>][] = [
          ['"b"', { a }],
          ['"c"', { a, b, c: a }],
          ['"b"', { a, b: new HostTensor("float64", [3, 2]) }],
          ['"a"', { a: float32([6]), b }],
          ['"b"', { a, b: float32([4, 2]) }],
        ];
        for (const [culprit, inputs] of cases) {
          const error = await thrownBy(() => session.run(inputs));
          ensure(error instanceof ShapeError, `${error} is no ShapeError`);
          ensure(error.message.includes(culprit), `"${error.message}" names no ${culprit}`);
        }
        await session.run({ a, b });
        await session.dispose();
        await device.dispose();
      },
    },
    {
      name: "cpu: a model cut short is a model error",
      async run() {
        await using device = await acquireDevice("cpu", options);
        const model = product();
        for (const length of [0, 1, 7, model.length >> 1, model.length - 1]) {
          const error = await thrownBy(() => device.engine.load(model.slice(0, length)));
          ensure(error instanceof ModelError, `${length} bytes: ${error} is no ModelError`);
        }
        await (await device.engine.load(model)).dispose();
      },
    },
    {
      name: "auto: takes a GPU or says why not",
      async run() {
        const device = await acquireDevice("auto", options);
        ensure((device.kind === "webgpu") === (device.gpu !== null), "kind and gpu disagree");
        ensure((device.kind === "cpu") === (device.fallbackReason !== null), "no reason given");
        await device.dispose();
      },
    },
    {
      name: "unknown requests are option errors",
      async run() {
        const request = "tpu" as "cpu";
        ensure(await thrownBy(() => acquireDevice(request)) instanceof OptionError, "device");
        const networks = "tpu" as "cpu";
        const error = await thrownBy(() => acquireDevice("auto", { networks }));
        ensure(error instanceof OptionError, "networks");
      },
    },
  ];
}

/** Checks that need a WebGPU adapter, be it software. */
export function gpuChecks(options: AcquireOptions, seed: number): Check[] {
  const host = detectHost();
  return [
    {
      name: "webgpu: limits are raised to what the adapter offers",
      async run() {
        const open = await host.openGpu();
        const adapter = await withRuntimeDir(async () => await open?.requestAdapter());
        ensure(adapter != null, "no adapter");
        const device = await acquireDevice("webgpu", options);
        ensure(device.kind === "webgpu" && device.gpu !== null, "not a WebGPU device");
        for (
          const limit of [
            "maxBufferSize",
            "maxStorageBufferBindingSize",
            "maxComputeInvocationsPerWorkgroup",
            "maxComputeWorkgroupStorageSize",
          ] as const
        ) {
          const has = device.gpu.limits[limit], offered = adapter.limits[limit];
          ensure(has === offered, `${limit} is ${has}, offered was ${offered}`);
        }
        for (const feature of ["shader-f16", "subgroups", "timestamp-query"] as const) {
          const offered = adapter.features.has(feature);
          ensure(device.gpu.features.has(feature) === offered, `${feature}, offered: ${offered}`);
        }
        if (isSoftwareAdapter(adapter.info)) {
          ensure(device.engine.kind === "cpu", "networks belong on the CPU engine");
        }
        await device.dispose();
        open?.close();
      },
    },
    {
      name: "webgpu: a kernel doubles numbers",
      async run() {
        const device = await acquireDevice("webgpu", options);
        for (const size of [1, 63, 64, 65, 5000]) await ensureDoubles(device.gpu!, size);
        ensure(liveBuffers(device.gpu!) === 0, "tensors are left");
        await device.dispose();
      },
    },
    {
      name: "webgpu: tensors of every type survive the round trip",
      async run() {
        await using device = await acquireDevice("webgpu", options);
        const { gpu } = device;
        const tensors: HostTensor[] = [
          new HostTensor("uint8", [5], Uint8Array.of(0, 1, 2, 250, 3)),
          new HostTensor("bool", [3], Uint8Array.of(0, 1, 1)),
          new HostTensor("float16", [5, 1], Uint16Array.of(0, 1, 2, 0x3c00, 3)),
          new HostTensor("int32", [5], Int32Array.of(-1, 0, 1, 2 ** 31 - 1, 7)),
          new HostTensor("int64", [2], BigInt64Array.of(-(2n ** 40n), 5n)),
          float32([], Float32Array.of(0.5)),
          float32([0, 3]),
        ];
        for (const tensor of tensors) {
          using onDevice = await GpuTensor.upload(gpu!, tensor);
          await ensureElements(onDevice, Array.from(tensor.data, Number));
        }
        ensure(liveBuffers(gpu!) === 0, `${liveBuffers(gpu!)} buffers are left`);
        using small = GpuTensor.allocate(gpu!, "float32", [8]);
        const error = await thrownBy(() => GpuTensor.wrap(gpu!, small.buffer, "float32", [9]));
        ensure(error instanceof ShapeError, `${error} is no ShapeError`);
      },
    },
    {
      name: "webgpu: a lost device is a typed error and another can be acquired",
      async run() {
        const before = liveDevices();
        const first = await acquireDevice("webgpu", options);
        first.assertAlive();
        first.gpu!.destroy();
        await first.gpu!.lost;
        const error = await thrownBy(() => first.assertAlive());
        ensure(error instanceof DeviceLostError, `${error} is no DeviceLostError`);
        const second = await acquireDevice("webgpu", options);
        second.assertAlive();
        await ensureDoubles(second.gpu!, 100);
        await first.dispose();
        second.assertAlive();
        await second.dispose();
        await second.dispose();
        const disposed = await thrownBy(() => second.assertAlive());
        ensure(disposed instanceof DeviceLostError, `${disposed} is no DeviceLostError`);
        ensure(liveDevices() === before, `${liveDevices() - before} devices are left`);
      },
    },
    host.networksOnGpu
      ? {
        name: "webgpu: networks and kernels share buffers",
        async run() {
          const device = await acquireDevice("webgpu", { ...options, networks: "webgpu" });
          ensure(device.engine.kind === "webgpu", `networks on ${device.engine.name}`);
          const session = await device.engine.load(product());
          const rng = new Rng(seed);
          const a = integers(rng, [4, 7]), b = integers(rng, [7, 3]);
          using onDevice = await GpuTensor.upload(device.gpu!, b);
          const [{ y }, again] = await Promise.all([
            session.run({ a, b: onDevice }),
            session.run({ a, b }),
          ]);
          ensure(y instanceof GpuTensor && y.dtype === "float32", "the output left the device");
          using twice = double(device.gpu!, y as GpuTensor<"float32">);
          await ensureElements(twice, expectedProduct(a, b).map((v) => 2 * v));
          await ensureElements(again.y!, expectedProduct(a, b));
          y.dispose();
          again.y!.dispose();
          device.gpu!.destroy();
          await device.gpu!.lost;
          const error = await thrownBy(() => session.run({ a, b }));
          ensure(error instanceof DeviceLostError, `${error} is no DeviceLostError`);
          await session.dispose();
          await device.dispose();
        },
      }
      : {
        name: "webgpu: networks on the GPU are refused where no engine can",
        async run() {
          const wish = { ...options, networks: "webgpu" } as const;
          const error = await thrownBy(() => acquireDevice("webgpu", wish));
          ensure(error instanceof OptionError, `${error} is no OptionError`);
        },
      },
  ];
}
