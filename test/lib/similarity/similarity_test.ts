import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { chooseDistinct } from "../../../lib/similarity/choose_distinct.ts";
import { CosineRows } from "../../../lib/similarity/cosine_blocks.ts";
import { nearestRows } from "../../../lib/similarity/nearest_rows.ts";
import { similarPairs } from "../../../lib/similarity/similar_pairs.ts";
import {
  drawEmbeddings,
  type EmbeddingCase,
  embeddingCases,
  startRows,
} from "../../../lib/testing/embeddings.ts";
import { float32, type HostTensor } from "../../../lib/tensor.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";

const engine = await ortNodeEngine({ threads: 1 });

const rowsCase = embeddingCases.filter(({ kind }) => kind !== "zero rows");
/** Two matrices of one space; rows repeat within and between them. */
const pairCase = fc.record({
  base: rowsCase,
  queries: fc.integer({ min: 1, max: 12 }),
  blockRows: fc.integer({ min: 1, max: 7 }),
});

function drawPair(
  { base, queries }: { base: EmbeddingCase; queries: number },
): { a: HostTensor<"float32">; b: HostTensor<"float32"> } {
  const start = startRows(base);
  const b = drawEmbeddings(base, start, 18);
  const a = drawEmbeddings({ ...base, rows: queries }, start, 18);
  const size = base.channels;
  // Every third query is a row of b, so that there are exact matches and, with repeats, exact ties.
  for (let i = 0; i < queries; i += 3) {
    const from = start.rng.integer(base.rows) * size;
    a.data.set(b.data.subarray(from, from + size), i * size);
  }
  if (base.rows > 2) b.data.copyWithin((base.rows - 1) * size, 0, size);
  return { a, b };
}

/** The definition, in float64. */
function cosineOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let d = 0; d < a.length; d++) {
    ab += a[d]! * b[d]!;
    aa += a[d]! * a[d]!;
    bb += b[d]! * b[d]!;
  }
  return ab / Math.sqrt(aa) / Math.sqrt(bb);
}
const rowOf = ({ data, shape }: HostTensor<"float32">, row: number) =>
  data.subarray(row * shape[1]!, (row + 1) * shape[1]!);

Deno.test("nearest rows: the definition, the first of equals, with and without the engine", async () => {
  await fc.assert(
    fc.asyncProperty(pairCase, async (c) => {
      const { a, b } = drawPair(c);
      const [queries, keys] = [new CosineRows(a), new CosineRows(b)];
      const plain = await nearestRows(queries, keys, { blockRows: c.blockRows });
      for (let i = 0; i < queries.count; i++) {
        const all = Array.from(
          { length: keys.count },
          (_, k) => cosineOf(rowOf(a, i), rowOf(b, k)),
        );
        assert.ok(Math.abs(plain.cosine[i]! - Math.max(...all)) < 1e-12);
        assert.ok(plain.cosine[i]! >= -1 && plain.cosine[i]! <= 1);
        const first = Array.from({ length: keys.count }, (_, k) => queries.cosine(i, keys, k))
          .indexOf(plain.cosine[i]!);
        assert.equal(plain.index[i], first);
      }
      // Blocks and engine change nothing, not even the last bit.
      for (const options of [{}, { engine, blockRows: c.blockRows }, { engine }]) {
        assert.deepEqual(await nearestRows(queries, keys, options), plain);
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("nearest rows: equal rows have cosine 1 exactly, a row and its opposite -1", async () => {
  await fc.assert(
    fc.asyncProperty(rowsCase, async (c) => {
      const rows = drawEmbeddings(c);
      const opposite = float32(rows.shape, rows.data.map((v) => -v));
      const all = new CosineRows(rows);
      assert.ok((await nearestRows(all, all)).cosine.every((cosine) => cosine === 1));
      const other = new CosineRows(opposite);
      for (let i = 0; i < all.count; i++) assert.equal(all.cosine(i, other, i), -1);
    }),
    { numRuns: 50 },
  );
});

Deno.test("similar pairs: all of them, sorted, with and without the engine", async () => {
  await fc.assert(
    fc.asyncProperty(
      rowsCase,
      fc.double({ min: -1, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 7 }),
      async (c, threshold, blockRows) => {
        const rows = new CosineRows(drawEmbeddings(c, undefined, 18));
        const pairs = await similarPairs(rows, threshold, { blockRows });
        const expected = [];
        for (let first = 0; first < rows.count; first++) {
          for (let second = first + 1; second < rows.count; second++) {
            const cosine = rows.cosine(first, rows, second);
            if (cosine >= threshold) expected.push({ first, second, cosine });
          }
        }
        // A stable sort keeps the order of the rows among equals.
        assert.deepEqual(pairs, expected.sort((a, b) => b.cosine - a.cosine));
        assert.deepEqual(await similarPairs(rows, threshold, { engine, blockRows }), pairs);
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("cosines: what has no direction is refused by name, and so are other shapes", async () => {
  const rows = (...values: number[]) => float32([values.length / 2, 2], Float32Array.from(values));
  const names = (row: number) => `class "${["dog", "cat"][row]}"`;
  assert.throws(
    () => new CosineRows(rows(1, 2, 0, 0), names),
    (e) => e instanceof InputError && /class "cat" is all zeros/.test(e.message),
  );
  for (const bad of [NaN, Infinity, -Infinity]) {
    assert.throws(
      () => new CosineRows(rows(bad, 2, 1, 0), names),
      (e) => e instanceof InputError && /class "dog" is not finite/.test(e.message),
    );
  }
  assert.throws(() => new CosineRows(float32([2])), ShapeError);
  assert.throws(() => new CosineRows(float32([2, 0])), ShapeError);
  const two = new CosineRows(rows(1, 2));
  await assert.rejects(nearestRows(two, new CosineRows(float32([1, 1], Float32Array.of(1)))), {
    name: "ShapeError",
    message: /rows of 2 and of 1 numbers/,
  });
  await assert.rejects(nearestRows(two, new CosineRows(float32([0, 2]))), InputError);
  assert.deepEqual((await nearestRows(new CosineRows(float32([0, 2])), two)).index.length, 0);
  const many = new CosineRows(float32([500, 1], new Float32Array(500).fill(1)));
  await assert.rejects(similarPairs(many, 0.5), /more than 100000 pairs/);
});

Deno.test("cosines: an aborted signal ends the work", async () => {
  const rows = new CosineRows(float32([40, 1], new Float32Array(40).fill(1)));
  const stop = new AbortController();
  const options = {
    blockRows: 4,
    signal: stop.signal,
    onProgress: (done: number) => done === 3 && stop.abort(new Error("enough")),
  };
  await assert.rejects(nearestRows(rows, rows, options), /enough/);
});

Deno.test("choose distinct: in order, none too close, no two that mean the same, none to add", () => {
  const arbitrary = fc.record({
    seed: fc.integer(),
    n: fc.integer({ min: 0, max: 30 }),
    numPairs: fc.integer({ min: 0, max: 40 }),
    count: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
    tooClose: fc.option(fc.double({ min: -1, max: 1, noNaN: true }), { nil: undefined }),
    from: fc.constantFrom("far" as const, "near" as const),
    numTaken: fc.integer({ min: 0, max: 3 }),
  });
  fc.assert(
    fc.property(arbitrary, ({ seed, n, numPairs, count, tooClose, from, numTaken }) => {
      const rng = new Rng(seed);
      const similarity = Array.from({ length: n }, () => rng.integer(9) / 4 - 1);
      const same = n < 2 ? [] : Array.from({ length: numPairs }, () => {
        const first = rng.integer(n - 1);
        return { first, second: first + 1 + rng.integer(n - 1 - first), cosine: 1 };
      });
      const taken = Array.from({ length: n === 0 ? 0 : numTaken }, () => rng.integer(n));
      const chosen = chooseDistinct(similarity, {
        from,
        same,
        taken,
        ...(count === undefined ? {} : { count }),
        ...(tooClose === undefined ? {} : { tooClose }),
      });
      const alike = (a: number, b: number) =>
        a === b ||
        same.some((p) => p.first === Math.min(a, b) && p.second === Math.max(a, b));
      const free = (index: number, before: readonly number[]) =>
        similarity[index]! < (tooClose ?? Infinity) &&
        ![...before, ...taken].some((other) => alike(index, other));
      // At each step no free category is further, or as far and earlier.
      const rank = (index: number) => (from === "far" ? 1 : -1) * similarity[index]!;
      chosen.forEach((index, step) => {
        const before = chosen.slice(0, step);
        assert.ok(free(index, before));
        for (let other = 0; other < n; other++) {
          if (!free(other, before)) continue;
          assert.ok(rank(index) < rank(other) || rank(index) === rank(other) && index <= other);
        }
      });
      if (chosen.length < (count ?? Infinity)) {
        for (let other = 0; other < n; other++) assert.ok(!free(other, chosen));
      } else assert.equal(chosen.length, count);
    }),
    { numRuns: 200 },
  );
});
