import assert from "node:assert/strict";
import fc from "fast-check";
import { decode } from "fast-png";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import {
  colourToId,
  encodePanopticPng,
  idToColour,
  MAX_SEGMENT_ID,
} from "../../../lib/image/panoptic_png.ts";

const ids = fc.uniqueArray(fc.integer({ min: 1, max: MAX_SEGMENT_ID }), { maxLength: 5 });

Deno.test("panoptic PNG: an outside decoder reads R + 256 G + 65536 B, and black for void", () =>
  fc.assert(
    fc.asyncProperty(
      ids,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(),
      async (ids, width, height, seed) => {
        const segmentOf = Int32Array.from(
          { length: width * height },
          (_, i) => (seed + i * i) % (ids.length + 1) - 1,
        );
        const png = decode(await encodePanopticPng(segmentOf, width, height, ids));
        assert.deepEqual(
          [png.width, png.height, png.channels, png.depth],
          [width, height, 3, 8],
        );
        segmentOf.forEach((index, i) => {
          const [r, g, b] = png.data.subarray(3 * i, 3 * i + 3);
          assert.equal(r! + 256 * g! + 256 ** 2 * b!, index < 0 ? 0 : ids[index]);
        });
      },
    ),
    { numRuns: 30 },
  ));

Deno.test("panoptic PNG: ids are colours, and back", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: MAX_SEGMENT_ID }), (id) => {
    assert.equal(colourToId(idToColour(id)), id);
  }));
});

Deno.test("panoptic PNG: what doesn't fit is refused", async () => {
  const map = Int32Array.of(0, 1);
  await assert.rejects(encodePanopticPng(map, 3, 1, [1, 2]), ShapeError);
  await assert.rejects(encodePanopticPng(map, 2, 1, [1]), ShapeError);
  await assert.rejects(encodePanopticPng(map, 2, 1, [1, 1]), InputError);
  await assert.rejects(encodePanopticPng(map, 2, 1, [0, 1]), InputError);
  await assert.rejects(encodePanopticPng(map, 2, 1, [1, MAX_SEGMENT_ID + 1]), InputError);
});
