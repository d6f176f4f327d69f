import assert from "node:assert/strict";
import fc from "fast-check";
import { Rng } from "../../../lib/rng.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import type { VocabularySlot } from "../../../lib/stages/slots.ts";
import type { StageContext } from "../../../lib/stages/stage.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import { geometricEnsembleClassifier } from "../../../plugins/classifiers/geometric_ensemble.ts";
import { queryVoidClassifier } from "../../../plugins/classifiers/query_void.ts";
import { trainedWordsClassifier } from "../../../plugins/classifiers/trained_words.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";

const device = fakeDevice();
const context: StageContext = { device, signal: new AbortController().signal, progress() {} };
const classifiers = [trainedWordsClassifier, queryVoidClassifier, geometricEnsembleClassifier];

function draw(seed: number, masks: number, classes: number, size = 5) {
  const rng = new Rng(seed);
  const rows = (count: number) =>
    float32([count, size], Float32Array.from({ length: count * size }, () => rng.normal()));
  const fused = rows(masks);
  return {
    text: rows(classes),
    queryEmbeddings: rows(masks),
    fused,
    pooled: { embeddings: fused, empty: new HostTensor("uint8", [masks], new Uint8Array(masks)) },
  };
}

async function classify(
  plugin: (typeof classifiers)[number],
  drawn: ReturnType<typeof draw>,
  vocabulary: VocabularySlot,
  options: Record<string, number> = {},
  trained?: readonly string[],
): Promise<number[]> {
  const model = { voidEmbedding: [1, -2, 0.5, 0, 1], logitScale: 9, ...trained && { trained } };
  const models = modelsIn({ "ovsnet.json": new TextEncoder().encode(JSON.stringify(model)) });
  const stage = await openStage(plugin, options, { device, models });
  const { classLogits } = await stage.run({ ...drawn, vocabulary } as never, context);
  const { logits, hasVoid } = classLogits!;
  assert.ok(hasVoid);
  return [...await logits.read()];
}

const named = (names: readonly string[], trained?: readonly boolean[]): VocabularySlot => ({
  names,
  active: names.map((_, c) => c),
  ...trained && { trained },
});

Deno.test("trained words: the geometric ensemble of queries and fused rows, these alone on others", async () => {
  const flags = fc.array(fc.boolean(), { minLength: 1, maxLength: 6 });
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 4 }), flags, share, async (
      seed,
      masks,
      trained,
      queryShare,
    ) => {
      const drawn = draw(seed, masks, trained.length);
      const vocabulary = named(trained.map((_, c) => `class ${c}`), trained);
      const found = await classify(trainedWordsClassifier, drawn, vocabulary, { queryShare });
      const shares = { alpha: 1 - queryShare, beta: 1 };
      const expected = await classify(geometricEnsembleClassifier, drawn, vocabulary, shares);
      assert.deepEqual(found, expected);
    }),
  );
});

Deno.test("trained words: where nothing was trained on, or nobody knows, only void is the queries'", async () => {
  const drawn = draw(3, 4, 3);
  const vocabulary = named(["dog", "cow", "ear"]);
  const expected = await classify(queryVoidClassifier, drawn, vocabulary);
  assert.deepEqual(await classify(trainedWordsClassifier, drawn, vocabulary), expected);
  assert.deepEqual(await classify(trainedWordsClassifier, drawn, vocabulary, {}, []), expected);
  assert.notDeepEqual(
    await classify(trainedWordsClassifier, drawn, vocabulary, {}, ["ear"]),
    expected,
  );
});

Deno.test("trained words: the model's names count in any case, the vocabulary's flags above them", async () => {
  const drawn = draw(5, 3, 3);
  const names = ["Dog", "cow", " EAR "];
  const list = ["dog", "ear", "nose"];
  const expected = await classify(
    trainedWordsClassifier,
    drawn,
    named(names, [true, false, true]),
  );
  assert.deepEqual(await classify(trainedWordsClassifier, drawn, named(names), {}, list), expected);
  const flags = [false, true, false];
  assert.deepEqual(
    await classify(trainedWordsClassifier, drawn, named(names, flags), {}, list),
    await classify(trainedWordsClassifier, drawn, named(names, flags)),
  );
});
