import assert from "node:assert/strict";
import fc from "fast-check";
import { DeviceError, ModelError, ShapeError } from "../../../lib/errors.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { type DType, HostTensor, sizeOf, type Tensor } from "../../../lib/tensor.ts";
import { acquireDevice, isSoftwareAdapter, liveDevices } from "../../../plugins/runtimes/mod.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const byte = fc.integer({ min: 0, max: 255 });
const elements: { [T in DType]: (size: number) => fc.Arbitrary<HostTensor<T>["data"]> } = {
  float32: (size) => fc.float32Array({ minLength: size, maxLength: size }),
  float64: (size) => fc.float64Array({ minLength: size, maxLength: size }),
  float16: (size) => fc.uint16Array({ minLength: size, maxLength: size }),
  int32: (size) => fc.array(int32, exactly(size)).map((values) => Int32Array.from(values)),
  int64: (size) => fc.bigInt64Array({ minLength: size, maxLength: size }),
  uint8: (size) => fc.array(byte, exactly(size)).map((values) => Uint8Array.from(values)),
  bool: (size) => fc.array(fc.nat(1), exactly(size)).map((values) => Uint8Array.from(values)),
};

function exactly(size: number): { minLength: number; maxLength: number } {
  return { minLength: size, maxLength: size };
}

function transposed(dtype: DType): Uint8Array {
  const graph = new Graph("transposed");
  graph.output("y", ops.transpose(graph.input("x", ["N", "M"], dtype), [1, 0]));
  return graph.toOnnx();
}

const engine = await ortNodeEngine();

for (const dtype of Object.keys(elements) as DType[]) {
  Deno.test(`${dtype} elements cross ONNX Runtime bit by bit`, async () => {
    const session = await engine.load(transposed(dtype), { threads: 1 });
    const tensors = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))
      .chain((shape) =>
        (elements[dtype](sizeOf(shape)) as fc.Arbitrary<HostTensor["data"]>)
          .map((data) => new HostTensor<DType>(dtype, shape, data))
      );
    await fc.assert(
      fc.asyncProperty(tensors, async (x) => {
        const { y } = await session.run({ x });
        const [n, m] = x.shape as [number, number];
        assert.equal(y!.dtype, dtype);
        assert.deepEqual(y!.shape, [m, n]);
        const got = await y!.read();
        assert.equal(got.constructor, x.data.constructor);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < m; j++) assert.equal(got[j * n + i], x.data[i * m + j]);
        }
      }),
      { numRuns: 50, seed: 11 },
    );
    await session.dispose();
  });
}

Deno.test("every shape that the graph does not declare is refused, the rest runs", async () => {
  const graph = new Graph("sum");
  const a = graph.input("a", ["N", 3]);
  const b = graph.input("b", ["N", 3]);
  graph.output("y", ops.add(a, b));
  const session = await engine.load(graph.toOnnx(), { threads: 1 });
  const shape = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(shape, shape, async (shapeA, shapeB) => {
      const inputs = {
        a: new HostTensor("float32", shapeA),
        b: new HostTensor("float32", shapeB),
      };
      const declared = (shape: number[]) => shape.length === 2 && shape[1] === 3;
      if (declared(shapeA) && declared(shapeB) && shapeA[0] === shapeB[0]) {
        assert.deepEqual((await session.run(inputs)).y!.shape, shapeA);
      } else {
        const culprit = declared(shapeA) ? /input "b"/ : /input "a"/;
        await assert.rejects(session.run(inputs), (error) => {
          assert(error instanceof ShapeError);
          assert.match(error.message, culprit);
          return true;
        });
      }
    }),
    { numRuns: 200, seed: 12, examples: [[[2, 3], [2, 3]], [[1, 3], [2, 3]]] },
  );
  await session.dispose();
});

Deno.test("bytes that are no model are a ModelError of one line", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await assert.rejects(engine.load(bytes), (error) => {
        assert(error instanceof ModelError, String(error));
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    }),
    { numRuns: 100, seed: 13 },
  );
});

Deno.test("a disposed session says so, and disposing twice is harmless", async () => {
  const session = await engine.load(transposed("float32"));
  const x: Tensor = new HostTensor("float32", [1, 1]);
  await session.run({ x });
  await session.dispose();
  await session.dispose();
  await assert.rejects(session.run({ x }), ModelError);
});

Deno.test("without an adapter auto falls back and webgpu is an error that says what to do", async () => {
  const { gpu } = navigator;
  const original = gpu.requestAdapter;
  const before = liveDevices();
  gpu.requestAdapter = () => Promise.resolve(null);
  try {
    const device = await acquireDevice("auto");
    assert.equal(device.kind, "cpu");
    assert.match(device.fallbackReason!, /no WebGPU adapter.*mesa-vulkan-drivers/);
    await device.dispose();
    await assert.rejects(acquireDevice("webgpu"), (error) => {
      assert(error instanceof DeviceError);
      assert.match(error.message, /apt-get install mesa-vulkan-drivers/);
      return true;
    });
    assert.equal(liveDevices(), before);
  } finally {
    gpu.requestAdapter = original;
  }
});

Deno.test("software drivers are told from hardware", () => {
  const info = (description: string, isFallbackAdapter = false) =>
    ({
      architecture: "",
      device: "",
      vendor: "",
      description,
      isFallbackAdapter,
    }) as GPUAdapterInfo;
  assert(isSoftwareAdapter(info("llvmpipe (LLVM 15.0.6, 256 bits)")));
  assert(isSoftwareAdapter(info("SwiftShader driver 5.0.0")));
  assert(isSoftwareAdapter(info("anything", true)));
  assert(!isSoftwareAdapter(info("NVIDIA H100")));
  assert(!isSoftwareAdapter(info("Apple M1")));
});
