import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { InputError, OvsError, ShapeError } from "../../../lib/errors.ts";
import {
  type CocoRle,
  decodeRle,
  encodeRle,
  packCounts,
  unpackCounts,
} from "../../../lib/image/coco_rle.ts";
import { segments } from "../../../lib/image/segments.ts";

interface Fixture {
  rows: string[];
  rle: CocoRle;
  area: number;
  bbox: [number, number, number, number];
}
const fixtures: Fixture[] = JSON.parse(
  readFileSync(new URL("../../fixtures/coco_rle/masks.json", import.meta.url), "utf8"),
);

Deno.test("RLE: the same strings as pycocotools", () => {
  assert.ok(fixtures.length >= 12);
  for (const { rows, rle, area, bbox } of fixtures) {
    const mask = Uint8Array.from(rows.join(""), Number);
    assert.deepEqual(encodeRle(mask, rows.length, rows[0]!.length), rle);
    assert.deepEqual(decodeRle(rle), mask);
    const [segment] = segments({
      width: rows[0]!.length,
      height: rows.length,
      labels: Int32Array.from(mask, (v) => v - 1),
      scores: new Float32Array(mask.length).fill(1),
    }, ["inside"]);
    if (area === 0) assert.equal(segment, undefined);
    else {
      assert.deepEqual(segment!.mask, rle);
      assert.deepEqual(segment!.bbox, bbox);
      assert.equal(segment!.area, area);
    }
  }
});

Deno.test("RLE: decoding undoes encoding", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 1, max: 40 }),
    fc.infiniteStream(fc.boolean()),
    (height, width, bits) => {
      const mask = new Uint8Array(height * width);
      for (let i = 0; i < mask.length; i++) mask[i] = Number(bits.next().value);
      assert.deepEqual(decodeRle(encodeRle(mask, height, width)), mask);
    },
  ));
});

Deno.test("RLE: counts survive packing, up to the largest image", () => {
  fc.assert(fc.property(
    fc.array(fc.oneof(fc.nat(40), fc.nat(100_000_000)), { maxLength: 30 }),
    (counts) => assert.deepEqual(unpackCounts(packCounts(counts)), counts),
  ));
});

Deno.test("RLE: foreign strings give a typed error or a mask, never more", () => {
  fc.assert(fc.property(fc.string({ maxLength: 12 }), fc.nat(9), fc.nat(9), (counts, h, w) => {
    try {
      assert.equal(decodeRle({ size: [h, w], counts }).length, h * w);
    } catch (error) {
      assert.ok(error instanceof OvsError, String(error));
    }
  }));
  assert.throws(() => decodeRle({ size: [2, 2], counts: "5" }), InputError);
  assert.throws(() => unpackCounts("o"), InputError);
  assert.throws(() => encodeRle([0, 1], 2, 2), ShapeError);
});
