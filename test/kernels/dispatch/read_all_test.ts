import assert from "node:assert/strict";
import { GpuTensor } from "../../../kernels/dispatch/gpu_tensor.ts";
import { readAll } from "../../../kernels/dispatch/read_all.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import { countReadBacks } from "../../count_transfers.ts";
import { onGpu } from "../on_gpu.ts";

onGpu("tensors of a device are read together by one read-back", async ({ gpu }) => {
  const numbers = [
    new HostTensor("uint8", [5], Uint8Array.of(1, 2, 3, 4, 250)),
    new HostTensor("int64", [2], BigInt64Array.of(-(2n ** 40n), 7n)),
    float32([0, 3]),
    float32([], Float32Array.of(0.5)),
    new HostTensor("int32", [3], Int32Array.of(-1, 0, 7)),
  ];
  const onDevice = await Promise.all(numbers.map((tensor) => GpuTensor.upload(gpu, tensor)));
  const host = float32([1], Float32Array.of(9));
  const count = await countReadBacks(gpu, async () => {
    const all = await readAll([host, ...onDevice, onDevice[0]!]);
    const expected = [host, ...numbers, numbers[0]!].map(({ data }) => data);
    assert.deepEqual(all, expected);
  });
  assert.equal(count, 1);
  for (const tensor of onDevice) tensor.dispose();
});

onGpu("what a kernel found out about a tensor reaches every reader", async ({ gpu }) => {
  using fault = await GpuTensor.upload(gpu, new HostTensor("int32", [1], Int32Array.of(3)));
  let released = 0;
  using tensor = (await GpuTensor.upload(gpu, float32([2], Float32Array.of(1, 2)))).checked({
    buffer: fault.buffer,
    bytes: 4,
    check(found) {
      const [word] = new Int32Array(found);
      if (word !== 0) throw new RangeError(`fault ${word}`);
    },
  }, () => released++);
  using view = tensor.view([1, 2], () => {});
  for (const reader of [tensor, view]) {
    const count = await countReadBacks(gpu, async () => {
      await assert.rejects(reader.read(), /fault 3/);
    });
    assert.equal(count, 1);
  }
  gpu.queue.writeBuffer(fault.buffer, 0, Int32Array.of(0));
  assert.deepEqual(await view.read(), Float32Array.of(1, 2));
  tensor.dispose();
  tensor.dispose();
  assert.equal(released, 1);
});
