import assert from "node:assert/strict";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import { segments } from "../../../lib/image/segments.ts";

const names = ["dog", "guitar", "slice of pizza", "狗"];

const maps = fc.tuple(
  // Past 32 columns the transposition works in several blocks.
  fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 31, max: 70 })),
  fc.integer({ min: 1, max: 9 }),
  fc.array(fc.tuple(fc.integer({ min: -1, max: 3 }), fc.integer({ min: 1, max: 40 })), {
    minLength: 1,
  }),
).map(([width, height, runs]) => {
  const labels = new Int32Array(width * height);
  const scores = new Float32Array(width * height);
  for (let i = 0, run = 0, left = runs[0]![1]; i < labels.length; i++, left--) {
    if (left === 0) {
      run = (run + 1) % runs.length;
      left = runs[run]![1];
    }
    labels[i] = runs[run]![0];
    scores[i] = ((i * 37) % 64) / 64;
  }
  return { width, height, labels, scores };
});

Deno.test("segments: masks partition the labelled pixels; area, box and score are theirs", () => {
  fc.assert(fc.property(maps, (map) => {
    const found = segments(map, names);
    const rebuilt = new Int32Array(map.labels.length).fill(-1);
    for (const segment of found) {
      assert.equal(segment.label, names[segment.index]);
      const xs: number[] = [], ys: number[] = [];
      let scoreSum = 0;
      decodeRle(segment.mask).forEach((inside, i) => {
        if (!inside) return;
        assert.equal(rebuilt[i], -1);
        rebuilt[i] = segment.index;
        xs.push(i % map.width);
        ys.push(Math.floor(i / map.width));
        scoreSum += map.scores[i]!;
      });
      assert.equal(segment.area, xs.length);
      assert.ok(Math.abs(segment.score - scoreSum / xs.length) < 1e-9);
      const left = Math.min(...xs), top = Math.min(...ys);
      assert.deepEqual(segment.bbox, [
        left,
        top,
        Math.max(...xs) - left + 1,
        Math.max(...ys) - top + 1,
      ]);
    }
    assert.deepEqual(rebuilt, map.labels);
    const areas = found.map((segment) => segment.area);
    assert.deepEqual(areas, [...areas].sort((a, b) => b - a));
  }));
});

Deno.test("segments: sizes and labels that don't fit are refused", () => {
  const map = { width: 2, height: 1, labels: new Int32Array(2), scores: new Float32Array(2) };
  assert.throws(() => segments({ ...map, height: 2 }, names), ShapeError);
  assert.throws(() => segments({ ...map, scores: new Float32Array(1) }, names), ShapeError);
  assert.throws(() => segments({ ...map, labels: new Int32Array([0, 4]) }, names), ShapeError);
});
