import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError, ModelError } from "../../../lib/errors.ts";
import { fileSource, openWeightsFile } from "../../../plugins/codecs/weights_file.ts";
import { assertTensors, expected } from "../../lib/weights/fixtures.ts";

const folder = fileURLToPath(new URL("../../fixtures/weights/", import.meta.url));

for (
  const [name, tensors] of [
    ["types.safetensors", "types.safetensors"],
    ["shards/model.safetensors.index.json", "shards/model.safetensors.index.json"],
    ["foreign.onnx", "foreign.onnx"],
    ["small.bin", "small.bin"],
  ] as const
) {
  Deno.test(`weights on disk: ${name}, with what lies next to it`, async () => {
    await using file = await openWeightsFile(join(folder, name));
    await assertTensors(file, expected[tensors]!);
  });
}

Deno.test("weights on disk: what isn't there, and a file that shrinks", async () => {
  await assert.rejects(openWeightsFile(join(folder, "nothing.bin")), (error) => {
    assert.ok(error instanceof InputError);
    assert.match(error.message, /nothing\.bin: no such file/);
    return true;
  });
  await assert.rejects(openWeightsFile(folder), InputError);
  const own = await mkdtemp(join(tmpdir(), "ovstage-"));
  try {
    const path = join(own, "a.safetensors");
    await copyFile(join(folder, "types.safetensors"), path);
    await using file = await openWeightsFile(path);
    await truncate(path, 1300);
    const names = [...file.entries.keys()];
    const results = await Promise.allSettled(names.map((name) => file.read(name)));
    const failed = results.filter((result) => result.status === "rejected");
    assert.ok(failed.length > 0 && failed.length < names.length);
    for (const { reason } of failed) {
      assert.ok(reason instanceof ModelError);
      assert.match(reason.message, /cut short/);
    }

    const index = join(own, "x.index.json");
    await writeFile(index, JSON.stringify({ weight_map: { w: "x.index.json" } }));
    await assert.rejects(openWeightsFile(index), ModelError);
    await writeFile(index, JSON.stringify({ weight_map: { w: "gone.safetensors" } }));
    await assert.rejects(openWeightsFile(index), InputError);
  } finally {
    await rm(own, { recursive: true });
  }
});

Deno.test("weights on disk: ranges beyond two gigabytes", async () => {
  const own = await mkdtemp(join(tmpdir(), "ovstage-"));
  try {
    // A sparse file takes no room.
    const path = join(own, "large");
    await writeFile(path, "x");
    await truncate(path, 5 * 2 ** 30);
    await using source = await fileSource(path);
    assert.equal(source.size, 5 * 2 ** 30);
    assert.deepEqual(await source.read(5 * 2 ** 30 - 4, 4), new Uint8Array(4));
  } finally {
    await rm(own, { recursive: true });
  }
});
