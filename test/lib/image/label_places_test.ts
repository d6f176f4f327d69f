import assert from "node:assert/strict";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { labelPlaces } from "../../../lib/image/label_places.ts";

/** How far a pixel is from the nearest of another segment or from outside, in the open. */
function roomAt(map: Int32Array, width: number, height: number, x: number, y: number): number {
  for (let room = 1;; room++) {
    for (let dy = -room; dy <= room; dy++) {
      for (let dx = -room; dx <= room; dx++) {
        const isInside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
        const same = isInside && map[(y + dy) * width + x + dx] === map[y * width + x];
        if (!same) return room;
      }
    }
  }
}

Deno.test("label places: no pixel of a segment is farther from everything else", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 14 }),
    fc.integer({ min: 1, max: 14 }),
    fc.array(
      fc.tuple(fc.nat(13), fc.nat(13), fc.nat(9), fc.nat(9), fc.integer({ min: -1, max: 3 })),
    ),
    (width, height, boxes) => {
      const map = new Int32Array(width * height);
      for (const [left, top, w, h, index] of boxes) {
        for (let y = top; y < Math.min(height, top + h); y++) {
          for (let x = left; x < Math.min(width, left + w); x++) map[y * width + x] = index;
        }
      }
      const best = [0, 0, 0, 0];
      map.forEach((index, i) => {
        if (index < 0) return;
        const room = roomAt(map, width, height, i % width, Math.floor(i / width));
        best[index] = Math.max(best[index]!, room);
      });
      labelPlaces(map, width, height, 4).forEach((place, index) => {
        assert.equal(place?.room ?? 0, best[index]);
        if (place === null) return;
        assert.equal(map[place.y * width + place.x], index);
        assert.equal(roomAt(map, width, height, place.x, place.y), place.room);
      });
    },
  ));
});

Deno.test("label places: large maps are thinned out, maps of another size refused", () => {
  const [width, height] = [3000, 2000];
  const map = new Int32Array(width * height).fill(-1);
  for (let y = 500; y < 1500; y++) map.fill(0, y * width + 1000, y * width + 2000);
  const [place, absent] = labelPlaces(map, width, height, 2);
  assert.ok(Math.abs(place!.x - 1500) < 20 && Math.abs(place!.y - 1000) < 20);
  assert.ok(Math.abs(place!.room - 500) < 20);
  assert.equal(absent, null);
  assert.throws(() => labelPlaces(map, width, height + 1, 1), ShapeError);
});
