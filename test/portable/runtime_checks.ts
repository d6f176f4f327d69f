/**
 * Checks of devices and engines.
 *
 * @module
 */
import {
  DeviceError,
  DeviceLostError,
  ModelError,
  OptionError,
  ShapeError,
} from "../../lib/errors.ts";
import { GpuTensor, liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { Graph } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import { Rng } from "../../lib/rng.ts";
import { countDevice } from "../../lib/testing/counting_device.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { detectHost } from "../../plugins/runtimes/host.ts";
import {
  acquireDevice,
  type AcquireOptions,
  isSoftwareAdapter,
  liveDevices,
} from "../../plugins/runtimes/mod.ts";
import { withRuntimeDir } from "../../plugins/runtimes/quiet_driver.ts";
import { countReadBacks } from "../count_transfers.ts";
import { type Check, ensure, thrownBy } from "./check.ts";
import { zeroCopyChecks } from "./zero_copy_checks.ts";

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
      name: "cpu: results go to the tensors that are given",
      async run() {
        await using device = await acquireDevice("cpu", options);
        const session = await device.engine.load(product());
        const rng = new Rng(seed);
        const y = float32([3, 2]);
        for (let i = 0; i < 3; i++) {
          const a = integers(rng, [3, 5]), b = integers(rng, [5, 2]);
          const got = await session.run({ a, b }, { y });
          ensure(got.y === y, "another tensor came back");
          await ensureElements(y, expectedProduct(a, b));
        }
        const error = await thrownBy(() =>
          session.run({ a: float32([4, 5]), b: float32([5, 2]) }, { y })
        );
        ensure(error instanceof ShapeError, `${error} is no ShapeError`);
        ensure(error.message.includes('output "y"'), `"${error.message}" names no output`);
        await session.dispose();
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

/** Outputs of every type that crosses a stage's boundary, for x and d of N×3. */
function everyType(gpu: GPUDevice): Uint8Array {
  const graph = new Graph("every_type");
  const x = graph.input("x", ["N", 3]);
  for (const dtype of ["int32", "int64", "uint8", "bool"] as const) {
    graph.output(dtype, ops.cast(x, dtype));
  }
  if (gpu.features.has("shader-f16")) graph.output("float16", ops.cast(x, "float16"));
  // Of float64, onnxruntime-web knows no arithmetic.
  graph.output("float64", ops.transpose(graph.input("d", ["N", 3], "float64"), [1, 0]));
  graph.output("float32", ops.mul(x, x));
  graph.output("twice", ops.concat([x, x], 0));
  return graph.toOnnx();
}

/** What {@linkcode everyType} gives for these elements of x and d, from 0 to 5. */
function everyTypeExpected(x: readonly number[]): Record<string, number[]> {
  const float16 = (v: number) => v === 0 ? 0 : 0x3c00 + [0, 0x400, 0x600, 0x800, 0x900][v - 1]!;
  return {
    float16: x.map(float16),
    float64: [0, 1, 2].flatMap((column) => [x[column]!, x[column + 3]!]),
    int32: [...x],
    int64: [...x],
    uint8: [...x],
    bool: x.map((v) => Number(v !== 0)),
    float32: x.map((v) => v * v),
    twice: [...x, ...x],
  };
}

/** y = x², element by element, which ONNX Runtime takes by fours. */
function squares(): Uint8Array {
  const graph = new Graph("squares");
  const x = graph.input("x", ["N"]);
  graph.output("y", ops.mul(x, x));
  return graph.toOnnx();
}

/** Checks of networks on the device itself. */
function networkChecks(options: AcquireOptions, seed: number): Check[] {
  const onGpu = { ...options, networks: "webgpu" } as const;
  return [
    {
      name: "webgpu: a network writes every type to tensors that are given",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        const gpu = device.gpu!;
        const session = await device.engine.load(everyType(gpu));
        const numbers = [0, 1, 2, 3, 4, 5];
        const x = float32([2, 3], Float32Array.from(numbers));
        const d = new HostTensor("float64", [2, 3], Float64Array.from(numbers));
        const expected = everyTypeExpected(numbers);
        const fresh = await session.run({ x, d });
        for (const [name, tensor] of Object.entries(fresh)) {
          const place = name === "float64" ? "host" : "gpu";
          ensure(tensor.location === place, `${name} is on the ${tensor.location}`);
          await ensureElements(tensor, expected[name]!);
        }
        for (const place of ["host", "gpu"]) {
          const given: Record<string, Tensor> = {};
          for (const [name, { dtype, shape }] of Object.entries(fresh)) {
            given[name] = place === "host" || dtype === "float64"
              ? new HostTensor(dtype, shape)
              : GpuTensor.allocate(gpu, dtype, shape);
          }
          for (let i = 0; i < 2; i++) {
            const got = await session.run({ x, d }, given);
            for (const [name, tensor] of Object.entries(given)) {
              ensure(got[name] === tensor, `${name}: another tensor came back`);
              await ensureElements(tensor, expected[name]!);
            }
          }
          for (const tensor of Object.values(given)) tensor.dispose();
        }
        for (const tensor of Object.values(fresh)) tensor.dispose();
        ensure(liveBuffers(gpu) === 0, `${liveBuffers(gpu)} buffers are left`);
        await session.dispose();
      },
    },
    {
      name: "webgpu: from a network through a kernel to the result is one read-back",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        const gpu = device.gpu!;
        const session = await device.engine.load(product());
        const rng = new Rng(seed);
        const a = integers(rng, [9, 8]), b = integers(rng, [8, 7]);
        using onDevice = await GpuTensor.upload(gpu, b);
        using y = GpuTensor.allocate(gpu, "float32", [9, 7]);
        const twice = expectedProduct(a, b).map((v) => 2 * v);
        const readBacks = await countReadBacks(gpu, async () => {
          const outputs = await session.run({ a, b: onDevice });
          using fresh = outputs.y as GpuTensor<"float32">;
          using doubled = double(gpu, fresh);
          await ensureElements(doubled, twice);
        });
        ensure(readBacks === 1, `${readBacks} read-backs for an output of its own`);
        const again = await countReadBacks(gpu, async () => {
          await session.run({ a, b: onDevice }, { y });
          using doubled = double(gpu, y);
          await ensureElements(doubled, twice);
        });
        ensure(again === 1, `${again} read-backs for a given output`);
        const toHost = await countReadBacks(gpu, async () => {
          const host = float32([9, 7]);
          await session.run({ a, b: onDevice }, { y: host });
          await ensureElements(host, expectedProduct(a, b));
        });
        ensure(toHost === 1, `${toHost} read-backs for an output in host memory`);
        await session.dispose();
      },
    },
    {
      name: "webgpu: networks read and write buffers of any length whole",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        const gpu = device.gpu!;
        const session = await device.engine.load(squares());
        for (const size of [1, 2, 3, 4, 5, 63, 64, 65]) {
          const numbers = Array.from({ length: size }, (_, i) => i + 1);
          using x = await GpuTensor.upload(gpu, float32([size], Float32Array.from(numbers)));
          using y = GpuTensor.allocate(gpu, "float32", [size]);
          await session.run({ x }, { y });
          await ensureElements(y, numbers.map((v) => v * v));
        }
        ensure(liveBuffers(gpu) === 0, `${liveBuffers(gpu)} buffers are left`);
        await session.dispose();
      },
    },
    {
      name: "webgpu: many runs of a network take no more device memory than a few",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        const counting = countDevice(device);
        const session = await counting.device.engine.load(product());
        const a = float32([64, 64]), b = float32([64, 64]);
        const y = GpuTensor.allocate(device.gpu!, "float32", [64, 64]);
        const levels: number[] = [];
        for (let i = 0; i < 60; i++) {
          const outputs = await session.run({ a, b }, i % 2 === 0 ? {} : { y });
          if (i % 2 === 0) outputs.y!.dispose();
          // A read-back, so that work does not pile up.
          if (i % 20 === 19) {
            await y.read();
            levels.push(counting.buffers());
          }
        }
        y.dispose();
        await session.dispose();
        counting.restore();
        ensure(levels[2]! <= levels[0]!, `buffers after 20, 40, 60 runs: ${levels}`);
        ensure(liveBuffers(device.gpu!) === 0, `${liveBuffers(device.gpu!)} tensors are left`);
      },
    },
    {
      name: "webgpu: tensors that a network can't use are refused by name",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        await using other = await acquireDevice("webgpu", onGpu);
        const session = await device.engine.load(product());
        const a = float32([2, 3]), b = float32([3, 2]);
        using foreign = await GpuTensor.upload(other.gpu!, b);
        using foreignOut = GpuTensor.allocate(other.gpu!, "float32", [2, 2]);
        using own = await GpuTensor.upload(device.gpu!, float32([2, 2]));
        const cases: [Promise<unknown>, unknown, string][] = [
          [thrownBy(() => session.run({ a, b: foreign })), DeviceError, 'input "b"'],
          [thrownBy(() => session.run({ a, b }, { y: foreignOut })), DeviceError, 'output "y"'],
          [
            thrownBy(() => session.run({ a: own, b: own }, { y: own })),
            OptionError,
            'output "y" shares memory with input "a"',
          ],
        ];
        for (const [thrown, type, words] of cases) {
          const error = await thrown as Error;
          ensure(error instanceof (type as typeof Error), `${error} is no ${type}`);
          ensure(error.message.includes(words), `"${error.message}" says no ${words}`);
        }
        const cpu = await acquireDevice("cpu", options);
        const onCpu = await cpu.engine.load(product());
        const error = await thrownBy(() => onCpu.run({ a, b }, { y: own }));
        ensure(error instanceof OptionError, `${error} is no OptionError`);
        // As an input the CPU reads it back.
        await ensureElements((await onCpu.run({ a: own, b: own })).y!, [0, 0, 0, 0]);
        const { y } = await session.run({ a, b });
        await ensureElements(y!, [0, 0, 0, 0]);
        y!.dispose();
        await onCpu.dispose();
        await session.dispose();
        await cpu.dispose();
      },
    },
    {
      name: "webgpu: a session whose run failed says so, others go on",
      async run() {
        await using device = await acquireDevice("webgpu", onGpu);
        const graph = new Graph("six");
        graph.output("y", ops.reshape(graph.input("x", ["N"]), [6]));
        const session = await device.engine.load(graph.toOnnx());
        const good = { x: float32([6]) };
        (await session.run(good)).y!.dispose();
        for (const inputs of [{ x: float32([5]) }, good]) {
          const error = await thrownBy(() => session.run(inputs));
          ensure(error instanceof ModelError, `${error} is no ModelError`);
        }
        await session.dispose();
        const another = await device.engine.load(graph.toOnnx());
        const { y } = await another.run(good);
        await ensureElements(y!, [0, 0, 0, 0, 0, 0]);
        y!.dispose();
        await another.dispose();
      },
    },
  ];
}

/** Checks that need a WebGPU adapter, be it software. */
export function gpuChecks(options: AcquireOptions, seed: number): Check[] {
  const host = detectHost();
  return [
    ...(host.networksOnGpu ? [...networkChecks(options, seed), ...zeroCopyChecks(options)] : []),
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
