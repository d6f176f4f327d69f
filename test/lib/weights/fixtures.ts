/** The files of `test/fixtures/weights/` and what Python says is in them. */
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { type ByteSource, bytesSource, type WeightFile } from "../../../lib/weights/mod.ts";
import { bytesOf } from "../../../lib/weights/weight_file.ts";

const folder = new URL("../../fixtures/weights/", import.meta.url);

export interface ExpectedTensor {
  name: string;
  dtype: string;
  shape: number[];
  /** Little-endian elements in base64. */
  data: string;
}

export function fixtureBytes(file: string): Promise<Uint8Array> {
  return readFile(new URL(file, folder));
}

export async function fixture(file: string): Promise<ByteSource> {
  return bytesSource(file, await fixtureBytes(file));
}

export const expected: Record<string, ExpectedTensor[]> = JSON.parse(
  new TextDecoder().decode(await fixtureBytes("expected.json")),
);

export const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

/** Every tensor of the file, and no other, has exactly the expected bytes. */
export async function assertTensors(
  file: WeightFile,
  tensors: readonly ExpectedTensor[],
): Promise<void> {
  assert.ok(tensors.length > 0);
  assert.deepEqual([...file.entries.keys()].sort(), tensors.map((t) => t.name).sort());
  for (const { name, dtype, shape, data } of tensors) {
    const { dtype: entryType, shape: entryShape } = file.entries.get(name)!;
    assert.deepEqual({ dtype: entryType, shape: entryShape }, { dtype, shape }, name);
    const tensor = await file.read(name);
    const found = { ...tensor, data: base64(bytesOf(tensor)) };
    assert.deepEqual(found, { dtype, shape, data }, name);
  }
}
