import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import { InputError } from "../../../lib/errors.ts";
import type { Image } from "../../../lib/image/image.ts";
import { sharpFailure } from "../../../plugins/codecs/import_sharp.ts";
import { decodeImage, readImage } from "../../../plugins/codecs/read_image.ts";

const red = { r: 200, g: 30, b: 20 };
const blank = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: red } });
const pixel = (image: Image, x: number, y: number) => {
  const at = (y * image.width + x) * 3;
  return [...image.rgb.subarray(at, at + 3)];
};
const near = (actual: number[], expected: number[], tolerance: number) =>
  assert.ok(
    actual.length === expected.length &&
      actual.every((v, i) => Math.abs(v - expected[i]!) <= tolerance),
    `${actual} is not ${expected}`,
  );

/** 6×4 pixels, all different, three quadrants of their own colours. */
const pattern = Uint8Array.from({ length: 6 * 4 * 3 }, (_, i) => (i * 53 + (i % 3) * 80) % 256);
const patterned = () => sharp(pattern, { raw: { width: 6, height: 4, channels: 3 } });

Deno.test("decode: lossless files give the very pixels", async () => {
  const grey = pattern.subarray(0, 24);
  const greyRgb = [...grey].flatMap((v) => [v, v, v]);
  const wide = Uint16Array.from(pattern, (v) => v * 257);
  const files: [string, Uint8Array, number[]][] = [
    ["8-bit PNG", await patterned().png().toBuffer(), [...pattern]],
    ["palette PNG", await patterned().png({ palette: true, colours: 256, dither: 0 }).toBuffer(), [
      ...pattern,
    ]],
    ["lossless WebP", await patterned().webp({ lossless: true }).toBuffer(), [...pattern]],
    [
      "16-bit PNG",
      await sharp(wide, { raw: { width: 6, height: 4, channels: 3 } }).toColourspace("rgb16").png()
        .toBuffer(),
      [...pattern],
    ],
    [
      "8-bit grey PNG",
      await sharp(grey, { raw: { width: 6, height: 4, channels: 1 } }).toColourspace("b-w").png()
        .toBuffer(),
      greyRgb,
    ],
    [
      "16-bit grey PNG",
      await sharp(Uint16Array.from(grey, (v) => v * 257), {
        raw: { width: 6, height: 4, channels: 1 },
      }).toColourspace("grey16").png().toBuffer(),
      greyRgb,
    ],
  ];
  for (const [name, bytes, expected] of files) {
    const image = await decodeImage(bytes, name);
    assert.deepEqual([image.width, image.height], [6, 4], name);
    if (name === "palette PNG") near([...image.rgb], expected, 12);
    else assert.deepEqual([...image.rgb], expected, name);
  }
  const kinds = await Promise.all(files.map(([, bytes]) => sharp(bytes).metadata()));
  assert.deepEqual(kinds.map((m) => `${m.channels} ${m.depth} ${m.isPalette ?? false}`), [
    "3 uchar false",
    "3 uchar true",
    "3 uchar false",
    "3 ushort false",
    "1 uchar false",
    "1 ushort false",
  ]);
});

Deno.test("decode: JPEG, colour and grey, up to its losses", async () => {
  const colour = await decodeImage(await blank(9, 5).jpeg().toBuffer(), "a.jpg");
  near(pixel(colour, 8, 4), [200, 30, 20], 4);
  const grey = await decodeImage(await blank(9, 5).greyscale().jpeg().toBuffer(), "b.jpg");
  const [r, g, b] = pixel(grey, 0, 0);
  assert.ok(r === g && g === b);
});

Deno.test("decode: transparency lies over white, in 8 and 16 bits and in palettes", async () => {
  const rgba = new Uint8Array([200, 30, 20, 0, 200, 30, 20, 255, 0, 0, 0, 128]);
  const raw = { width: 3, height: 1, channels: 4 } as const;
  const files = [
    await sharp(rgba, { raw }).png().toBuffer(),
    await sharp(rgba, { raw }).webp({ lossless: true, exact: true }).toBuffer(),
    await sharp(rgba, { raw }).png({ palette: true }).toBuffer(),
    await sharp(Uint16Array.from(rgba, (v) => v * 257), { raw }).toColourspace("rgb16").png()
      .toBuffer(),
  ];
  for (const bytes of files) {
    const image = await decodeImage(bytes, "alpha");
    near(pixel(image, 0, 0), [255, 255, 255], 1);
    near(pixel(image, 1, 0), [200, 30, 20], 1);
    near(pixel(image, 2, 0), [127, 127, 127], 2);
  }
});

Deno.test("decode: each EXIF orientation puts the top left corner where it belongs", async () => {
  // The stored image has one white corner, top left; 16 px blocks survive JPEG.
  const stored = await sharp({
    create: { width: 64, height: 32, channels: 3, background: "black" },
  })
    .composite([{
      input: { create: { width: 16, height: 16, channels: 3, background: "white" } },
      left: 0,
      top: 0,
    }]).png().toBuffer();
  const corner = ["tl", "tr", "br", "bl", "tl", "tr", "br", "bl"];
  for (let orientation = 1; orientation <= 8; orientation++) {
    const image = await decodeImage(
      await sharp(stored).withMetadata({ orientation }).jpeg().toBuffer(),
      "o.jpg",
    );
    assert.deepEqual(
      [image.width, image.height],
      orientation <= 4 ? [64, 32] : [32, 64],
      `orientation ${orientation}`,
    );
    const x = corner[orientation - 1]!.includes("l") ? 4 : image.width - 5;
    const y = corner[orientation - 1]!.includes("t") ? 4 : image.height - 5;
    assert.ok(pixel(image, x, y)[0]! > 200, `orientation ${orientation}`);
    assert.ok(pixel(image, image.width - 1 - x, y)[0]! < 50);
  }
});

Deno.test("decode: one pixel is an image", async () => {
  const image = await decodeImage(await blank(1, 1).png().toBuffer(), "dot.png");
  assert.deepEqual([image.width, image.height, ...image.rgb], [1, 1, 200, 30, 20]);
});

Deno.test("read: files that are none are named, each with its own reason", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ovstage-"));
  try {
    const png = await patterned().png().toBuffer();
    const cases: [string, Uint8Array | null, RegExp][] = [
      ["missing.png", null, /missing\.png: no such file/],
      [
        "notes.png",
        new TextEncoder().encode("no image at all\n"),
        /notes\.png: is not a PNG, JPEG/,
      ],
      ["empty.png", new Uint8Array(0), /empty\.png: is empty/],
      ["short.png", png.subarray(0, png.length - 20), /short\.png: the PNG data is cut short/],
      ["head.png", png.subarray(0, 20), /head\.png: the PNG data is cut short/],
      ["drawing.png", new TextEncoder().encode("<svg xmlns='x'/>"), /drawing\.png: is not a PNG/],
    ];
    for (const [name, bytes, message] of cases) {
      const path = join(dir, name);
      if (bytes) writeFileSync(path, bytes);
      await assert.rejects(
        readImage(path),
        (error) =>
          error instanceof InputError && message.test(error.message) &&
          !error.message.includes("\n"),
      );
    }
    await assert.rejects(readImage(dir), /is a folder/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

Deno.test("decode: other formats are called by their names, whatever those of their files", async () => {
  const ftyp = (brand: string) => `\0\0\0\x18ftyp${brand}\0\0\0\0`;
  const avif = await patterned().avif().toBuffer();
  const cases: [string, Uint8Array | string][] = [
    ["GIF", await patterned().gif().toBuffer()],
    ["GIF", "GIF87a"],
    ["BMP", "BM\x36\x00\x0c\x00\0\0\0\0\x36\0\0\0"],
    ["TIFF", await patterned().tiff().toBuffer()],
    ["TIFF", "MM\0*\0\0\0\x08"],
    ["TIFF", "II+\0\x08\0\0\0"],
    ["AVIF", avif],
    ["HEIC", ftyp("heic")],
    ["HEIF", ftyp("mif1")],
  ];
  const decode = (content: Uint8Array | string) =>
    decodeImage(
      typeof content === "string" ? Uint8Array.from(content, (c) => c.charCodeAt(0)) : content,
      "a.png",
    );
  for (const [format, content] of cases) {
    await assert.rejects(decode(content), {
      name: "InputError",
      message: `a.png: is a ${format} image; convert it to PNG, JPEG or WebP`,
    });
  }
  for (const none of ["BMW drives by, and on", "GIF", "II", ftyp("isom")]) {
    await assert.rejects(decode(none), /is not a PNG, JPEG or WebP image, whatever its name says/);
  }
});

Deno.test("decode: a header that claims too many pixels is refused before they are decoded", async () => {
  const png = new Uint8Array(await blank(8, 8).png().toBuffer());
  const view = new DataView(png.buffer);
  view.setUint32(16, 50000);
  view.setUint32(20, 50000);
  // The header's checksum has to fit, or the file counts as damaged.
  let crc = 0xffffffff;
  for (let i = 12; i < 29; i++) {
    crc ^= png[i]!;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  }
  view.setUint32(29, (crc ^ 0xffffffff) >>> 0);
  await assert.rejects(decodeImage(png, "bomb.png"), /bomb\.png: 50000×50000 pixels; at most 100/);
});

Deno.test("decode: damaged files give an image or an InputError, nothing else", async () => {
  const noise = sharp(
    Uint8Array.from({ length: 40 * 30 * 4 }, (_, i) => (i * i * 31) % 251),
    { raw: { width: 40, height: 30, channels: 4 } },
  );
  const files = await Promise.all([
    noise.clone().png().toBuffer(),
    noise.clone().png({ palette: true, progressive: true }).toBuffer(),
    noise.clone().jpeg({ progressive: true }).withMetadata({ orientation: 6 }).toBuffer(),
    noise.clone().jpeg().toBuffer(),
    noise.clone().webp().toBuffer(),
    noise.clone().webp({ lossless: true }).toBuffer(),
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(7)), {
        maxLength: 6,
      }),
      async (file, keep, flips) => {
        const bytes = file.slice(
          0,
          flips.length > 0 ? file.length : Math.floor(keep * file.length),
        );
        for (const [where, bit] of flips) bytes[Math.floor(where * bytes.length)]! ^= 1 << bit;
        try {
          const image = await decodeImage(bytes, "fuzzed");
          assert.equal(image.rgb.length, image.width * image.height * 3);
        } catch (error) {
          assert.ok(error instanceof InputError, String(error));
          assert.match(error.message, /^fuzzed: [^\n]+$/);
        }
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("decode: a file cut anywhere before its last bytes is refused", async () => {
  const noise = sharp(
    Uint8Array.from({ length: 60 * 50 * 3 }, (_, i) => (i * i * 31) % 251),
    { raw: { width: 60, height: 50, channels: 3 } },
  );
  const files = await Promise.all([
    noise.clone().png().toBuffer(),
    noise.clone().jpeg().toBuffer(),
    noise.clone().webp().toBuffer(),
    noise.clone().webp({ lossless: true }).toBuffer(),
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...files),
      fc.double({ min: 0, max: 0.9, noNaN: true }),
      async (file, keep) => {
        await assert.rejects(
          decodeImage(file.subarray(0, Math.floor(keep * file.length)), "cut"),
          InputError,
        );
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("sharp: a missing package and a missing library have remedies of their own", () => {
  assert.match(
    sharpFailure(new Error("Cannot find package 'sharp' imported from /a.js")).message,
    /needs sharp 0\.35: .* `npm install sharp@0\.35\.5` \(Cannot find package 'sharp' imported/,
  );
  const withoutLibrary = `Could not load the "sharp" module using the linux-x64 runtime
Possible solutions:
- Ensure optional dependencies can be installed:
    npm install --include=optional sharp
- Ensure your package manager supports multi-platform installation:
    See https://sharp.pixelplumbing.com/install#cross-platform`;
  assert.equal(
    sharpFailure(new Error(withoutLibrary)).message,
    "sharp is installed, but can't be loaded: run `deno install`, or in Node, as sharp says: " +
      "Ensure optional dependencies can be installed: npm install --include=optional sharp " +
      '(Could not load the "sharp" module using the linux-x64 runtime)',
  );
});

Deno.test("decode: whoever has less memory takes fewer pixels", async () => {
  const bytes = await patterned().png().toBuffer();
  assert.equal((await decodeImage(bytes, "small", { maxPixels: 24 })).width, 6);
  await assert.rejects(decodeImage(bytes, "small", { maxPixels: 23 }), (error: Error) => {
    assert.ok(error instanceof InputError);
    assert.match(error.message, /^small: 6×4 pixels; at most 0\.000023 megapixels are taken/);
    return true;
  });
});
