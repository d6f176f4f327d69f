import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import type { VocabularySlot } from "../../../lib/stages/slots.ts";
import type { StageContext } from "../../../lib/stages/stage.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import { geometricEnsembleClassifier } from "../../../plugins/classifiers/geometric_ensemble.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";

const device = fakeDevice();
const context: StageContext = { device, signal: new AbortController().signal, progress() {} };

interface Given {
  readonly masks: number;
  readonly classes: number;
  readonly size: number;
  readonly scale: number;
  readonly seed: number;
}

const cases: fc.Arbitrary<Given> = fc.record({
  masks: fc.integer({ min: 1, max: 5 }),
  classes: fc.integer({ min: 1, max: 6 }),
  size: fc.integer({ min: 1, max: 8 }),
  scale: fc.constantFrom(1, 20, 100),
  seed: fc.integer(),
});

function draw({ masks, classes, size, seed }: Given) {
  const rng = new Rng(seed);
  const rows = (count: number) =>
    float32([count, size], Float32Array.from({ length: count * size }, () => rng.normal()));
  const empty = Uint8Array.from({ length: masks }, () => rng.integer(2));
  const embeddings = rows(masks);
  empty.forEach((flag, n) => flag && embeddings.data.fill(0, n * size, (n + 1) * size));
  const names = Array.from({ length: classes }, (_, c) => `class ${c}`);
  return {
    voidEmbedding: Array.from({ length: size }, () => rng.normal()),
    text: rows(classes),
    queryEmbeddings: rows(masks),
    pooled: { embeddings, empty: new HostTensor("uint8", [masks], empty) },
    vocabulary: {
      names,
      active: names.map((_, c) => c),
      trained: names.map(() => rng.integer(2) === 1),
    },
  };
}

type Drawn = ReturnType<typeof draw>;

async function classify(
  drawn: Drawn,
  scale: number,
  options: Record<string, number>,
  vocabulary: VocabularySlot = drawn.vocabulary,
  model: Record<string, unknown> = {},
): Promise<Float32Array> {
  const json = JSON.stringify({ voidEmbedding: drawn.voidEmbedding, logitScale: scale, ...model });
  const models = modelsIn({ "ovsnet.json": new TextEncoder().encode(json) });
  const stage = await openStage(geometricEnsembleClassifier, options, { device, models });
  const { classLogits } = await stage.run({ ...drawn, vocabulary }, context);
  assert.ok(classLogits.hasVoid);
  return (await classLogits.logits.read()).slice();
}

function softmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - top));
  const sum = parts.reduce((a, b) => a + b);
  return parts.map((part) => part / sum);
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, x, d) => sum + x * b[d]!, 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b) || 1);
}

Deno.test("geometric ensemble: the definition, product by product", async () => {
  await fc.assert(fc.asyncProperty(
    cases,
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    async (given, alpha, beta) => {
      const drawn = draw(given);
      const { masks, classes, size } = given;
      const logits = await classify(drawn, given.scale, { alpha, beta });
      const row = ({ data }: HostTensor<"float32">, n: number) => [
        ...data.subarray(n * size, (n + 1) * size),
      ];
      const words = Array.from({ length: classes }, (_, c) => row(drawn.text, c));
      for (let n = 0; n < masks; n++) {
        const scores = (embedding: number[], among: number[][]) =>
          softmax(among.map((word) => given.scale * cosine(embedding, word)));
        const query = row(drawn.queryEmbeddings, n);
        const nothing = scores(query, [...words, drawn.voidEmbedding])[classes]!;
        const [ofQuery, ofClip] = [
          scores(query, words),
          scores(row(drawn.pooled.embeddings, n), words),
        ];
        const products = ofQuery.map((p, c) => {
          const share = drawn.pooled.empty.data[n] ? 0 : drawn.vocabulary.trained[c] ? alpha : beta;
          return p ** (1 - share) * ofClip[c]! ** share;
        });
        const sum = products.reduce((a, b) => a + b);
        const expected = [...products.map((p) => p / sum * (1 - nothing)), nothing];
        const found = softmax([...logits.subarray(n * (classes + 1), (n + 1) * (classes + 1))]);
        found.forEach((p, c) =>
          assert.ok(Math.abs(p - expected[c]!) < 1e-5, `${p}, ${expected[c]}`)
        );
        assert.ok(logits.every(Number.isFinite));
      }
    },
  ));
});

Deno.test("geometric ensemble: FC-CLIP's shares where none are given, by who was trained on", async () => {
  const drawn = draw({ masks: 3, classes: 4, size: 6, scale: 20, seed: 5 });
  drawn.pooled.empty.data.fill(0);
  const of = (trained: boolean, options: Record<string, number>) => {
    const flags = drawn.vocabulary.names.map(() => trained);
    return classify(drawn, 20, options, { ...drawn.vocabulary, trained: flags });
  };
  assert.deepEqual(await of(true, {}), await of(true, { alpha: 0.4, beta: 0.1 }));
  assert.deepEqual(await of(false, {}), await of(false, { alpha: 0.1, beta: 0.8 }));
  assert.notDeepEqual(await of(true, {}), await of(false, {}));
});

Deno.test("geometric ensemble: the vocabulary knows what was trained on, else the model, else nobody", async () => {
  const drawn = draw({ masks: 2, classes: 3, size: 4, scale: 20, seed: 9 });
  drawn.pooled.empty.data.fill(0);
  const { names, active } = drawn.vocabulary;
  const trained = [true, false, true];
  const expected = await classify(drawn, 20, {}, { names, active, trained });
  const model = { trained: ["class 0", "class 2", "pizza"] };
  assert.deepEqual(await classify(drawn, 20, {}, { names, active }, model), expected);
  const other = [false, false, true];
  assert.notDeepEqual(
    await classify(drawn, 20, {}, { names, active, trained: other }, model),
    expected,
  );
  await assert.rejects(
    classify(drawn, 20, {}, { names, active }),
    (error: unknown) =>
      error instanceof InputError && /geometric_ensemble.*"trained"/.test(error.message),
  );
});
