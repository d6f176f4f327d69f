import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { modelsAt, modelsIn } from "../../../lib/stages/models.ts";
import { pipeline } from "../../../lib/stages/pipeline.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import type { SynonymPooling, VocabularySlot } from "../../../lib/stages/slots.ts";
import { defineStage, type StageContext } from "../../../lib/stages/stage.ts";
import { synonymRows, textRowCount } from "../../../lib/stages/synonyms.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { float32, type HostTensor } from "../../../lib/tensor.ts";
import { cosineClassifier } from "../../../plugins/classifiers/cosine.ts";
import { geometricEnsembleClassifier } from "../../../plugins/classifiers/geometric_ensemble.ts";
import { queryVoidClassifier } from "../../../plugins/classifiers/query_void.ts";
import { trainedWordsClassifier } from "../../../plugins/classifiers/trained_words.ts";
import { textEncoder } from "../../../plugins/encoders/text_encoder.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { datasetVocabulary } from "../../../plugins/evaluation/vocabularies.ts";
import { builtinVocabulary } from "../../../plugins/vocabularies/builtin_vocabularies.ts";
import { photoTemplate, vildTemplates } from "../../../plugins/vocabularies/prompt_templates.ts";
import { synonymPooling } from "../../../plugins/vocabularies/synonym_pooling.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";
import { writeTinyModels } from "../commands/tiny_models.ts";

const device = fakeDevice();
const context: StageContext = { device, signal: new AbortController().signal, progress() {} };

/** Classes of one to four synonyms, some of them no longer in the running. */
const vocabularies = fc.record({
  counts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
  pooling: fc.constantFrom<SynonymPooling | undefined>("mean", "max", undefined),
  seed: fc.nat(),
}).map(({ counts, pooling, seed }): VocabularySlot => {
  const rng = new Rng(seed);
  const synonyms = counts.map((n, c) => Array.from({ length: n }, (_, i) => `name ${c} ${i}`));
  const slot = vocabulary(synonyms.map(([name]) => name!), { synonyms });
  const stays = slot.active.filter(() => rng.integer(3) > 0);
  const active = stays.length > 0 ? stays : [0];
  return pooling === undefined ? { ...slot, active } : { ...slot, active, pooling };
});

function draw(rng: Rng, rows: number, columns: number): HostTensor<"float32"> {
  const data = Float32Array.from({ length: rows * columns }, () => rng.normal());
  return float32([rows, columns], data);
}

Deno.test("synonyms: rows stand for all names of the classes in the running, in order", () => {
  fc.assert(fc.property(vocabularies, (slot) => {
    const { names, classes } = synonymRows(slot);
    const expected = slot.active.flatMap((index, c) =>
      (slot.pooling === undefined ? [slot.names[index]!] : slot.synonyms![index]!)
        .map((name) => [name, c])
    );
    assert.deepEqual(names.map((name, row) => [name, classes[row]]), expected);
    const rows = slot.pooling === "max" ? expected.length : slot.active.length;
    assert.equal(textRowCount(slot), rows);
  }));
});

Deno.test("synonyms: the largest logit of a class's synonyms is the class's, in every classifier", async () => {
  const models = modelsIn({
    "ovsnet.json": new TextEncoder().encode(
      JSON.stringify({ voidEmbedding: [0.3, -0.5, 0.2], logitScale: 7, trained: [] }),
    ),
  });
  const open = <const Plugin extends Parameters<typeof openStage>[0]>(plugin: Plugin) =>
    openStage(plugin, {}, { device, models });
  const [cosine, queryVoid, trainedWords, ensemble] = await Promise.all([
    open(cosineClassifier),
    open(queryVoidClassifier),
    open(trainedWordsClassifier),
    open(geometricEnsembleClassifier),
  ]);
  await fc.assert(fc.asyncProperty(vocabularies, fc.nat(), async (slot, seed) => {
    const rng = new Rng(seed);
    const masks = 2;
    const vocabulary = { ...slot, pooling: "max" } as const;
    const { names, classes } = synonymRows(vocabulary);
    const text = draw(rng, names.length, 3);
    const [fused, queryEmbeddings] = [draw(rng, masks, 3), draw(rng, masks, 3)];
    const pooled = {
      embeddings: draw(rng, masks, 3),
      empty: {
        ...float32([masks]),
        dtype: "uint8",
        read: () => Promise.resolve(new Uint8Array(2)),
      },
    };
    const inputs = { vocabulary, text, fused, queryEmbeddings, pooled } as never;
    // Each mask sees, of every class, the synonym that its own embedding is nearest to.
    const nearest = (rows: HostTensor<"float32">, n: number) => {
      const picked = new Map<number, { row: number; value: number }>();
      classes.forEach((c, row) => {
        let [dot, norm] = [0, 0];
        for (let d = 0; d < 3; d++) {
          dot += rows.data[n * 3 + d]! * text.data[row * 3 + d]!;
          norm += text.data[row * 3 + d]! ** 2;
        }
        const value = dot / Math.sqrt(norm);
        if (value > (picked.get(c)?.value ?? -Infinity)) picked.set(c, { row, value });
      });
      return [...picked.values()].map(({ row }) => text.data.subarray(row * 3, row * 3 + 3));
    };
    const plain = { names: slot.names, active: slot.active };
    const { logits } = (await cosine.run(inputs, context)).classLogits!;
    const all = await logits.read();
    const columns = slot.active.length + 1;
    assert.deepEqual(logits.shape, [masks, columns]);
    for (let n = 0; n < masks; n++) {
      const rows = float32(
        [columns - 1, 3],
        Float32Array.from(nearest(fused, n).flatMap((r) => [...r])),
      );
      const own = await cosine.run(
        {
          vocabulary: plain,
          fused: float32([1, 3], fused.data.slice(3 * n, 3 * n + 3)),
          text: rows,
        } as never,
        context,
      );
      const expected = await own.classLogits!.logits.read();
      assert.deepEqual(all.subarray(n * columns, (n + 1) * columns), expected);
    }
    for (const stage of [queryVoid, trainedWords, ensemble]) {
      const { logits } = (await stage.run(inputs, context)).classLogits!;
      assert.deepEqual(logits.shape, [masks, columns]);
      const read = await logits.read();
      for (let n = 0; n < masks; n++) {
        const row = read.subarray(n * columns, (n + 1) * columns);
        const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
        assert.ok(Math.abs(total - 1) < 1e-4, `${total}`);
      }
    }
  }));
});

Deno.test("synonyms: the pipeline checks that there is a row of text for each", async () => {
  const synonyms = [["dog", "hound"], ["cat"]];
  const encoder = (rows: number) =>
    defineStage({
      role: "text-encoder",
      name: "fixed",
      needs: ["vocabulary"],
      gives: ["text"],
      run: () => ({ text: float32([rows, 2]) }),
    });
  const pool = await openStage(synonymPooling, {}, { device, models: modelsIn({}) });
  const run = async (rows: number, slot: VocabularySlot) => {
    await using chain = pipeline(device, ["vocabulary"]).pipe(pool).pipe(encoder(rows));
    using result = await chain.run({ vocabulary: slot });
    return result.outputs.text.shape[0];
  };
  assert.equal(await run(3, vocabulary(["dog", "cat"], { synonyms })), 3);
  assert.equal(await run(2, vocabulary(["dog", "cat"])), 2);
  await assert.rejects(run(2, vocabulary(["dog", "cat"], { synonyms })), (error: unknown) => {
    assert.ok(error instanceof ShapeError);
    assert.match(error.message, /text has 2 text embeddings, vocabulary has 3; both must be T/);
    return true;
  });
  for (
    const [wrong, message] of [
      [[["dog"]], /has 1 lists of synonyms for 2 names/],
      [[["dog"], ["kitty", "cat"]], /synonyms of "cat" that begin with "kitty"/],
      [[["dog"], []], /synonyms of "cat"/],
    ] as const
  ) {
    await assert.rejects(run(2, vocabulary(["dog", "cat"], { synonyms: wrong })), message);
  }
});

Deno.test("synonyms: those of a data set reach the vocabulary, and distractors have none", () => {
  const slot = datasetVocabulary(
    { name: "pc59", classes: builtinVocabulary("pc59") },
    null,
    ["unicorn"],
  );
  assert.deepEqual(slot.synonyms?.[0], ["aeroplane", "airplane"]);
  assert.deepEqual(slot.synonyms?.[59], ["unicorn"]);
  assert.equal(slot.pooling, undefined);
});

Deno.test("text encoder: templates and synonyms are averaged as the pooling says", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ovs-text-"));
  await using device = await acquireDevice("cpu");
  try {
    writeTinyModels(folder);
    const environment = { device, models: modelsAt(pathToFileURL(`${folder}/`)) };
    const encode = async (
      slot: VocabularySlot,
      options: { prompts?: string; templates?: string[]; maxTokens?: number } = {},
    ) => {
      const stage = await openStage(textEncoder, options as Record<string, never>, environment);
      try {
        const { text } = await stage.run({ vocabulary: slot }, { ...context, device });
        const [rows, size] = text.shape as readonly [number, number];
        const data = await text.read();
        return Array.from({ length: rows }, (_, r) => [...data.slice(r * size, (r + 1) * size)]);
      } finally {
        await stage.dispose?.();
      }
    };
    const mean = (rows: readonly (readonly number[])[]) => {
      const sum = rows[0]!.map((_, d) => rows.reduce((total, row) => total + row[d]!, 0));
      const norm = Math.hypot(...sum);
      return sum.map((x) => x / norm);
    };
    const near = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]) => {
      assert.equal(a.length, b.length);
      a.forEach((row, r) => row.forEach((x, d) => assert.ok(Math.abs(x - b[r]![d]!) < 2e-6)));
    };

    const synonyms = [["dog", "hound", "a dog"], ["cat"], ["guitar", "slice of guitar"]];
    const names = synonyms.map(([name]) => name!);
    const plain = vocabulary(names);
    const rich = vocabulary(names, { synonyms });
    const first = await encode(plain);
    // Synonyms count for nothing until somebody asks.
    assert.deepEqual(await encode(rich), first);

    const each = await encode(vocabulary(synonyms.flat()));
    assert.deepEqual(await encode({ ...rich, pooling: "max" }), each);
    const active = [0, 2];
    assert.deepEqual(
      await encode({ ...rich, active, pooling: "max" }),
      [...each.slice(0, 3), ...each.slice(4)],
    );
    near(await encode({ ...rich, active, pooling: "mean" }), [
      mean(each.slice(0, 3)),
      mean(each.slice(4)),
    ]);

    for (const [prompts, list] of [["photo", [photoTemplate]], ["vild", vildTemplates]] as const) {
      const single = await Promise.all(
        list.map((template) => encode(plain, { templates: [template] })),
      );
      const expected = names.map((_, c) => mean(single.map((rows) => rows[c]!)));
      near(await encode(plain, { prompts }), expected);
    }
    assert.equal(new Set(vildTemplates).size, 14);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
