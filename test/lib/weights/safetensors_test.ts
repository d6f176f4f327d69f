import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError } from "../../../lib/errors.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import {
  blobSource,
  type ByteSource,
  bytesSource,
  type ElementType,
  openSafetensors,
  openSharded,
  openWeights,
  toFloat32,
  type WeightTensor,
  writeSafetensors,
  writeShardedSafetensors,
} from "../../../lib/weights/mod.ts";
import { bytesOf, bytesPerElement, elementsOf } from "../../../lib/weights/weight_file.ts";
import { assertTensors, expected, fixture, fixtureBytes } from "./fixtures.ts";

const text = new TextEncoder();

/** A file with this header and so many bytes of data. */
function withHeader(header: unknown, dataLength: number): ByteSource {
  const json = text.encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytesSource("bad.safetensors", bytes);
}

function refuses(source: ByteSource, message: RegExp): Promise<void> {
  return assert.rejects(openSafetensors(source), (error) => {
    assert.ok(error instanceof ModelError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("safetensors: every element type, as the reference reads it", async () => {
  const file = await openSafetensors(await fixture("types.safetensors"));
  await assertTensors(file, expected["types.safetensors"]!);
  assert.deepEqual([...file.metadata], [["format", "pt"]]);
});

Deno.test("safetensors: written bytes are the reference's own", async () => {
  const bytes = await fixtureBytes("types.safetensors");
  const file = await openSafetensors(bytesSource("types", bytes));
  const tensors: [string, WeightTensor][] = [];
  for (const name of file.entries.keys()) tensors.push([name, await file.read(name)]);
  const written = writeSafetensors(tensors.reverse(), { metadata: { format: "pt" } });
  assert.deepEqual(written, new Uint8Array(bytes));
});

const dtypes: ElementType[] = ["float32", "float64", "float16", "bfloat16", "int8", "uint8"];
dtypes.push("int16", "uint16", "int32", "uint32", "int64", "uint64", "bool");
const tensorArbitrary = fc.tuple(fc.constantFrom(...dtypes), fc.array(fc.nat(3), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const length = shape.reduce((a, b) => a * b, 1) * bytesPerElement(dtype);
    return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => ({
      dtype,
      shape,
      data: elementsOf(dtype, bytes),
    }));
  });
const fileArbitrary = fc.uniqueArray(
  fc.tuple(fc.string({ unit: "grapheme" }), tensorArbitrary),
  { selector: ([name]) => name, maxLength: 8 },
);

Deno.test("safetensors: what is written is read, whole and in shards", () =>
  fc.assert(
    fc.asyncProperty(fileArbitrary, fc.integer({ min: 1, max: 64 }), async (tensors, max) => {
      fc.pre(tensors.every(([name]) => name !== "__metadata__"));
      const files = new Map(writeShardedSafetensors(tensors, { maxShardBytes: max, stem: "m" }));
      const index = files.get("m.safetensors.index.json");
      assert.equal(index === undefined, files.size === 1);
      const whole = bytesSource("whole", writeSafetensors(tensors));
      const opened = [
        await openSafetensors(whole),
        await openWeights(bytesSource("m", index ?? files.get("m.safetensors")!), {
          sibling: (file) => Promise.resolve(bytesSource(file, files.get(file)!)),
        }),
      ];
      for (const file of opened) {
        assert.deepEqual([...file.entries.keys()].sort(), tensors.map(([name]) => name).sort());
        for (const [name, { dtype, shape, data }] of tensors) {
          const found = await file.read(name);
          assert.deepEqual([found.dtype, found.shape], [dtype, shape]);
          assert.deepEqual(bytesOf(found), bytesOf({ dtype, shape, data }));
        }
      }
      for (const [name, bytes] of files) {
        if (name.endsWith(".json")) continue;
        const shard = await openSafetensors(bytesSource(name, bytes));
        const sizes = [...shard.entries.keys()].map((n) => tensors.find(([m]) => m === n)![1].data);
        const size = sizes.reduce((n, data) => n + data.byteLength, 0);
        assert.ok(size <= max || shard.entries.size - sizes.filter((d) => !d.length).length === 1);
      }
    }),
    { numRuns: 60 },
  ));

Deno.test("safetensors: only the ranges that are asked for are read", async () => {
  const tensor = new HostTensor("float32", [1000]);
  const bytes = writeSafetensors([["a", tensor], ["b", tensor], ["c", tensor]]);
  let read = 0;
  const file = await openSafetensors({
    name: "counted",
    size: bytes.length,
    read(offset, length) {
      read += length;
      return Promise.resolve(bytes.slice(offset, offset + length));
    },
  });
  assert.ok(read < 400);
  await file.read("b");
  assert.ok(read < 4400);
});

Deno.test("safetensors: a Blob is a source", async () => {
  const bytes = await fixtureBytes("types.safetensors");
  const source = blobSource("types", new Blob([new Uint8Array(bytes)]));
  await assertTensors(await openSafetensors(source), expected["types.safetensors"]!);
});

Deno.test("safetensors: invalid files are refused, with the file and the tensor", async () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  const huge = new Uint8Array(16);
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true);
  await refuses(bytesSource("bad.safetensors", huge), /^bad\.safetensors: .*header would take/);
  await refuses(bytesSource("bad.safetensors", new Uint8Array(3)), /the file has 3/);
  await refuses(withHeader("[1]", 0), /doesn't start with "{"/);
  await refuses(withHeader("{,", 0), /not JSON/);
  await refuses(withHeader({ w: f32(0, 8) }, 4), /cut short/);
  await refuses(withHeader({ w: f32(0, 8) }, 12), /end at byte/);
  await refuses(withHeader({ w: f32(4, 8) }, 8), /"w" starts at byte 4.*holes/);
  await refuses(withHeader({ v: f32(0, 8), w: f32(4, 12) }, 12), /"w" starts at byte 4.*overlap/);
  await refuses(withHeader({ w: f32(0, 8, [3]) }, 8), /"w": F32 3 takes 12 bytes.*8/);
  await refuses(withHeader({ w: f32(0, 8, [2 ** 40, 2 ** 40]) }, 8), /too many/);
  await refuses(withHeader({ w: { ...f32(0, 8), dtype: "F4" } }, 8), /"F4" isn't supported/);
  await refuses(withHeader({ w: { ...f32(0, 8), shape: [-2] } }, 8), /whole numbers/);
  await refuses(withHeader({ w: { ...f32(0, 8), data_offsets: [0] } }, 8), /data_offsets/);
  await refuses(withHeader({ w: { ...f32(0, 8), data_offsets: [8, 0] } }, 8), /data_offsets/);
  await refuses(withHeader({ __metadata__: { a: 1 } }, 0), /__metadata__/);
  const entry = JSON.stringify(f32(0, 4));
  await refuses(withHeader(`{"w":${entry},"\\u0077":${entry}}`, 4), /the key "w" twice/);
  await refuses(withHeader(`${"{".repeat(50000)}`, 0), /not JSON/);
});

Deno.test("safetensors: a missing tensor is named, and so is a source that ends early", async () => {
  const bytes = writeSafetensors([["weight", new HostTensor("float32", [4])]]);
  const file = await openSafetensors(bytesSource("a.safetensors", bytes));
  await assert.rejects(file.read("wieght"), /a\.safetensors: no tensor "wieght".*"weight"/);
  const short = await openSafetensors({
    ...bytesSource("short", bytes),
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + Math.min(length, 90))),
  });
  await short.read("weight");
  const cut = { ...bytesSource("cut", bytes), read: () => Promise.resolve(new Uint8Array(1)) };
  await assert.rejects(openSafetensors(cut), /cut short/);
});

Deno.test("safetensors: a name that is taken or reserved isn't written", () => {
  const tensor = new HostTensor("float32", [1]);
  assert.throws(() => writeSafetensors([["a", tensor], ["a", tensor]]), ModelError);
  assert.throws(() => writeSafetensors([["__metadata__", tensor]]), ModelError);
  const broken = { dtype: "float32", shape: [3], data: new Float32Array(2) } as const;
  assert.throws(() => writeSafetensors([["a", broken]]), /takes 12 bytes, its elements 8/);
});

Deno.test("sharded: what save_pretrained wrote", async () => {
  const index = "shards/model.safetensors.index.json";
  const file = await openSharded(
    await fixture(index),
    async (name) => openSafetensors(await fixture(`shards/${name}`)),
  );
  await assertTensors(file, expected[index]!);
  assert.equal(file.shards.size, 3);
});

Deno.test("sharded: an index reaches nothing outside of its folder", async () => {
  const open = (map: unknown) =>
    openSharded(bytesSource("index", text.encode(JSON.stringify({ weight_map: map }))), () => {
      throw new Error("opened");
    });
  for (const path of ["../a", "/etc/a", "a/../../b", "c:\\a", "", ".", "https://a/b"]) {
    await assert.rejects(open({ w: path }), /index: tensor "w" names the file/);
  }
  await assert.rejects(open({ w: 1 }), ModelError);
  await assert.rejects(open([]), /weight_map/);
});

Deno.test("sharded: a tensor that its file lacks", async () => {
  const shard = writeSafetensors([["a", new HostTensor("float32", [1])]]);
  const index = text.encode(JSON.stringify({ weight_map: { a: "s", b: "s" } }));
  await assert.rejects(
    openSharded(bytesSource("index", index), (f) => openSafetensors(bytesSource(f, shard))),
    /tensor "b" should be in s/,
  );
});

Deno.test("toFloat32: values of every element type", () => {
  const cases: [WeightTensor, number[]][] = [
    [{ dtype: "bfloat16", shape: [2], data: Uint16Array.of(0x3fc0, 0xc000) }, [1.5, -2]],
    [{ dtype: "float16", shape: [2], data: Uint16Array.of(0x3e00, 0xc000) }, [1.5, -2]],
    [{ dtype: "int64", shape: [2], data: BigInt64Array.of(-3n, 2n ** 40n) }, [-3, 2 ** 40]],
    [{ dtype: "bool", shape: [1], data: Uint8Array.of(1) }, [1]],
    [{ dtype: "float64", shape: [1], data: Float64Array.of(0.1) }, [Math.fround(0.1)]],
  ];
  for (const [tensor, values] of cases) assert.deepEqual([...toFloat32(tensor).data], values);
});
