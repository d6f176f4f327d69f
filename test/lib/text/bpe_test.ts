import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError, ModelError, OptionError } from "../../../lib/errors.ts";
import { BpeTokenizer, normalizeText, trainBpe } from "../../../lib/text/bpe.ts";

const names = [
  "red panda",
  "giant panda",
  "slice of pizza",
  "person: medium skin tone",
  "dog's face",
  "1st place medal",
  "crème brûlée",
  "小笼包",
];
const tokenizer = new BpeTokenizer(trainBpe(names.map((name) => [name, 5] as const), 640));
const anyText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.array(fc.constantFrom("panda", "Pizza", "🍕", "👨‍👩‍👧", "小笼包", "'s", " ", "é", "12"))
    .map((parts) => parts.join("")),
);

Deno.test("decoding gives the normalised words back, for any string", () => {
  fc.assert(fc.property(anyText, (text) => {
    const decoded = tokenizer.decode(tokenizer.encode(text));
    assert.equal(decoded.replaceAll(/\s/gu, ""), normalizeText(text).replaceAll(/\s/gu, ""));
    assert.deepEqual(tokenizer.encode(decoded), tokenizer.encode(text));
  }));
});

Deno.test("case, Unicode form and white space do not matter", () => {
  fc.assert(fc.property(anyText, (text) => {
    const expected = tokenizer.encode(text);
    assert.deepEqual(tokenizer.encode(`\t ${text.normalize("NFD")} \n`), expected);
    assert.deepEqual(tokenizer.encode(normalizeText(text)), expected);
  }));
  assert.deepEqual(tokenizer.encode("CRÈME  Brûlée"), tokenizer.encode("crème brûlée"));
});

Deno.test("ids lie in the vocabulary, and truncation keeps start and end", () => {
  fc.assert(fc.property(anyText, fc.integer({ min: 2, max: 20 }), (text, maxLength) => {
    const full = tokenizer.encode(text);
    const cut = tokenizer.encode(text, { maxLength });
    assert.ok(full.every((id) => id > 0 && id < tokenizer.vocabSize));
    assert.equal(cut.length, Math.min(full.length, maxLength));
    assert.deepEqual(cut.slice(0, -1), full.slice(0, cut.length - 1));
    assert.equal(cut.at(-1), tokenizer.endId);
  }));
  assert.deepEqual(tokenizer.encode(""), [tokenizer.startId, tokenizer.endId]);
  assert.deepEqual(tokenizer.encode(" \u00a0"), [tokenizer.startId, tokenizer.endId]);
});

Deno.test("frequent words become one token", () => {
  assert.equal(tokenizer.encode("panda").length, 3);
  assert.equal(tokenizer.encode("red pizza").length, 4);
  assert.equal(tokenizer.encode("小笼包").length, 3);
  assert.ok(tokenizer.encode("xylophone").length > 5);
});

Deno.test("merges are greedy by count, ties go to the lower ids", () => {
  // "ab" ends both words (3 times); then "aab" can be joined from a + ab.
  const a = 3 + 97;
  const bLast = 259 + 98;
  assert.deepEqual(trainBpe([["ab", 1], ["aab", 2]], 1000).merges, [a, bLast, a, 515]);
  // Four pairs occur twice each: the lowest pair of ids is c, d at a word's end; then a, b.
  const { merges } = trainBpe(["ab", "cd", "cd", "ab"], 1000);
  assert.deepEqual(merges, [a, bLast, 3 + 99, 259 + 100]);
  // Nothing occurs twice: nothing is learned.
  assert.deepEqual(trainBpe(["ab", "cd"], 1000).merges, []);
  assert.deepEqual(trainBpe([], 515).merges, []);
});

Deno.test("training depends on counts alone, and a count equals a repetition", () => {
  const corpus = fc.array(fc.tuple(fc.constantFrom(...names), fc.integer({ min: 0, max: 3 })));
  fc.assert(
    fc.property(corpus, fc.integer({ min: 515, max: 560 }), (pairs, vocabSize) => {
      const model = trainBpe(pairs, vocabSize);
      assert.deepEqual(trainBpe(pairs.toReversed(), vocabSize), model);
      const repeated = pairs.flatMap(([text, count]) => Array<string>(count).fill(text));
      assert.deepEqual(trainBpe(repeated, vocabSize), model);
      assert.ok(new BpeTokenizer(model).vocabSize <= vocabSize);
    }),
    { numRuns: 30 },
  );
});

Deno.test("training agrees with counting all pairs afresh before every merge", () => {
  const corpus = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c", " "), maxLength: 12 }));
  fc.assert(fc.property(corpus, (texts) => {
    const wanted: number[] = [];
    let sequences = texts.flatMap((text) => text.split(" ").filter(Boolean)).map((word) =>
      Array.from(word, (c, i) => (i === word.length - 1 ? 259 : 3) + c.charCodeAt(0))
    );
    for (let id = 515; id < 530; id++) {
      const counts = new Map<string, number>();
      for (const s of sequences) {
        for (let i = 1; i < s.length; i++) {
          const key = `${s[i - 1]},${s[i]}`;
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
      }
      const best = [...counts].filter(([, count]) => count > 1)
        .map(([key, count]) => [count, ...key.split(",").map(Number)] as [number, number, number])
        .sort((x, y) => y[0] - x[0] || x[1] - y[1] || x[2] - y[2])[0];
      if (!best) break;
      wanted.push(best[1], best[2]);
      sequences = sequences.map((s) => {
        const out: number[] = [];
        for (let i = 0; i < s.length; i++) {
          if (s[i] === best[1] && s[i + 1] === best[2]) {
            out.push(id);
            i++;
          } else out.push(s[i]!);
        }
        return out;
      });
    }
    assert.deepEqual(trainBpe(texts, 530).merges, wanted);
  }));
});

Deno.test("a batch holds each text's ids, padded and masked", () => {
  fc.assert(
    fc.property(
      fc.array(anyText, { maxLength: 6 }),
      fc.integer({ min: 2, max: 12 }),
      fc.option(fc.integer({ min: 2, max: 16 }), { nil: undefined }),
      (texts, maxLength, length) => {
        const { tokens, mask } = tokenizer.encodeBatch(texts, maxLength, length);
        const limit = Math.min(maxLength, length ?? maxLength);
        const rows = texts.map((text) => tokenizer.encode(text, { maxLength: limit }));
        const columns = length ?? Math.max(2, ...rows.map((row) => row.length));
        assert.deepEqual(tokens.shape, [texts.length, columns]);
        assert.deepEqual(mask.shape, tokens.shape);
        rows.forEach((row, c) => {
          for (let l = 0; l < columns; l++) {
            assert.equal(tokens.data[c * columns + l], BigInt(row[l] ?? tokenizer.padId));
            assert.equal(mask.data[c * columns + l], l < row.length ? 1 : 0);
          }
        });
      },
    ),
  );
});

Deno.test("a tokenizer survives JSON", () => {
  const again = BpeTokenizer.fromJSON(JSON.stringify(tokenizer));
  assert.deepEqual(again.toJSON(), tokenizer.toJSON());
  assert.deepEqual(BpeTokenizer.fromJSON(JSON.parse(JSON.stringify(tokenizer))), again);
  for (const name of names) assert.deepEqual(again.encode(name), tokenizer.encode(name));
});

Deno.test("a damaged tokenizer file is a ModelError", () => {
  const json = JSON.stringify(tokenizer);
  fc.assert(fc.property(fc.integer({ min: 0, max: json.length - 1 }), (length) => {
    assert.throws(() => BpeTokenizer.fromJSON(json.slice(0, length)), ModelError);
  }));
  const merges = (...list: unknown[]) => ({ type: "byte-bpe", version: 1, merges: list });
  for (
    const bad of [
      null,
      7,
      [],
      {},
      { type: "byte-bpe", version: 2, merges: [] },
      merges(3),
      merges(3, 515),
      merges(2, 100),
      merges(3.5, 100),
      merges("3", 100),
      merges(300, 100),
      merges(3, 300, 515, 300),
      merges(3, 4, 3, 4),
    ]
  ) {
    assert.throws(() => BpeTokenizer.fromJSON(bad), ModelError, JSON.stringify(bad));
  }
});

Deno.test("options and ids out of range are named", () => {
  assert.throws(() => trainBpe([], 514), /vocabSize is 514/);
  assert.throws(() => trainBpe([], 65537), OptionError);
  assert.throws(() => trainBpe([["cat", -1]], 600), /"cat" has count -1/);
  assert.throws(() => tokenizer.encode("cat", { maxLength: 1 }), /maxLength is 1/);
  assert.throws(() => tokenizer.encodeBatch(["cat"], 8, 1.5), /length is 1.5/);
  assert.throws(() => tokenizer.decode([tokenizer.vocabSize]), InputError);
  assert.throws(() => tokenizer.decode([-1]), InputError);
});

Deno.test("a very long word is encoded, not choked on", () => {
  const text = "pandapizza".repeat(5000);
  assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
});
