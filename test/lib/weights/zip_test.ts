import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { ModelError } from "../../../lib/errors.ts";
import { bytesSource } from "../../../lib/weights/mod.ts";
import { crc32, openZip } from "../../../lib/weights/zip.ts";
import { writeZip, type ZipFile } from "./zip_writer.ts";

const open = (bytes: Uint8Array) => openZip(bytesSource("a.zip", bytes));
const some: ZipFile[] = [
  { name: "a/one", bytes: Uint8Array.from({ length: 300 }, (_, i) => i % 7) },
  { name: "a/two", bytes: Uint8Array.of(1, 2, 3), deflate: true },
];

function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof ModelError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("crc32: the check value, and zlib's at every length and alignment", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  const bytes = Uint8Array.from({ length: 80 }, (_, i) => i * i * 37);
  for (let start = 0; start < 9; start++) {
    for (let end = start; end <= bytes.length; end++) {
      // A gzip file ends with its checksum and length.
      const packed = gzipSync(bytes.subarray(start, end));
      const expected = packed.readUInt32LE(packed.length - 8);
      assert.equal(crc32(bytes.subarray(start, end)), expected);
    }
  }
});

Deno.test("zip: stored and deflated entries, zip64 or not, come back", () =>
  fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.record({
          name: fc.string({ unit: "grapheme", maxLength: 20 }),
          bytes: fc.uint8Array({ maxLength: 200 }),
          deflate: fc.boolean(),
          zip64: fc.boolean(),
        }),
        { selector: ({ name }) => name, maxLength: 6 },
      ),
      fc.boolean(),
      async (files, zip64) => {
        const zip = await open(writeZip(files, { zip64 }));
        assert.deepEqual([...zip.entries.keys()], files.map(({ name }) => name));
        for (const { name, bytes } of files) assert.deepEqual(await zip.read(name), bytes);
      },
    ),
    { numRuns: 60 },
  ));

Deno.test("zip: what isn't read is refused by name", async () => {
  await refuses(open(new Uint8Array(100)), /no end record/);
  await refuses(open(new Uint8Array(0)), /has 0|no end record/);
  await refuses(open(writeZip([{ ...some[0]!, patch: [8, 1] }])), /"a\/one" is encrypted/);
  await refuses(open(writeZip([{ ...some[0]!, patch: [10, 12] }])), /packing method 12/);
  await refuses(open(writeZip([some[0]!, some[0]!])), /"a\/one" is there twice/);
  await refuses((await open(writeZip(some))).read("b"), /"b" is missing/);
});

Deno.test("zip: an entry that would unpack to more than it can is refused unread", async () => {
  const bomb = writeZip([{ ...some[1]!, patch: [26, 0x7fff] }]);
  await refuses(open(bomb), /can't unpack to/);
  await refuses(open(writeZip([{ ...some[0]!, patch: [24, 3] }])), /can't unpack to/);
});

Deno.test("zip: damage to bytes is found by the checksum", async () => {
  const bytes = writeZip(some);
  bytes[40] = bytes[40]! ^ 4;
  await refuses((await open(bytes)).read("a/one"), /"a\/one" is damaged: its checksum/);
});

Deno.test("zip: entries that overlap are refused", async () => {
  // The second entry's directory record points at the first one's bytes.
  await refuses(open(writeZip([some[0]!, { ...some[1]!, patch: [42, 0] }])), /share their bytes/);
});
