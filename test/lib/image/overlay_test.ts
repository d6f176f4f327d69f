import assert from "node:assert/strict";
import fc from "fast-check";
import { ShapeError } from "../../../lib/errors.ts";
import { Image } from "../../../lib/image/image.ts";
import { overlay } from "../../../lib/image/overlay.ts";
import { palette } from "../../../lib/image/palette.ts";

const colours = palette(3);

Deno.test("overlay: borders carry the full colour, interiors a tint, void gets darker", () => {
  const image = new Image(9, 9, new Uint8Array(9 * 9 * 3).fill(200));
  const labels = new Int32Array(81).fill(-1);
  for (let y = 2; y < 7; y++) for (let x = 2; x < 7; x++) labels[y * 9 + x] = 1;
  const { rgb } = overlay(image, labels, colours, { opacity: 0.5, outline: 1 });
  const at = (x: number, y: number) => [...rgb.subarray((y * 9 + x) * 3, (y * 9 + x) * 3 + 3)];
  assert.deepEqual(at(2, 4), [...colours[1]!]);
  assert.deepEqual(at(4, 4), colours[1]!.map((v) => Math.floor(0.5 * v + 100)));
  assert.ok(at(0, 0).every((v) => v < 200));
});

Deno.test("overlay: outline width 0 draws none; opacity 1 hides the image", () => {
  fc.assert(fc.property(fc.array(fc.nat(2), { minLength: 12, maxLength: 12 }), (values) => {
    const image = new Image(4, 3, Uint8Array.from({ length: 36 }, (_, i) => i * 7));
    const result = overlay(image, Int32Array.from(values), colours, { opacity: 1, outline: 0 });
    assert.deepEqual([...result.rgb], values.flatMap((v) => [...colours[v]!]));
  }));
});

Deno.test("overlay: outlines of any width stay inside their own segment", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(6), (outline, split) => {
    const image = new Image(7, 5);
    const labels = Int32Array.from({ length: 35 }, (_, i) => i % 7 < split ? 0 : 1);
    const { rgb } = overlay(image, labels, colours, { opacity: 1, outline });
    assert.deepEqual([...rgb], [...labels].flatMap((v) => [...colours[v]!]));
  }));
});

Deno.test("overlay and Image: sizes that don't fit are refused", () => {
  assert.throws(() => overlay(new Image(2, 2), new Int32Array(3), colours), ShapeError);
  assert.throws(() => new Image(2, 2, new Uint8Array(11)), ShapeError);
  assert.throws(() => new Image(0, 2), ShapeError);
  assert.throws(() => new Image(1.5, 2), ShapeError);
});
