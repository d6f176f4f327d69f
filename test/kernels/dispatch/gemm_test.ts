import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool } from "../../../kernels/dispatch/buffer_pool.ts";
import { CommandList } from "../../../kernels/dispatch/command_list.ts";
import { Gemm, type MatrixLayout } from "../../../kernels/dispatch/gemm.ts";
import { GpuTensor } from "../../../kernels/dispatch/gpu_tensor.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import { onGpu } from "../on_gpu.ts";

/** Where an r×c matrix lies: the strides of one order or the other, with room between. */
function layout(rows: number, columns: number, byColumns: boolean, room: number): MatrixLayout {
  const [outer, inner] = byColumns ? [columns, rows] : [rows, columns];
  const stride = inner + room;
  const place = { offset: room, batchStride: outer * stride + room };
  return byColumns
    ? { ...place, rowStride: 1, columnStride: stride }
    : { ...place, rowStride: stride };
}

const size = fc.oneof(
  fc.integer({ min: 1, max: 9 }),
  fc.constantFrom(12, 16, 20, 32, 33, 64, 65, 68, 130),
);

for (const kernel of ["small", "tiled", "registers"] as const) {
  onGpu(
    `matrix products, ${kernel}: any layout, batch, alpha, beta and addend`,
    async ({ gpu, context }) => {
      context.gemmKernel = kernel;
      const arbitrary = fc.record({
        m: size,
        n: size,
        k: fc.oneof(size, fc.constantFrom(512, 700)),
        batches: fc.integer({ min: 1, max: 3 }),
        aByColumns: fc.boolean(),
        bByColumns: fc.boolean(),
        room: fc.constantFrom(0, 0, 4, 3),
        beta: fc.constantFrom(0, 0.5),
        addendOffset: fc.constantFrom(null, 0, 4, 1),
        seed: fc.integer({ min: 0, max: 1e6 }),
      });
      await fc.assert(
        fc.asyncProperty(arbitrary, async (c) => {
          const { m, n, k, batches, room } = c;
          const a = layout(m, k, c.aByColumns, room);
          const b = layout(k, n, c.bByColumns, room);
          const to = layout(m, n, false, room);
          const rng = new Rng(c.seed);
          const fill = (place: MatrixLayout) => {
            const data = new Float32Array(place.offset! + batches * place.batchStride!);
            return float32([data.length], data.map(() => rng.normal()));
          };
          const e = { ...to, offset: c.addendOffset ?? 0 };
          const apart = c.addendOffset === null ? {} : { e };
          const [hostA, hostB, hostC, hostE] = [fill(a), fill(b), fill(to), fill(e)];
          using gpuA = await GpuTensor.upload(gpu, hostA);
          using gpuB = await GpuTensor.upload(gpu, hostB);
          using gpuC = await GpuTensor.upload(gpu, hostC);
          using gpuE = await GpuTensor.upload(gpu, hostE);
          const gemm = await Gemm.prepare(context, { batches, m, n, k, a, b, c: to, ...apart });
          using pool = new BufferPool(context);
          await context.guard("test", () => {
            const partials = pool.take("partials", 4 * gemm.partialElements);
            const list = new CommandList(context);
            const options = {
              alpha: -2,
              beta: c.beta,
              partials,
              ...(c.addendOffset === null ? {} : { e: gpuE.buffer }),
            };
            gemm.encode(list, gpuA.buffer, gpuB.buffer, gpuC.buffer, options);
            list.submit();
          });
          const got = await gpuC.read();
          const at = (p: MatrixLayout, i: number, j: number, batch: number) =>
            p.offset! + batch * p.batchStride! + i * p.rowStride + j * (p.columnStride ?? 1);
          const expected = Float64Array.from(hostC.data);
          for (let batch = 0; batch < batches; batch++) {
            for (let i = 0; i < m; i++) {
              for (let j = 0; j < n; j++) {
                let sum = 0;
                for (let l = 0; l < k; l++) {
                  sum += hostA.data[at(a, i, l, batch)]! * hostB.data[at(b, l, j, batch)]!;
                }
                const addend = c.addendOffset === null
                  ? hostC.data[at(to, i, j, batch)]!
                  : hostE.data[at(e, i, j, batch)]!;
                expected[at(to, i, j, batch)] = -2 * sum + c.beta * addend;
              }
            }
          }
          // What lies between the matrices must stay as it is.
          for (const [i, value] of got.entries()) {
            const error = Math.abs(value - expected[i]!);
            assert(error <= 2e-6 * Math.sqrt(k) * 4, `element ${i}: ${value}, not ${expected[i]}`);
          }
        }),
        { numRuns: kernel === "registers" ? 40 : 60, seed: 7 },
      );
    },
  );
}
