/**
 * Every reader of foreign bytes on damaged files: it answers with what it can read, or with a typed
 * error. `OVS_FUZZ_CASES` sets the cases for each reader (the long run takes 100,000),
 * `OVS_FUZZ_SEED` which they are.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { ModelError } from "../../../lib/errors.ts";
import { Graph, ops } from "../../../lib/graph/mod.ts";
import { Rng } from "../../../lib/rng.ts";
import { float32 } from "../../../lib/tensor.ts";
import {
  bytesSource,
  graphFromOnnx,
  openOnnx,
  openSafetensors,
  openSharded,
  openTorchCheckpoint,
  openWeights,
  type WeightFile,
  writeOnnx,
} from "../../../lib/weights/mod.ts";
import { openZip } from "../../../lib/weights/zip.ts";
import { fixtureBytes } from "./fixtures.ts";
import { mutate } from "./mutate.ts";
import { concat, writeZip } from "./zip_writer.ts";

const cases = Number(process.env.OVS_FUZZ_CASES ?? 2000);
const seed = Number(process.env.OVS_FUZZ_SEED ?? 20);

/** Reads every tensor; none may be larger than the file (or than what a small one may repeat). */
async function readAll(file: WeightFile, size: number): Promise<void> {
  for (const [name, { shape }] of file.entries) {
    const { data } = await file.read(name);
    assert.equal(data.length, shape.reduce((a, b) => a * b, 1));
    assert.ok(data.byteLength <= Math.max(size, 1 << 20), `${name}: ${data.byteLength} bytes`);
  }
}

function fuzz(
  name: string,
  seeds: () => Promise<Uint8Array[]> | Uint8Array[],
  read: (bytes: Uint8Array) => Promise<void>,
): void {
  Deno.test(`damaged files: ${name}`, async () => {
    const files = await seeds();
    for (const bytes of files) await read(bytes);
    const rng = new Rng(seed);
    let refused = 0;
    for (let i = 0; i < cases; i++) {
      const bytes = mutate(rng.pick(files), files, rng.fork(i));
      try {
        await read(bytes);
      } catch (error) {
        if (!(error instanceof ModelError)) {
          throw new Error(`case ${i}: ${error}`, { cause: error });
        }
        assert.match(error.message, /^damaged/, `case ${i} doesn't name the file`);
        refused++;
      }
    }
    assert.ok(refused > cases / 4, `only ${refused} of ${cases} were refused`);
    assert.ok(refused < cases, "nothing could be read: the damage never lay in the elements");
  });
}

const source = (bytes: Uint8Array) => bytesSource("damaged", bytes);
const fixtures = (...files: string[]) => Promise.all(files.map(fixtureBytes));
const checkpoints = ["small.bin", "deflated.bin", "big_endian.bin", "checkpoint.pth", "script.pt"];

fuzz(
  "safetensors",
  () => fixtures("types.safetensors", "shards/model-00003-of-00003.safetensors"),
  async (bytes) => readAll(await openSafetensors(source(bytes)), bytes.length),
);

const shard = await openSafetensors(
  bytesSource("damaged shard", await fixtureBytes("types.safetensors")),
);
fuzz("the index of sharded files", () => {
  const names = [...shard.entries.keys()].slice(0, 6);
  const index = { metadata: { total_size: 9 }, weight_map: {} as Record<string, string> };
  for (const [i, name] of names.entries()) index.weight_map[name] = `model-${i % 2}.safetensors`;
  return [0, 2].map((indent) => new TextEncoder().encode(JSON.stringify(index, null, indent)));
}, async (bytes) => {
  // The folder holds any file whose name is a plain one.
  const file = await openSharded(source(bytes), (name) => {
    assert.ok(!name.split("/").includes("..") && !name.startsWith("/"), name);
    return Promise.resolve(shard);
  });
  await readAll(file, 1 << 20);
});

fuzz(
  "PyTorch's zip archives",
  () => fixtures(...checkpoints),
  async (bytes) => readAll(await openTorchCheckpoint(source(bytes)), bytes.length),
);

/** The files of a checkpoint other than its pickle. */
const rest = await (async () => {
  const zip = await openZip(source(await fixtureBytes("checkpoint.pth")));
  const names = [...zip.entries.keys()].filter((name) => /\/data\/\d+$/.test(name));
  const files = await Promise.all(names.map((name) => zip.read(name)));
  return files.map((bytes, i) => ({ name: names[i]!.replace(/^[^/]*/, "x"), bytes }));
})();
fuzz(
  "PyTorch's pickles, in archives with right checksums",
  () =>
    Promise.all(["checkpoint.pth", "protocol5.pth"].map(async (file) => {
      const zip = await openZip(source(await fixtureBytes(file)));
      return zip.read([...zip.entries.keys()].find((name) => name.endsWith("/data.pkl"))!);
    })),
  async (bytes) => {
    const archive = writeZip([{ name: "x/data.pkl", bytes }, ...rest]);
    const unknownObjects = bytes.length % 2 === 0 ? "refuse" : "inert";
    await readAll(await openTorchCheckpoint(source(archive), { unknownObjects }), archive.length);
  },
);

const parts = (() => {
  const graph = new Graph("n");
  const x = graph.input("x", [4, 8]);
  const hidden = ops.matMul(x, graph.parameter("w", float32([8, 16])));
  graph.output("y", ops.softmax(ops.reshape(ops.relu(hidden), [4, 4, 4]), -1));
  return writeOnnx(graph, { minBytes: 256, metadata: { a: "b" } });
})();
const folder: Record<string, Uint8Array> = {
  "weights.bin": concat(parts.external!.pieces),
  "foreign.bin": await fixtureBytes("foreign.bin"),
};
fuzz("ONNX", async () => [parts.model, await fixtureBytes("foreign.onnx")], async (bytes) => {
  const file = await openOnnx(source(bytes), {
    sibling(path) {
      assert.ok(!path.split("/").includes("..") && !path.startsWith("/"), path);
      return Promise.resolve(bytesSource("damaged folder", folder[path] ?? new Uint8Array(0)));
    },
  });
  await readAll(file, Math.max(bytes.length, 1024));
});

fuzz("ONNX, as graphs", () => [parts.model], async (bytes) => {
  const sibling = () => Promise.resolve(bytesSource("damaged folder", folder["weights.bin"]!));
  await graphFromOnnx(await openOnnx(source(bytes), { sibling }));
});

fuzz(
  "any format, told by its first bytes",
  () => fixtures("types.safetensors", "small.bin", "foreign.onnx"),
  async (bytes) => {
    const sibling = () => Promise.resolve(bytesSource("damaged folder", folder["foreign.bin"]!));
    const file = await openWeights(source(bytes), { sibling });
    await readAll(file, 1 << 20);
  },
);
