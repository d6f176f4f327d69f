import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { InputError, ModelError } from "../../../lib/errors.ts";
import { float32 } from "../../../lib/tensor.ts";
import { type WeightTensor, writeSafetensors } from "../../../lib/weights/mod.ts";
import {
  encodeEmbeddingFile,
  readEmbeddingFile,
  rowsOfNames,
} from "../../../plugins/evaluation/embedding_file.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-embeddings-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
let files = 0;
function file(bytes: Uint8Array): string {
  const path = join(dir, `${files++}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

const names = fc.uniqueArray(
  fc.string({ minLength: 1 }).filter((name) => name !== "__metadata__"),
  {
    minLength: 1,
    maxLength: 6,
  },
);

Deno.test("embedding file: both forms give the rows by name, in any order asked for", async () => {
  await fc.assert(
    fc.asyncProperty(names, fc.integer({ min: 1, max: 4 }), async (names, size) => {
      const rows = float32(
        [names.length, size],
        Float32Array.from({ length: names.length * size }, (_, i) => i + 0.5),
      );
      const row = (i: number) => rows.data.slice(i * size, (i + 1) * size);
      const forms = [
        encodeEmbeddingFile(names, rows),
        writeSafetensors(names.map((name, i) => [name, float32([size], row(i))])),
        writeSafetensors(names.map((name, i) => [name, float32([1, size], row(i))])),
      ];
      for (const bytes of forms) {
        const table = await readEmbeddingFile(file(bytes));
        assert.equal(table.size, size);
        const asked = names.toReversed();
        const found = rowsOfNames(table, asked, "f");
        assert.deepEqual(found.shape, [names.length, size]);
        asked.forEach((name, i) =>
          assert.deepEqual(
            found.data.slice(i * size, (i + 1) * size),
            row(names.indexOf(name)),
          )
        );
      }
    }),
    { numRuns: 20 },
  );
});

Deno.test("embedding file: halves are widened", async () => {
  const half: WeightTensor = { dtype: "float16", shape: [2], data: Uint16Array.of(0x3c00, 0xc000) };
  const { rows } = await readEmbeddingFile(file(writeSafetensors([["dog", half]])));
  assert.deepEqual([...rows.get("dog")!], [1, -2]);
});

Deno.test("embedding file: what is wrong is named", async () => {
  const two = float32([2, 3]);
  const matrix = (metadata: Record<string, string>) =>
    writeSafetensors([["embeddings", two]], { metadata });
  const ints: WeightTensor = { dtype: "int32", shape: [3], data: new Int32Array(3) };
  const refused: [Uint8Array, RegExp][] = [
    [writeSafetensors([]), /holds no embeddings/],
    [writeSafetensors([["dog", ints]]), /"dog" is int32; embeddings are floating-point/],
    [matrix({}), /"embeddings" is 2×3; it must be a category's row .* under "names"/],
    [matrix({ names: '["dog"' }), /its metadata "names" is no valid JSON/],
    [matrix({ names: '{"dog": 1}' }), /must be a JSON array of names/],
    [matrix({ names: '["dog", 3]' }), /must be a JSON array of names/],
    [matrix({ names: '["dog"]' }), /has 1 names for 2 rows/],
    [matrix({ names: '["dog", "dog"]' }), /"dog" is there twice/],
    [
      writeSafetensors([["embeddings", float32([2])]], { metadata: { names: '["a", "b"]' } }),
      /"embeddings" is 2; it must be N×D/,
    ],
    [
      writeSafetensors([["a", float32([2])], ["b", float32([3])]]),
      /"b" has 3 numbers, others have 2/,
    ],
    [writeSafetensors([["a", float32([])]]), /"a" is scalar; it must be a category's row/],
  ];
  for (const [bytes, message] of refused) {
    await assert.rejects(
      readEmbeddingFile(file(bytes)),
      (error) => error instanceof InputError && message.test(error.message),
      String(message),
    );
  }
  await assert.rejects(readEmbeddingFile(join(dir, "gone.safetensors")), InputError);
  await assert.rejects(readEmbeddingFile(file(matrix({}).slice(0, 40))), ModelError);

  const table = { size: 1, rows: new Map([["dog", Float32Array.of(1)]]) };
  assert.throws(
    () => rowsOfNames(table, ["dog", "a", "b", "c", "d"], "rows.safetensors"),
    /rows\.safetensors: has no embedding of "a", "b", "c" and 1 more; it has 1 names, and 5 are/,
  );
  const flat: [number[], RegExp][] = [
    [[0, 0], /^the embedding of "b" in rows\.safetensors is all zeros; it has no direction$/],
    [[1, NaN], /^the embedding of "b" in rows\.safetensors is not finite/],
    [[Infinity, 0], /^the embedding of "b" in rows\.safetensors is not finite/],
  ];
  for (const [row, message] of flat) {
    const rows = new Map([["a", Float32Array.of(1, 0)], ["b", Float32Array.from(row)]]);
    assert.throws(
      () => rowsOfNames({ size: 2, rows }, ["a", "b"], "rows.safetensors"),
      (error) => error instanceof InputError && message.test(error.message),
    );
    // A row that nobody asks for does no harm.
    assert.deepEqual(rowsOfNames({ size: 2, rows }, ["a"], "rows.safetensors").shape, [1, 2]);
  }
});
