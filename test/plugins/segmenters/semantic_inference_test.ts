import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import {
  semanticInference,
  type SemanticInput,
} from "../../../plugins/segmenters/semantic_inference.ts";

/** The definition, pixel by pixel in float64: every class's score at every pixel, C × H × W. */
function reference(input: SemanticInput): Float64Array {
  const { maskLogits, classLogits, numMasks, numClasses, hasVoid } = input;
  const { maskHeight, maskWidth, height, width } = input;
  const columns = numClasses + (hasVoid ? 1 : 0);
  const scores = new Float64Array(numClasses * height * width);
  const source = (i: number, outputs: number, inputs: number) => {
    const at = Math.max((i + 0.5) * inputs / outputs - 0.5, 0);
    const low = Math.min(Math.floor(at), inputs - 1);
    return { low, high: Math.min(low + 1, inputs - 1), weight: at - low };
  };
  for (let n = 0; n < numMasks; n++) {
    const row = Array.from({ length: columns }, (_, c) => classLogits[n * columns + c]!);
    const top = Math.max(...row);
    const sum = row.reduce((total, logit) => total + Math.exp(logit - top), 0);
    for (let y = 0; y < height; y++) {
      const v = source(y, height, maskHeight);
      for (let x = 0; x < width; x++) {
        const u = source(x, width, maskWidth);
        const at = (j: number, i: number) => maskLogits[(n * maskHeight + j) * maskWidth + i]!;
        const logit = (1 - v.weight) *
            ((1 - u.weight) * at(v.low, u.low) + u.weight * at(v.low, u.high)) +
          v.weight * ((1 - u.weight) * at(v.high, u.low) + u.weight * at(v.high, u.high));
        const inside = 1 / (1 + Math.exp(-logit));
        for (let c = 0; c < numClasses; c++) {
          scores[(c * height + y) * width + x]! += Math.exp(row[c]! - top) / sum * inside;
        }
      }
    }
  }
  return scores;
}

async function agree(input: SemanticInput): Promise<void> {
  const { labels, scores } = await semanticInference(input);
  const expected = reference(input);
  const pixels = input.height * input.width;
  for (let p = 0; p < pixels; p++) {
    let best = 0;
    let top = -1;
    for (let c = 0; c < input.numClasses; c++) {
      const score = expected[c * pixels + p]!;
      if (score > best) [best, top] = [score, c];
    }
    const label = labels[p]!;
    if (top < 0) {
      assert.equal(label, -1);
      continue;
    }
    // Another label may only win where the two scores are equal but for rounding.
    assert.ok(label >= 0 && label < input.numClasses, `pixel ${p} has label ${label}`);
    const score = expected[label * pixels + p]!;
    assert.ok(score >= best - 1e-12 * (1 + best), `pixel ${p}: ${label} for ${top}`);
    assert.ok(Math.abs(scores[p]! - best) <= 1e-6 * (1 + best), `pixel ${p}: score`);
  }
}

function drawn(seed: number, size: Omit<SemanticInput, "maskLogits" | "classLogits">, scale: {
  mask: number;
  class: number;
}): SemanticInput {
  const rng = new Rng(seed);
  const { numMasks, numClasses, hasVoid, maskHeight, maskWidth } = size;
  const normal = (length: number, by: number) =>
    Float32Array.from({ length }, () => by * rng.normal());
  return {
    ...size,
    maskLogits: normal(numMasks * maskHeight * maskWidth, scale.mask),
    classLogits: normal(numMasks * (numClasses + (hasVoid ? 1 : 0)), scale.class),
  };
}

Deno.test("labels and scores are those of the definition, at any size and magnitude", async () => {
  const side = (max: number) => fc.integer({ min: 1, max });
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.record({
        numMasks: side(6),
        numClasses: side(12),
        hasVoid: fc.boolean(),
        maskHeight: side(6),
        maskWidth: side(6),
        height: side(24),
        width: side(24),
      }),
      fc.record({
        mask: fc.constantFrom(0, 0.01, 1, 10, 300, 1e6),
        class: fc.constantFrom(0, 0.01, 1, 30),
      }),
      (seed, size, scale) => agree(drawn(seed, size, scale)),
    ),
    { numRuns: 80 },
  );
});

Deno.test("large cells, which are split into blocks, agree too", async () => {
  const size = {
    numMasks: 4,
    numClasses: 5,
    hasVoid: true,
    maskHeight: 2,
    maskWidth: 2,
    height: 50,
    width: 300,
  };
  for (const [seed, mask] of [[1, 1], [2, 6], [3, 200]] as const) {
    await agree(drawn(seed, size, { mask, class: 0.3 }));
  }
});

const small = { numMasks: 2, maskHeight: 1, maskWidth: 1, height: 2, width: 3 };

Deno.test("equal classes fall to the lower one", async () => {
  const classLogits = [0, 2, 2, 1, 0, 3, 3, 3];
  const { labels } = await semanticInference({
    ...small,
    numClasses: 4,
    hasVoid: false,
    maskLogits: [1, -1],
    classLogits,
  });
  assert.deepEqual([...labels], Array(6).fill(1));
});

Deno.test("void takes probability but never wins", async () => {
  const input = { ...small, numClasses: 2, hasVoid: true, maskLogits: [9, -9] };
  const { labels, scores } = await semanticInference({
    ...input,
    classLogits: [0, Math.log(2), Math.log(7), 0, 0, 0],
  });
  assert.deepEqual([...labels], Array(6).fill(1));
  const inside = 1 / (1 + Math.exp(-9));
  assert.ok(Math.abs(scores[0]! - (0.2 * inside + (1 - inside) / 3)) < 1e-6);
});

Deno.test("pixels below the threshold, and pixels that nothing covers, are void", async () => {
  const input = { ...small, numClasses: 1, hasVoid: true, classLogits: [0, 0, 0, 0] };
  const below = await semanticInference({ ...input, maskLogits: [0, 0], threshold: 0.51 });
  assert.deepEqual([...below.labels], Array(6).fill(-1));
  assert.deepEqual([...below.scores], Array(6).fill(0));
  const above = await semanticInference({ ...input, maskLogits: [0, 0], threshold: 0.5 });
  assert.deepEqual([...above.labels], Array(6).fill(0));
  const nothing = await semanticInference({ ...input, maskLogits: [-1e6, -1e6] });
  assert.deepEqual([...nothing.labels], Array(6).fill(-1));
  const noMasks = await semanticInference({
    ...input,
    numMasks: 0,
    maskLogits: [],
    classLogits: [],
  });
  assert.deepEqual([...noMasks.labels], Array(6).fill(-1));
});

Deno.test("logits that are no numbers are refused by name", async () => {
  const input = { ...small, numClasses: 2, hasVoid: false };
  await assert.rejects(
    semanticInference({ ...input, maskLogits: [0, NaN], classLogits: [0, 0, 0, 0] }),
    (error: unknown) => error instanceof ModelError && /mask 1 hold NaN/.test(error.message),
  );
  await assert.rejects(
    semanticInference({ ...input, maskLogits: [0, 0], classLogits: [0, 0, NaN, 0] }),
    /class logits of mask 1 hold NaN/,
  );
});

Deno.test("an abort ends the work with its reason", async () => {
  const reason = new Error("enough");
  const size = {
    numMasks: 32,
    numClasses: 20,
    hasVoid: true,
    maskHeight: 32,
    maskWidth: 32,
    height: 1500,
    width: 1500,
  };
  const controller = new AbortController();
  let reports = 0;
  await assert.rejects(
    semanticInference(drawn(1, size, { mask: 5, class: 1 }), {
      signal: controller.signal,
      progress: (done, total) => {
        assert.ok(done <= total);
        reports++;
        controller.abort(reason);
      },
    }),
    reason,
  );
  assert.equal(reports, 1);
});
