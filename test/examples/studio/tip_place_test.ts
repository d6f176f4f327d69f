import assert from "node:assert/strict";
import fc from "fast-check";
import { placeTip } from "../../../examples/studio/tip_place.ts";

const size = fc.tuple(fc.integer({ min: 40, max: 250 }), fc.integer({ min: 20, max: 160 }));

/** A tip, a viewer that is larger, and a place in it. */
const placed = fc.record({
  tip: size,
  more: fc.tuple(fc.integer({ min: 8, max: 900 }), fc.integer({ min: 8, max: 600 })),
  at: fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
  ),
  isFinger: fc.boolean(),
}).map(({ tip, more, at, isFinger }) => {
  const room = [tip[0] + more[0], tip[1] + more[1]] as const;
  const point = [at[0] * room[0], at[1] * room[1]] as const;
  return { tip, room, point, isFinger, place: placeTip(point, tip, room, isFinger) };
});

Deno.test("the tip is inside of the viewer", () => {
  fc.assert(fc.property(placed, ({ tip, room, place: [left, top] }) => {
    assert.ok(left >= 4 && left + tip[0] <= room[0] - 4);
    assert.ok(top >= 4 && top + tip[1] <= room[1] - 4);
  }));
});

Deno.test("the tip is not under what points, where it fits beside or above it", () => {
  fc.assert(fc.property(placed, ({ tip, room, point: [x, y], isFinger, place: [left, top] }) => {
    const gap = isFinger ? 30 : 18;
    const fits = y - gap - tip[1] >= 4 || x - gap - tip[0] >= 4 || x + gap + tip[0] <= room[0] - 4;
    fc.pre(fits);
    const away = Math.max(left - x, x - left - tip[0], top - y, y - top - tip[1]);
    assert.ok(away >= gap - 1e-9, `${away} pixels away`);
  }));
});

Deno.test("over a finger, right below a mouse's pointer", () => {
  assert.deepEqual(placeTip([160, 200], [200, 100], [320, 320], true), [60, 70]);
  assert.deepEqual(placeTip([60, 40], [200, 100], [320, 320], true), [90, 4]);
  assert.deepEqual(placeTip([160, 40], [200, 100], [320, 320], true), [60, 70]);
  assert.deepEqual(placeTip([20, 40], [200, 100], [320, 320], false), [38, 58]);
});
