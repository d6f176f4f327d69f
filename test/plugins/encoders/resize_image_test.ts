import assert from "node:assert/strict";
import fc from "fast-check";
import { Rng } from "../../../lib/rng.ts";
import { encoderSize, resizeImage } from "../../../plugins/encoders/resize_image.ts";

const side = fc.integer({ min: 1, max: 14 });

function noise(width: number, height: number, seed: number) {
  const rng = new Rng(seed);
  return {
    width,
    height,
    rgb: Uint8Array.from({ length: 3 * width * height }, () => rng.integer(256)),
  };
}

/** The triangle filter by its definition, both axes at once, in float64. */
function reference(image: ReturnType<typeof noise>, width: number, height: number): Float64Array {
  const weights = (inputs: number, outputs: number, o: number) => {
    const scale = inputs / outputs;
    const raw = Array.from(
      { length: inputs },
      (_, i) => Math.max(0, 1 - Math.abs(i + 0.5 - (o + 0.5) * scale) / Math.max(1, scale)),
    );
    const sum = raw.reduce((a, b) => a + b);
    return raw.map((w) => w / sum);
  };
  const result = new Float64Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const down = weights(image.height, height, y);
    for (let x = 0; x < width; x++) {
      const across = weights(image.width, width, x);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        down.forEach((v, j) =>
          across.forEach((u, i) => sum += v * u * image.rgb[3 * (j * image.width + i) + c]!)
        );
        result[(c * height + y) * width + x] = sum / 255;
      }
    }
  }
  return result;
}

Deno.test("resizing is the triangle filter, up and down", () => {
  fc.assert(
    fc.property(side, side, side, side, fc.integer(), (w, h, width, height, seed) => {
      const image = noise(w, h, seed);
      const expected = reference(image, width, height);
      resizeImage(image, width, height).forEach((value, i) =>
        assert.ok(Math.abs(value - expected[i]!) < 1e-6)
      );
    }),
    { numRuns: 60 },
  );
});

Deno.test("its own size leaves an image as it is", () => {
  const image = noise(9, 5, 1);
  const planes = resizeImage(image, 9, 5);
  image.rgb.forEach((byte, i) =>
    assert.equal(planes[(i % 3) * 45 + Math.floor(i / 3)], Math.fround(byte / 255))
  );
});

Deno.test("the encoder's size keeps the aspect in multiples of 16, and is at least 32", () => {
  assert.deepEqual(encoderSize(8000, 6000, 128), { width: 128, height: 96 });
  assert.deepEqual(encoderSize(1, 1, 128), { width: 128, height: 128 });
  assert.deepEqual(encoderSize(3, 10000, 128), { width: 32, height: 128 });
  assert.deepEqual(encoderSize(640, 480, 640), { width: 640, height: 480 });
  const pixels = fc.integer({ min: 1, max: 10000 });
  fc.assert(fc.property(pixels, pixels, fc.integer({ min: 32, max: 1024 }), (w, h, size) => {
    const { width, height } = encoderSize(w, h, size);
    for (const s of [width, height]) assert.ok(s >= 32 && s % 16 === 0 && s <= size + 8);
    assert.ok(Math.abs(width - Math.max(32, size * w / Math.max(w, h))) <= 8);
  }));
});
