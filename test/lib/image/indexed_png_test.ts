import assert from "node:assert/strict";
import fc from "fast-check";
import sharp from "sharp";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { encodeLabelPng, voidValue } from "../../../lib/image/indexed_png.ts";
import { palette, toHex } from "../../../lib/image/palette.ts";

const labelMaps = (classes: number) =>
  fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })).chain((
    [width, height],
  ) =>
    fc.tuple(
      fc.constant(width),
      fc.constant(height),
      fc.array(fc.integer({ min: -1, max: classes - 1 }), {
        minLength: width * height,
        maxLength: width * height,
      }),
    )
  );

Deno.test("label PNG: an outside decoder sees each class in its colour, void in black", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 255 }).chain((n) => fc.tuple(fc.constant(n), labelMaps(n))),
      async ([classes, [width, height, labels]]) => {
        const colours = palette(classes);
        const bytes = await encodeLabelPng(Int32Array.from(labels), width, height, colours);
        const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
        assert.deepEqual([info.width, info.height, info.channels], [width, height, 3]);
        labels.forEach((label, i) =>
          assert.equal(
            toHex([data[i * 3]!, data[i * 3 + 1]!, data[i * 3 + 2]!]),
            label < 0 ? "#000000" : toHex(colours[label]!),
          )
        );
        const { isPalette, bitsPerSample } = await sharp(bytes).metadata();
        assert.deepEqual([isPalette, bitsPerSample], [true, 8]);
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("label PNG: more than 255 classes are 16-bit grey levels, void is 65535", async () => {
  const colours = palette(20000);
  await fc.assert(
    fc.asyncProperty(labelMaps(20000), async ([width, height, labels]) => {
      const bytes = await encodeLabelPng(Int32Array.from(labels), width, height, colours);
      const { data } = await sharp(bytes).toColourspace("grey16").raw({ depth: "ushort" })
        .toBuffer({ resolveWithObject: true });
      const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
      assert.deepEqual([...values], labels.map((label) => label < 0 ? 65535 : label));
    }),
    { numRuns: 20 },
  );
  assert.deepEqual([voidValue(255), voidValue(256)], [255, 65535]);
});

Deno.test("label PNG: what doesn't fit is refused", async () => {
  const colours = palette(2);
  await assert.rejects(encodeLabelPng(new Int32Array(3), 2, 2, colours), ShapeError);
  await assert.rejects(encodeLabelPng(new Int32Array([2]), 1, 1, colours), ShapeError);
  const many = new Array(65536).fill(colours[0]!);
  await assert.rejects(encodeLabelPng(new Int32Array([0]), 1, 1, many), InputError);
});
