import assert from "node:assert/strict";
import fc from "fast-check";
import fixture from "../../fixtures/matching/linear_sum_assignment.json" with { type: "json" };
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { assign } from "../../../lib/matching/hungarian.ts";

/** The total cost, after checking that the pairs are an assignment of full size. */
function totalOf(cost: ArrayLike<number>, rows: number, cols: number): number {
  const colOf = assign(Float64Array.from(cost), rows, cols);
  assert.equal(colOf.length, rows);
  const used = [...colOf].filter((c) => c >= 0);
  assert.equal(used.length, Math.min(rows, cols));
  assert.equal(new Set(used).size, used.length);
  assert.ok(used.every((c) => c < cols));
  return colOf.reduce((total, c, r) => (c < 0 ? total : total + cost[r * cols + c]!), 0);
}

/** Least total over all assignments, by trying them. */
function bruteForce(cost: ArrayLike<number>, rows: number, cols: number): number {
  if (rows > cols) {
    const swapped = Array.from({ length: rows * cols }, (_, i) => {
      return cost[(i % rows) * cols + Math.floor(i / rows)]!;
    });
    return bruteForce(swapped, cols, rows);
  }
  const search = (row: number, taken: number): number => {
    if (row === rows) return 0;
    let best = Infinity;
    for (let c = 0; c < cols; c++) {
      if (taken & (1 << c)) continue;
      best = Math.min(best, cost[row * cols + c]! + search(row + 1, taken | (1 << c)));
    }
    return best;
  };
  return search(0, 0);
}

const close = (actual: number, expected: number, scale: number) =>
  assert.ok(Math.abs(actual - expected) <= 1e-12 * Math.max(1, scale), `${actual} ≠ ${expected}`);

const matrix = (entry: fc.Arbitrary<number>, most: number) =>
  fc.tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: 1, max: most })).chain((
    [rows, cols],
  ) =>
    fc.record({
      rows: fc.constant(rows),
      cols: fc.constant(cols),
      cost: fc.array(entry, { minLength: rows * cols, maxLength: rows * cols }),
    })
  );
const entries = fc.oneof(
  fc.integer({ min: -2, max: 2 }),
  fc.double({ min: -1, max: 1, noNaN: true }),
  fc.double({ min: -1e9, max: 1e9, noNaN: true }),
  fc.constantFrom(0, 1e-300, 5e-324, 1e12),
);

Deno.test("agrees with SciPy's linear_sum_assignment", () => {
  for (const { rows, cols, kind, cost, assignment, total } of fixture.cases) {
    close(totalOf(cost, rows, cols), total, Math.max(...cost.map(Math.abs)) * rows);
    if (kind !== "integers") {
      assert.deepEqual([...assign(Float64Array.from(cost), rows, cols)], assignment);
    }
  }
});

Deno.test("agrees with trying every assignment", () => {
  fc.assert(fc.property(matrix(entries, 6), ({ rows, cols, cost }) => {
    const scale = Math.max(...cost.map(Math.abs)) * 6;
    close(totalOf(cost, rows, cols), bruteForce(cost, rows, cols), scale);
  }));
});

Deno.test("a column may be added a constant: the total moves by it, nothing else", () => {
  fc.assert(
    fc.property(
      matrix(fc.integer({ min: -50, max: 50 }), 12),
      fc.integer({ min: -9, max: 9 }),
      ({ rows, cols, cost }, shift) => {
        // With rows ≥ cols every column is used, so the shift is paid exactly once.
        fc.pre(rows >= cols);
        const shifted = cost.map((value, i) => (i % cols === 0 ? value + shift : value));
        assert.equal(totalOf(shifted, rows, cols), totalOf(cost, rows, cols) + shift);
      },
    ),
  );
});

Deno.test("the transposed problem costs the same", () => {
  fc.assert(fc.property(matrix(fc.integer({ min: -50, max: 50 }), 12), ({ rows, cols, cost }) => {
    const swapped = cost.map((_, i) => cost[(i % rows) * cols + Math.floor(i / rows)]!);
    assert.equal(totalOf(swapped, cols, rows), totalOf(cost, rows, cols));
  }));
});

Deno.test("float32 costs give what their float64 copies give", () => {
  fc.assert(
    fc.property(matrix(fc.float({ noNaN: true, noDefaultInfinity: true }), 8), (problem) => {
      const { rows, cols } = problem;
      const cost = Float32Array.from(problem.cost);
      assert.deepEqual(assign(cost, rows, cols), assign(Float64Array.from(cost), rows, cols));
    }),
  );
});

Deno.test("no rows or no columns leave nothing to assign", () => {
  assert.deepEqual(assign(new Float64Array(0), 0, 5), new Int32Array(0));
  assert.deepEqual(assign(new Float64Array(0), 3, 0), Int32Array.of(-1, -1, -1));
});

Deno.test("costs near the largest double do not overflow", () => {
  const big = Number.MAX_VALUE;
  const cost = Float64Array.of(big, -big, 0, -big, big, big, big, big, -big);
  assert.deepEqual(assign(cost, 3, 3), Int32Array.of(1, 0, 2));
});

Deno.test("bad costs are refused by name", () => {
  const cost = new Float64Array(6);
  for (const bad of [NaN, Infinity, -Infinity]) {
    cost[5] = bad;
    assert.throws(
      () => assign(cost, 2, 3),
      (error) => error instanceof InputError && error.message.includes(`row 1, column 2 is ${bad}`),
    );
  }
  assert.throws(() => assign(new Float64Array(5), 2, 3), ShapeError);
  assert.throws(() => assign(new Float64Array(6), -2, -3), ShapeError);
  assert.throws(() => assign(new Float64Array(6), 1.5, 4), ShapeError);
});
