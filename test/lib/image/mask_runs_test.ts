import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeRle } from "../../../lib/image/coco_rle.ts";
import { MaskRuns } from "../../../lib/image/mask_runs.ts";

const masks = fc.tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 8 })).chain(
  ([height, width]) =>
    fc.record({
      height: fc.constant(height),
      width: fc.constant(width),
      mask: fc.array(fc.boolean(), { minLength: height * width, maxLength: height * width }),
      // Stretches may come in pieces.
      pieces: fc.integer({ min: 1, max: 70 }),
    }),
);

Deno.test("mask runs: the bytes of the encoded mask, its area and its box", () => {
  fc.assert(fc.property(masks, ({ height, width, mask, pieces }) => {
    const runs = new MaskRuns(height, width);
    const at = (i: number) => mask[(i % height) * width + Math.floor(i / height)]!;
    let [left, top, right, bottom, area] = [width, height, -1, -1, 0];
    for (let start = 0, i = 0; i < mask.length; i++) {
      if (!at(i)) {
        start = i + 1;
        continue;
      }
      const ends = i + 1 === mask.length || !at(i + 1) || i + 1 - start === pieces;
      if (ends) {
        runs.add(start, i + 1);
        start = i + 1;
      }
      area++;
      [left, right] = [Math.min(left, Math.floor(i / height)), Math.floor(i / height)];
      [top, bottom] = [Math.min(top, i % height), Math.max(bottom, i % height)];
    }
    assert.equal(runs.area, area);
    const box = area === 0 ? [0, 0, 0, 0] : [left, top, right - left + 1, bottom - top + 1];
    assert.deepEqual(runs.finish(), {
      area,
      box,
      mask: encodeRle(mask.map(Number), height, width),
    });
  }));
});
