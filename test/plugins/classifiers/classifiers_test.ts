import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError, ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import type { StageContext } from "../../../lib/stages/stage.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { float32, type HostTensor } from "../../../lib/tensor.ts";
import { cosineClassifier } from "../../../plugins/classifiers/cosine.ts";
import { queryVoidClassifier } from "../../../plugins/classifiers/query_void.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";

const device: Device = fakeDevice();
const context: StageContext = { device, signal: new AbortController().signal, progress() {} };

function environment(model: unknown) {
  const bytes = new TextEncoder().encode(JSON.stringify(model));
  return { device, models: modelsIn({ "ovsnet.json": bytes }) };
}

function draw(rng: Rng, rows: number, columns: number, magnitude = 1): HostTensor<"float32"> {
  const data = Float32Array.from({ length: rows * columns }, () => magnitude * rng.normal());
  return float32([rows, columns], data);
}

const named = (count: number) => vocabulary(Array.from({ length: count }, (_, c) => `name ${c}`));

const row = (
  tensor: HostTensor<"float32">,
  n: number,
) => [...tensor.data.subarray(n * tensor.shape[1]!, (n + 1) * tensor.shape[1]!)];

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, x, d) => sum + x * b[d]!, 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b) || 1);
}

function softmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - top));
  const sum = parts.reduce((a, b) => a + b);
  return parts.map((part) => part / sum);
}

const cases = fc.record({
  seed: fc.integer(),
  masks: fc.integer({ min: 1, max: 5 }),
  classes: fc.integer({ min: 1, max: 6 }),
  size: fc.integer({ min: 1, max: 8 }),
  magnitude: fc.constantFrom(1e-20, 1, 1e20),
  scale: fc.constantFrom(1, 20, 100),
});

Deno.test('classifier "cosine" is the scaled cosine, void last, whatever the magnitude', async () => {
  await fc.assert(fc.asyncProperty(cases, async ({ seed, masks, classes, size, ...rest }) => {
    const rng = new Rng(seed);
    const fused = draw(rng, masks, size, rest.magnitude);
    const text = draw(rng, classes, size);
    const voidEmbedding = row(draw(rng, 1, size), 0);
    const stage = await openStage(
      cosineClassifier,
      {},
      environment({ voidEmbedding, logitScale: rest.scale }),
    );
    const { classLogits } = await stage.run({ vocabulary: named(classes), fused, text }, context);
    assert.ok(classLogits.hasVoid);
    const logits = classLogits.logits as HostTensor<"float32">;
    for (let n = 0; n < masks; n++) {
      row(logits, n).forEach((logit, c) => {
        const word = c < classes ? row(text, c) : voidEmbedding;
        const expected = rest.scale * cosine(row(fused, n).map((x) => x / rest.magnitude), word);
        assert.ok(Math.abs(logit - expected) < 1e-4 * rest.scale);
      });
    }
  }));
});

Deno.test('classifier "query_void" takes void from the query and the rest from the fused row', async () => {
  await fc.assert(fc.asyncProperty(cases, async ({ seed, masks, classes, size, scale }) => {
    const rng = new Rng(seed);
    const [fused, queryEmbeddings] = [draw(rng, masks, size), draw(rng, masks, size)];
    const text = draw(rng, classes, size);
    const voidEmbedding = row(draw(rng, 1, size), 0);
    const stage = await openStage(
      queryVoidClassifier,
      { logitScale: scale },
      environment({ voidEmbedding, logitScale: 7 }),
    );
    const { classLogits } = await stage.run(
      { vocabulary: named(classes), fused, queryEmbeddings, text },
      context,
    );
    const logits = classLogits.logits as HostTensor<"float32">;
    const words = Array.from({ length: classes }, (_, c) => row(text, c));
    for (let n = 0; n < masks; n++) {
      const query = row(queryEmbeddings, n);
      const nothing = softmax([...words, voidEmbedding].map((word) => scale * cosine(query, word)))
        .at(-1)!;
      const among = softmax(words.map((word) => scale * cosine(row(fused, n), word)));
      const expected = [...among.map((p) => (1 - nothing) * p), nothing];
      softmax(row(logits, n)).forEach((p, c) =>
        assert.ok(Math.abs(p - expected[c]!) < 1e-4, `${p} for ${expected[c]}`)
      );
      const total = row(logits, n).reduce((sum, logit) => sum + Math.exp(logit), 0);
      assert.ok(Math.abs(total - 1) < 1e-4, "the logits are logarithms of probabilities");
    }
  }));
});

Deno.test("a row of zeros is equally far from everything", async () => {
  const stage = await openStage(
    cosineClassifier,
    {},
    environment({ voidEmbedding: [1, 2], logitScale: 20 }),
  );
  const { classLogits } = await stage.run(
    { vocabulary: named(3), fused: float32([1, 2]), text: draw(new Rng(1), 3, 2) },
    context,
  );
  assert.deepEqual([...await classLogits.logits.read()], [0, 0, 0, 0]);
});

Deno.test("a model that is no classifier's, or of another size, is refused by name", async () => {
  for (const model of [{}, null, { voidEmbedding: ["a"], logitScale: 1 }, { voidEmbedding: [1] }]) {
    await assert.rejects(openStage(cosineClassifier, {}, environment(model)), ModelError);
  }
  const stage = await openStage(
    cosineClassifier,
    {},
    environment({ voidEmbedding: [1, 2], logitScale: 20 }),
  );
  await assert.rejects(
    async () =>
      await stage.run(
        { vocabulary: named(2), fused: float32([1, 3]), text: float32([2, 3]) },
        context,
      ),
    (error: unknown) =>
      error instanceof ShapeError &&
      /classifier "cosine": text has 3 features per row, the void embedding in ovsnet\.json has 2/
        .test(error.message),
  );
});
