import assert from "node:assert/strict";
import fc from "fast-check";
import { classColours, palette, toHex } from "../../../lib/image/palette.ts";

Deno.test("palette: 20,000 colours, no two alike, none black or white", () => {
  const keys = new Set(palette(20000).map(toHex));
  assert.equal(keys.size, 20000);
  assert.ok(!keys.has("#000000") && !keys.has("#ffffff"));
  for (const key of keys) assert.match(key, /^#[0-9a-f]{6}$/);
});

Deno.test("palette: a shorter one is the beginning of a longer one", () => {
  const long = palette(300);
  fc.assert(fc.property(fc.nat(300), (n) => assert.deepEqual(palette(n), long.slice(0, n))));
});

Deno.test("palette: the first 12 colours are well apart", () => {
  const colours = palette(12);
  for (let i = 0; i < 12; i++) {
    for (let j = 0; j < i; j++) {
      const distance = Math.hypot(...colours[i]!.map((v, k) => v - colours[j]![k]!));
      assert.ok(distance > 50, `${toHex(colours[i]!)} and ${toHex(colours[j]!)}: ${distance}`);
    }
  }
});

Deno.test("classColours: all distinct; present classes of a long vocabulary come first", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 200 }).chain((count) =>
      fc.tuple(fc.constant(count), fc.uniqueArray(fc.nat(count - 1), { maxLength: 12 }))
    ),
    ([count, present]) => {
      const colours = classColours(count, present);
      assert.equal(new Set(colours.map(toHex)).size, count);
      if (count <= 24) assert.deepEqual(colours, palette(count));
      else assert.deepEqual(present.map((c) => colours[c]), palette(present.length));
    },
  ));
});
