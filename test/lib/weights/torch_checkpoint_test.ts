import assert from "node:assert/strict";
import { ModelError } from "../../../lib/errors.ts";
import {
  bytesSource,
  InertObject,
  openTorchCheckpoint,
  openWeights,
  type PickleValue,
  TorchTensor,
} from "../../../lib/weights/mod.ts";
import { openZip } from "../../../lib/weights/zip.ts";
import { assertTensors, expected, fixture, fixtureBytes } from "./fixtures.ts";
import { concat, writeZip } from "./zip_writer.ts";

/** The files of a checkpoint, to be changed and zipped again. */
async function unpacked(file: string): Promise<Map<string, Uint8Array>> {
  const zip = await openZip(await fixture(file));
  const files = new Map<string, Uint8Array>();
  for (const name of zip.entries.keys()) files.set(name, await zip.read(name));
  return files;
}

function packed(files: Map<string, Uint8Array>) {
  const bytes = writeZip([...files].map(([name, bytes]) => ({ name, bytes })));
  return bytesSource("bad.pth", bytes);
}

function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof ModelError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** A small checkpoint whose pickle is made of these instructions. */
function withPickle(...parts: (string | number[])[]) {
  const pickle = concat(
    parts.map((part) =>
      Uint8Array.from(typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : part)
    ),
  );
  return packed(new Map([["x/data.pkl", pickle], ["x/data/0", new Uint8Array(16)]]));
}
const text = (s: string) => `X${String.fromCharCode(s.length)}\0\0\0${s}`;
/** A storage of four float32. */
const storage = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}K\x04tQ`;
const tensor = (offset: string, sizes: string, strides: string) =>
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${offset}${sizes}${strides}\x89NtR.`;

for (const file of ["checkpoint.pth", "protocol5.pth"]) {
  Deno.test(`PyTorch: ${file}: every type, views, shared and nested, exactly`, async () => {
    const checkpoint = await openTorchCheckpoint(await fixture(file));
    await assertTensors(checkpoint, expected["checkpoint.pth"]!);

    const data = checkpoint.data as Map<string, PickleValue>;
    const rest = new Map(data);
    for (const key of ["model", "module", "optimizer"]) rest.delete(key);
    assert.deepEqual(
      rest,
      new Map<string, PickleValue>([
        ["epoch", 12],
        ["best", 0.625],
        ["name", "naïve ✓"],
        ["big", 2n ** 70n],
        ["negative", -(2 ** 40)],
        ["none", null],
        ["flags", [true, false]],
        ["tuple", [1, [2, 3], []]],
        ["bytes", Uint8Array.of(0, 255, 97, 98)],
        ["bytearray", Uint8Array.of(120, 121, 122)],
        ["set", new Set([5])],
        ["size", [2, 3]],
        ["dtype", "torch.float16"],
        ["device", "cpu"],
      ]),
    );
    const model = data.get("model") as Map<string, PickleValue>;
    const [view, shared] = [model.get("view.offset"), model.get("view.shared")];
    assert.ok(view instanceof TorchTensor && shared instanceof TorchTensor);
    assert.equal(view.record, shared.record);
  });
}

for (const file of ["small.bin", "deflated.bin", "big_endian.bin"]) {
  Deno.test(`PyTorch: ${file}`, async () => {
    await assertTensors(await openWeights(await fixture(file)), expected["small.bin"]!);
  });
}

Deno.test("PyTorch: a TorchScript program's weights", async () => {
  const file = await openTorchCheckpoint(await fixture("script.pt"));
  await assertTensors(file, expected["script.pt"]!);
});

Deno.test("PyTorch: a tensor that shares elements is a copy of its own", async () => {
  const file = await openTorchCheckpoint(await fixture("checkpoint.pth"));
  const first = await file.read("model.view.shared");
  (first.data as Float32Array).fill(-1);
  const again = await file.read("model.view.shared");
  assert.equal(again.data[3], 3);
});

Deno.test("PyTorch: a pickle that calls anything is refused by name", async () => {
  await refuses(
    openTorchCheckpoint(await fixture("evil.pth")),
    /evil\.pth: data\.pkl.*"posix\.system"/,
  );
});

Deno.test("PyTorch: objects of other classes can be kept, inert, and the weights read", async () => {
  const source = await fixture("evil.pth");
  const file = await openTorchCheckpoint(source, { unknownObjects: "inert" });
  assert.deepEqual((await file.read("weight")).data, new Float32Array(1));
  const hook = (file.data as Map<string, PickleValue>).get("hook");
  assert.ok(hook instanceof InertObject);
  assert.deepEqual([hook.global, hook.args], ["posix.system", ["true"]]);
  // A dict of a class of its own: its items are there, and so is the tensor among them.
  const one = tensor("K\x00", "K\x04\x85", "K\x01\x85").slice(0, -1);
  const config = `cmmengine.config\nConfigDict\n)\x81(${text("w")}${one}u}${text("a")}K\x01sb.`;
  await refuses(openTorchCheckpoint(withPickle(config)), /"mmengine\.config\.ConfigDict"/);
  const kept = await openTorchCheckpoint(withPickle(config), { unknownObjects: "inert" });
  assert.deepEqual([...kept.entries.keys()], ["w"]);
  assert.equal((kept.data as InertObject).get("a"), 1);
});

Deno.test("PyTorch: damage is refused with the file and the place", async () => {
  const small = await unpacked("small.bin");
  const without = (end: string) => new Map([...small].filter(([name]) => !name.endsWith(end)));
  await refuses(
    openTorchCheckpoint(packed(without("/data/1"))),
    /storage "1" isn't in the archive/,
  );
  await refuses(openTorchCheckpoint(packed(without("data.pkl"))), /0 files "\*\/data\.pkl"/);
  const cut = new Map(small).set("small/data/0", new Uint8Array(20));
  await refuses(openTorchCheckpoint(packed(cut)), /storage "0" should have 96 bytes.*20/);
  const order = new Map(small).set("small/byteorder", Uint8Array.of(1));
  await refuses(openTorchCheckpoint(packed(order)), /byte order/);
  const bytes = await fixtureBytes("small.bin");
  await refuses(openTorchCheckpoint(bytesSource("cut", bytes.subarray(0, 900))), /cut/);
  await refuses(
    openTorchCheckpoint(bytesSource("old", Uint8Array.of(0x80, 2, 0x8a))),
    /old: a bare pickle.*save it again/,
  );
});

Deno.test("PyTorch: tensors stay inside of their storage", async () => {
  const open = (...args: Parameters<typeof tensor>) =>
    openTorchCheckpoint(withPickle(tensor(...args)));
  const whole = await open("K\x00", "K\x04\x85", "K\x01\x85");
  assert.deepEqual([...whole.entries.keys()], ["tensor"]);
  const empty = await open("K\x09", "K\x00\x85", "K\x01\x85");
  assert.equal((await empty.read("tensor")).data.length, 0);
  await refuses(open("K\x01", "K\x04\x85", "K\x01\x85"), /reaches element 5 of a storage of 4/);
  await refuses(open("K\x00", "K\x02\x85", "K\x04\x85"), /reaches element 5/);
  await refuses(open("K\x00", "K\x02K\x02\x86", "K\x01\x85"), /as many of each/);
  await refuses(open("J\xff\xff\xff\xff", "K\x02\x85", "K\x01\x85"), /whole numbers/);
  await refuses(open("K\x00", "J\xff\xff\xff\x7f\x85", "K\x00\x85"), /more bytes than the file/);
  const huge = "J\xff\xff\xff\x7f";
  await refuses(open("K\x00", `${huge}${huge}\x86`, "K\x00K\x00\x86"), /reaches/);
});

Deno.test("PyTorch: a short pickle can't make much of little", async () => {
  // Each list holds the one before it twice: 2⁴⁰ paths in a few hundred bytes.
  const char = String.fromCharCode;
  const levels = Array.from({ length: 40 }, (_, i) => `(h${char(i)}h${char(i)}lq${char(i + 1)}0`);
  await refuses(
    openTorchCheckpoint(withPickle("]q\x000", ...levels, "h\x28.")),
    /shares containers more often/,
  );
  // One string, turned into bytes again and again.
  const long = `X${"\0\x10\0\0"}${"a".repeat(4096)}q\0${text("latin1")}q\x01`;
  const again = "c_codecs\nencode\nh\0h\x01\x86R".repeat(40);
  await refuses(openTorchCheckpoint(withPickle("(", long, again, "l.")), /copy more than/);
  // A list that holds itself.
  await refuses(openTorchCheckpoint(withPickle("]q\0h\0a.")), /levels deep|more often/);
});

Deno.test("PyTorch: two tensors with one dotted name are refused", async () => {
  const one = tensor("K\x00", "K\x04\x85", "K\x01\x85").slice(0, -1);
  const nested = `}${text("a")}}${text("b")}${one}ss${text("a.b")}${one}s.`;
  await refuses(openTorchCheckpoint(withPickle(nested)), /two tensors are called "a\.b"/);
});
