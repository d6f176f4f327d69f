import assert from "node:assert/strict";
import fc from "fast-check";
import sharp from "sharp";
import { imageSize } from "../../../examples/studio/image_size.ts";
import { hugePng } from "./image_files.ts";

const [width, height] = [37, 21];
const blank = sharp({ create: { width, height, channels: 3, background: "#36c" } });
const files: Record<string, Uint8Array> = {
  png: await blank.clone().png().toBuffer(),
  jpeg: await blank.clone().jpeg().toBuffer(),
  "jpeg with a camera's notes": await blank.clone()
    .withExif({ IFD0: { ImageDescription: "a".repeat(20_000) } }).jpeg().toBuffer(),
  "progressive jpeg": await blank.clone().jpeg({ progressive: true }).toBuffer(),
  gif: await blank.clone().gif().toBuffer(),
  webp: await blank.clone().webp().toBuffer(),
  "lossless webp": await blank.clone().webp({ lossless: true }).toBuffer(),
  "webp with transparency": await blank.clone().ensureAlpha(0.5).webp().toBuffer(),
  avif: await blank.clone().avif({ effort: 0 }).toBuffer(),
};

Deno.test("image sizes are read from the first bytes of each format", () => {
  for (const [format, bytes] of Object.entries(files)) {
    assert.deepEqual(imageSize(bytes), { width, height }, format);
  }
  const bmp = new Uint8Array(54);
  bmp.set([0x42, 0x4d]);
  new DataView(bmp.buffer).setInt32(18, width, true);
  new DataView(bmp.buffer).setInt32(22, -height, true);
  assert.deepEqual(imageSize(bmp), { width, height });
  assert.deepEqual(imageSize(hugePng(12_000, 9000)), { width: 12_000, height: 9000 });
});

Deno.test("image sizes: cut, broken and foreign bytes give a size or null", () => {
  const broken = fc.constantFrom(...Object.values(files)).chain((bytes) =>
    fc.tuple(
      fc.integer({ min: 0, max: bytes.length }),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
    ).map(([length, changes]) => {
      const result = bytes.slice(0, length);
      for (const [at, value] of changes) if (at < length) result[at] = value;
      return result;
    })
  );
  fc.assert(
    fc.property(fc.oneof(broken, fc.uint8Array({ maxLength: 80 })), (bytes) => {
      const size = imageSize(bytes);
      assert.ok(size === null || Number.isInteger(size.width) && Number.isInteger(size.height));
    }),
    { numRuns: 1000 },
  );
});
