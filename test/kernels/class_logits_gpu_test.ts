import assert from "node:assert/strict";
import fc from "fast-check";
import {
  gpuClassProbabilities,
  GpuCosineLogits,
  GpuQueryEnsemble,
} from "../../kernels/class_logits/gpu.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import { ShapeError } from "../../lib/errors.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";
import { classProbabilities } from "../../plugins/segmenters/semantic_inference.ts";
import { onGpu } from "./on_gpu.ts";

function normal(rng: Rng, rows: number, columns: number, scale = 1): HostTensor<"float32"> {
  const data = Float32Array.from({ length: rows * columns }, () => scale * rng.normal());
  return float32([rows, columns], data);
}

/** Rows as lists, in float64. */
function rowsOf(tensor: { data: Float32Array; shape: readonly number[] }): number[][] {
  const [rows, columns] = tensor.shape as readonly [number, number];
  return Array.from(
    { length: rows },
    (_, n) => [...tensor.data.subarray(n * columns, (n + 1) * columns)],
  );
}

const close = (a: number, b: number, tolerance: number) =>
  assert(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

onGpu("class logits on WebGPU: cosines, the largest over the words of a class", async ({ gpu }) => {
  using kernel = new GpuCosineLogits(gpu);
  const size = fc.integer({ min: 1, max: 70 });
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        ...{ rows: size, columns: size, seed: fc.nat() },
        counts: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 70 }),
        magnitude: fc.constantFrom(1, 1e-30, 1e30),
      }),
      async ({ rows, columns, counts, magnitude, seed }) => {
        const rng = new Rng(seed);
        const x = normal(rng, rows, columns, magnitude);
        x.data.fill(0, 0, columns);
        const starts = new Uint32Array(counts.length + 1);
        counts.forEach((count, c) => starts[c + 1] = starts[c]! + count);
        const words = { rows: normal(rng, starts.at(-1)!, columns), starts };
        const units = rowsOf(x).map((row) => {
          const norm = Math.hypot(...row) || 1;
          return row.map((value) => value / norm);
        });
        using onDevice = await GpuTensor.upload(gpu, x);
        // Twice: the second run finds the words on the device.
        for (let run = 0; run < 2; run++) {
          using logits = await kernel.run(onDevice, words, 7);
          const got = await logits.read();
          units.forEach((unit, n) => {
            counts.forEach((_, c) => {
              const dots = rowsOf(words.rows).slice(starts[c], starts[c + 1]).map((word) =>
                word.reduce((sum, value, d) => sum + value * unit[d]!, 0)
              );
              close(got[n * counts.length + c]!, 7 * Math.max(...dots), 1e-4);
            });
          });
        }
      },
    ),
    { numRuns: 25, seed: 5 },
  );
  using wrong = await GpuTensor.upload(gpu, normal(new Rng(1), 2, 3));
  const words = { rows: normal(new Rng(2), 2, 4), starts: Uint32Array.of(0, 1, 2) };
  await assert.rejects(kernel.run(wrong, words, 1), ShapeError);
});

onGpu("class probabilities on WebGPU: those of the host, void left out", async ({ gpu }) => {
  const size = fc.integer({ min: 1, max: 200 });
  const extremes = fc.array(fc.tuple(fc.nat(), fc.constantFrom(-Infinity, 80, -3e38, 3e38)), {
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.record({ numMasks: fc.integer({ min: 1, max: 5 }), numClasses: size, seed: fc.nat() }),
      fc.boolean(),
      extremes,
      async ({ numMasks, numClasses, seed }, hasVoid, special) => {
        const logits = normal(new Rng(seed), numMasks, numClasses + Number(hasVoid), 3);
        for (const [at, value] of special) logits.data[at % logits.data.length] = value;
        using onDevice = await GpuTensor.upload(gpu, logits);
        using found = await gpuClassProbabilities(onDevice, numClasses);
        const expected = classProbabilities(
          { classLogits: logits.data, numMasks, numClasses, hasVoid },
          new Float32Array(numMasks * numClasses),
        );
        (await found.read()).forEach((value, i) => close(value, expected[i]!, 1e-5));
      },
    ),
    { numRuns: 40, seed: 6 },
  );
  for (const bad of [NaN, Infinity]) {
    const logits = float32([2, 3], Float32Array.of(1, 2, bad, 1, 2, -Infinity));
    using onDevice = await GpuTensor.upload(gpu, logits);
    using found = await gpuClassProbabilities(onDevice, 2);
    const rows = await found.read();
    assert(rows.subarray(0, 2).every(Number.isNaN), "a fault in the void column counts too");
    assert(rows.subarray(2).every(Number.isFinite));
  }
});

onGpu("void by the queries on WebGPU: probabilities of a whole", async ({ gpu }) => {
  const rng = new Rng(9);
  using ensemble = new GpuQueryEnsemble(gpu);
  for (const [rows, classes] of [[1, 1], [3, 5], [2, 130]] as const) {
    const [a, q] = [normal(rng, rows, classes + 1, 20), normal(rng, rows, classes + 1, 20)];
    using logits = await GpuTensor.upload(gpu, a);
    using query = await GpuTensor.upload(gpu, q);
    await ensemble.run(query, logits, new Float32Array(classes).fill(1));
    const got = rowsOf({ data: await query.read(), shape: a.shape });
    const softmax = (row: number[]) => {
      const top = Math.max(...row);
      const powers = row.map((value) => Math.exp(value - top));
      const sum = powers.reduce((x, y) => x + y);
      return powers.map((value) => value / sum);
    };
    rowsOf(a).forEach((row, n) => {
      const nothing = softmax(rowsOf(q)[n]!)[classes]!;
      const shares = softmax(row.slice(0, classes));
      close(Math.exp(got[n]![classes]!), nothing, 1e-5);
      shares.forEach((share, c) => close(Math.exp(got[n]![c]!), (1 - nothing) * share, 1e-5));
    });
  }
});
