import assert from "node:assert/strict";
import fc from "fast-check";
import { tensorUsage } from "../../../kernels/dispatch/context.ts";
import { refuseNonfinite } from "../../../kernels/dispatch/refuse_nonfinite.ts";
import { InputError } from "../../../lib/errors.ts";
import { toFloat16 } from "../../../lib/float16.ts";
import { onGpu } from "../on_gpu.ts";

onGpu("the search for NaN and infinity names the first, wherever it is", async ({ context }) => {
  const unlimited = context.bindingLimit;
  const bad = fc.constantFrom(NaN, Infinity, -Infinity);
  const one = fc.record({
    // In blocks of 1,024 words, in what is left of them, and in several bindings.
    length: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1000, max: 9000 })),
    limit: fc.constantFrom(unlimited, 768, 9000),
    type: fc.constantFrom("f32" as const, "f16" as const),
    faults: fc.array(fc.record({ at: fc.nat(8999), value: bad }), { maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.tuple(one, one), async (cases) => {
      const tensors = [];
      let expected: string | null = null;
      for (const [i, { length, type, faults }] of cases.entries()) {
        const half = type === "f16";
        const data = half
          ? new Uint16Array(length + length % 2).fill(toFloat16(-65504))
          : new Float32Array(length).fill(3.4e38);
        // Beyond the last element, half a word of anything.
        if (half && length % 2) data[length] = toFloat16(NaN);
        let first = length;
        for (const { at, value } of faults) {
          data[at % length] = half ? toFloat16(value) : value;
          first = Math.min(first, at % length);
        }
        if (first < length) expected ??= `test: tensor ${i}[${first}] is `;
        const buffer = context.createBuffer("test", data.byteLength, tensorUsage);
        context.gpu.queue.writeBuffer(buffer, 0, data);
        tensors.push({ name: `tensor ${i}`, buffer, shape: [length], type });
      }
      context.bindingLimit = Math.min(...cases.map(({ limit }) => limit));
      const verdict = refuseNonfinite(context, "test", tensors);
      if (expected === null) await verdict;
      else {
        await assert.rejects(
          verdict,
          (error) => error instanceof InputError && error.message.startsWith(expected!),
        );
      }
      for (const { buffer } of tensors) context.destroyBuffer(buffer);
    }),
    { numRuns: 60, seed: 3 },
  );
  context.bindingLimit = unlimited;
});
