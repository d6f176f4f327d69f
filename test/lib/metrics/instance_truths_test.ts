import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import { instanceTruths } from "../../../lib/metrics/instance_truths.ts";

Deno.test("instanceTruths: every thing's pixels, in the list's order", () => {
  const size = fc.record({ height: fc.integer({ min: 1, max: 9 }), width: fc.nat(40) });
  fc.assert(fc.property(size, fc.infiniteStream(fc.nat(3)), ({ height, width }, numbers) => {
    const ids = Array.from({ length: height * width }, () => 5 * numbers.next().value);
    const segments = [
      { id: 15, label: 7, isCrowd: true },
      { id: 5, label: 3, isThing: false },
      { id: 10, label: 7, isThing: true },
    ];
    const truths = instanceTruths({ ids, segments }, height, width);
    assert.deepEqual(truths.map(({ label, isCrowd }) => [label, isCrowd]), [[7, true], [7, false]]);
    truths.forEach(({ mask }, i) =>
      assert.deepEqual([...decodeRle(mask)], ids.map((id) => Number(id === [15, 10][i])))
    );
  }));
});

Deno.test("instanceTruths: a map that doesn't fit is refused", () => {
  const segments = [{ id: 1, label: 0 }];
  assert.throws(() => instanceTruths({ ids: [1], segments }, 1, 2), ShapeError);
  assert.throws(() => instanceTruths({ ids: [1, 2], segments }, 1, 2), {
    name: InputError.name,
    message: "instance truths: pixel 1 is of segment 2, not in the list",
  });
});
