import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { drawEmbeddings, embeddingCases, startRows } from "../../../lib/testing/embeddings.ts";
import { float32, type HostTensor } from "../../../lib/tensor.ts";
import { embedVocabulary } from "../../../plugins/evaluation/embed_vocabulary.ts";
import {
  type EmbeddedVocabulary,
  similarityHistogram,
  vocabularySimilarity,
} from "../../../plugins/evaluation/similarity.ts";

const cases = fc.record({
  base: embeddingCases.filter(({ kind }) => kind !== "zero rows"),
  tests: fc.integer({ min: 1, max: 9 }),
  seed: fc.integer(),
});

interface Pair {
  readonly train: EmbeddedVocabulary;
  readonly test: EmbeddedVocabulary;
  readonly rng: Rng;
}

/** Two vocabularies of one space; every other test category is a training category's row. */
function drawVocabularies(
  { base, tests, seed }: {
    base: Parameters<typeof drawEmbeddings>[0];
    tests: number;
    seed: number;
  },
): Pair {
  const rng = new Rng(seed);
  const start = startRows(base);
  const train = drawEmbeddings(base, start, 18);
  const test = drawEmbeddings({ ...base, rows: tests }, start, 18);
  const size = base.channels;
  for (let i = 0; i < tests; i += 2) {
    const from = rng.integer(base.rows) * size;
    test.data.set(train.data.subarray(from, from + size), i * size);
  }
  const names = (what: string, count: number) => Array.from({ length: count }, (_, i) => what + i);
  return {
    train: { names: names("train", base.rows), embeddings: train },
    test: { names: names("test", tests), embeddings: test },
    rng,
  };
}

/** The same categories in another order. */
function permute({ names, embeddings }: EmbeddedVocabulary, order: readonly number[]) {
  const size = embeddings.shape[1]!;
  const data = new Float32Array(embeddings.data.length);
  order.forEach((from, to) =>
    data.set(embeddings.data.subarray(from * size, (from + 1) * size), to * size)
  );
  return { names: order.map((i) => names[i]!), embeddings: float32(embeddings.shape, data) };
}

function concat(a: EmbeddedVocabulary, b: EmbeddedVocabulary): EmbeddedVocabulary {
  const data = new Float32Array([...a.embeddings.data, ...b.embeddings.data]);
  const names = [...a.names, ...b.names];
  return { names, embeddings: float32([names.length, a.embeddings.shape[1]!], data) };
}

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);
const values = (nearest: readonly { similarity: number }[]) => nearest.map((n) => n.similarity);

Deno.test("similarity: a vocabulary against itself is 1 throughout", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const { train } = drawVocabularies(c);
      const result = await vocabularySimilarity(train, train);
      assert.equal(result.average, 1);
      assert.equal(result.median, 1);
      assert.equal(result.averageOfNew, null);
      assert.deepEqual(result.sameName, train.names);
      assert.equal(result.histogram.at(-1)!.count, train.names.length);
    }),
    { numRuns: 40 },
  );
});

Deno.test("similarity: bounds, order, and how the figures hang together", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const { train, test } = drawVocabularies(c);
      const result = await vocabularySimilarity(train, test, { extremes: 3 });
      const all = values(result.nearest);
      assert.ok(all.every((value) => value >= -1 && value <= 1));
      near(result.average, all.reduce((sum, v) => sum + v, 0) / all.length);
      assert.equal(result.averageOfNew, result.average);
      const sorted = [...all].sort((a, b) => b - a);
      assert.deepEqual(values(result.closest), sorted.slice(0, 3));
      assert.deepEqual(values(result.farthest), sorted.reverse().slice(0, 3));
      assert.ok(result.median <= Math.max(...all) && result.median >= Math.min(...all));
      for (const { nearest, nearestIndex } of result.nearest) {
        assert.equal(nearest, train.names[nearestIndex]);
      }
      assert.equal(result.histogram.reduce((sum, { count }) => sum + count, 0), all.length);
    }),
    { numRuns: 40 },
  );
});

Deno.test("similarity: order doesn't matter, and more training categories never lower a value", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const { train, test, rng } = drawVocabularies(c);
      const before = await vocabularySimilarity(train, test);
      const order = rng.shuffle(test.names.map((_, i) => i));
      const shuffled = permute(train, rng.shuffle(train.names.map((_, i) => i)));
      const after = await vocabularySimilarity(shuffled, permute(test, order));
      assert.deepEqual(values(after.nearest), order.map((i) => before.nearest[i]!.similarity));
      near(after.average, before.average);

      const more = await vocabularySimilarity(concat(train, test), test);
      assert.ok(values(more.nearest).every((v, i) => v >= before.nearest[i]!.similarity));
      assert.equal(more.average, 1);
      const some = await vocabularySimilarity(
        permute(train, [0, ...train.names.keys()].slice(0, train.names.length)),
        test,
      );
      assert.ok(values(some.nearest).every((v, i) => v <= before.nearest[i]!.similarity));
    }),
    { numRuns: 40 },
  );
});

const rowsOf = (...rows: number[][]): HostTensor<"float32"> =>
  float32([rows.length, rows[0]!.length], Float32Array.from(rows.flat()));

Deno.test("similarity: of equally near categories the first, with synonyms too", async () => {
  const train = { names: ["b", "a", "c"], embeddings: rowsOf([0, 2], [2, 0], [1, 0]) };
  const test = { names: ["x"], embeddings: rowsOf([1, 0]) };
  assert.equal((await vocabularySimilarity(train, test)).nearest[0]!.nearest, "a");
  const diagonal = { names: ["x"], embeddings: rowsOf([1, 1]) };
  assert.equal((await vocabularySimilarity(train, diagonal)).nearest[0]!.nearest, "b");

  // "x" has two synonyms, as near to "a" as to "b"; "b" comes first.
  const two = { names: ["x"], embeddings: rowsOf([5, 0], [0, 1]), categories: [0, 0] };
  const { nearest, average } = await vocabularySimilarity(train, two);
  assert.deepEqual([nearest[0]!.nearest, average], ["b", 1]);
});

Deno.test("similarity: synonyms give the nearest of all their pairs", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      const { train, test, rng } = drawVocabularies(c);
      /** Neighbouring rows become one category. */
      const grouped = ({ embeddings }: EmbeddedVocabulary): EmbeddedVocabulary => {
        let category = 0;
        const categories = Array.from(
          { length: embeddings.shape[0]! },
          (_, row) => row === 0 ? 0 : category += rng.integer(2),
        );
        const names = Array.from({ length: category + 1 }, (_, i) => `c${i}`);
        return { names, embeddings, categories };
      };
      const [a, b] = [grouped(train), grouped(test)];
      const single = await vocabularySimilarity(train, test);
      const result = await vocabularySimilarity(a, b);
      result.nearest.forEach(({ similarity }, category) => {
        const own = single.nearest.filter((_, row) => b.categories![row] === category);
        assert.equal(similarity, Math.max(...values(own)));
      });
    }),
    { numRuns: 40 },
  );
});

Deno.test("similarity: exact names count whatever their case and spaces", async () => {
  const train = { names: ["Traffic  light", "dog"], embeddings: rowsOf([1, 0], [0, 1]) };
  const test = { names: ["traffic light", "cat"], embeddings: rowsOf([1, 0], [3, 4]) };
  const { sameName, averageOfNew, average } = await vocabularySimilarity(train, test);
  assert.deepEqual(sameName, ["traffic light"]);
  near(averageOfNew!, 0.8);
  near(average, 0.9);
});

Deno.test("similarity: the histogram's bins", () => {
  const bins = similarityHistogram([-1, 0, 0.049, 0.05, 0.6, 0.999, 1]);
  const filled = bins.filter(({ count }) => count > 0);
  assert.deepEqual(filled, [
    { from: -1, to: -0.95, count: 1 },
    { from: 0, to: 0.05, count: 2 },
    { from: 0.05, to: 0.1, count: 1 },
    { from: 0.6, to: 0.65, count: 1 },
    { from: 0.95, to: 1, count: 2 },
  ]);
  assert.equal(bins.length, 40);
});

Deno.test("similarity: what doesn't fit is refused by name", async () => {
  const dog = { names: ["dog"], embeddings: rowsOf([1, 0]) };
  const refused: [EmbeddedVocabulary, EmbeddedVocabulary, RegExp, typeof InputError][] = [
    [{ names: [], embeddings: float32([0, 2]) }, dog, /training vocabulary is empty/, InputError],
    [dog, { names: [], embeddings: float32([0, 2]) }, /test vocabulary is empty/, InputError],
    [dog, { ...dog, embeddings: rowsOf([0, 0]) }, /test category "dog" is all zeros/, InputError],
    [{ ...dog, embeddings: rowsOf([NaN, 0]) }, dog, /training category "dog" is not/, InputError],
    [dog, { names: ["a", "b"], embeddings: rowsOf([1, 0]) }, /2 names, 2 rows/, ShapeError],
    [dog, { ...dog, embeddings: rowsOf([1, 0, 0]) }, /rows of 3 and of 2 numbers/, ShapeError],
    ...[[0, 2], [1, 1], [1, 0], [0, 0]].map((
      categories,
    ): [EmbeddedVocabulary, EmbeddedVocabulary, RegExp, typeof InputError] => [
      dog,
      { names: ["a", "b"], embeddings: rowsOf([1, 0], [0, 1]), categories },
      /each name must have its rows, in order/,
      ShapeError,
    ]),
  ];
  for (const [train, test, message, type] of refused) {
    await assert.rejects(
      vocabularySimilarity(train, test),
      (error) => error instanceof type && message.test(error.message),
    );
  }
});

Deno.test("embed vocabulary: one row per name, or per synonym, each text embedded once", async () => {
  const asked: string[][] = [];
  const embedder = {
    description: "lengths",
    embed: (names: readonly string[]) => {
      asked.push([...names]);
      return Promise.resolve(rowsOf(...names.map((name) => [name.length, 1])));
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const classes = [
    { name: "sofa", synonyms: ["sofa", "couch"] },
    { name: "daybed", synonyms: ["daybed", "couch"] },
  ];
  const plain = await embedVocabulary(classes, embedder);
  assert.deepEqual([...plain.embeddings.data], [4, 1, 6, 1]);
  const all = await embedVocabulary(classes, embedder, { synonyms: true });
  assert.deepEqual([...all.embeddings.data], [4, 1, 5, 1, 6, 1, 5, 1]);
  assert.deepEqual([...Array.from(all.categories!)], [0, 0, 1, 1]);
  assert.deepEqual(asked, [["sofa", "daybed"], ["sofa", "couch", "daybed"]]);
});
