import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { ModelError, OutputError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import {
  checkIdentity,
  type Checkpoint,
  CheckpointFolder,
  readCheckpoint,
} from "../../../plugins/training/checkpoint.ts";
import { fullAfter } from "./full_disk.ts";

function draw(step: number, size = 5): Checkpoint {
  const rng = new Rng(step);
  const numbers = () => Float32Array.from({ length: size }, () => rng.normal());
  return {
    step,
    identity: { stage: "clip", schedule: [{ steps: 10 }] },
    log: { sums: { loss: 0.1 }, counted: 1 },
    params: numbers(),
    optimizer: { step, m: numbers(), v: numbers() },
  };
}

async function withFolder(body: (path: string) => Promise<void> | void): Promise<void> {
  const path = fs.mkdtempSync(join(tmpdir(), "ovs-checkpoint-"));
  try {
    await body(path);
  } finally {
    fs.rmSync(path, { recursive: true });
  }
}

Deno.test("checkpoints: what was saved comes back, bit for bit", () =>
  withFolder(async (path) => {
    const checkpoint = draw(7);
    checkpoint.params.set([NaN, -0, Infinity, 1e-45, 1]);
    const file = new CheckpointFolder(path).save(checkpoint);
    const read = await readCheckpoint(file);
    assert.deepEqual(read, checkpoint);
    assert.ok(Object.is(read.params[1], -0));
  }));

Deno.test("checkpoints: every truncation and every flipped bit is refused by name", () =>
  withFolder(async (path) => {
    const folder = new CheckpointFolder(path);
    const file = folder.save(draw(3));
    const whole = fs.readFileSync(file);
    const refused = (error: unknown) =>
      error instanceof ModelError && error.message.startsWith(`${file}: `);
    for (let length = 0; length < whole.length; length++) {
      fs.writeFileSync(file, whole.subarray(0, length));
      await assert.rejects(readCheckpoint(file), refused, `cut to ${length}`);
    }
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = Uint8Array.from(whole);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      fs.writeFileSync(file, bytes);
      await assert.rejects(readCheckpoint(file), refused, `bit ${bit} flipped`);
    }
  }));

Deno.test("checkpoints: a damaged one is passed over, and the one before it counts", () =>
  withFolder(async (path) => {
    const folder = new CheckpointFolder(path);
    for (const step of [1, 2, 3]) folder.save(draw(step));
    assert.deepEqual(folder.steps(), [2, 3]);
    fs.truncateSync(folder.pathOf(3), 100);
    const told: string[] = [];
    const found = await folder.newest((message) => told.push(message));
    assert.deepEqual(found, draw(2));
    assert.equal(told.length, 1);
    assert.ok(told[0]!.startsWith(folder.pathOf(3)));
    fs.truncateSync(folder.pathOf(2), 0);
    await assert.rejects(
      folder.newest(),
      (error: unknown) =>
        error instanceof ModelError && error.message.includes(folder.pathOf(2)) &&
        error.message.includes(folder.pathOf(3)),
    );
  }));

Deno.test("checkpoints: a full disk, wherever it strikes, loses nothing that was saved", () =>
  withFolder(async (path) => {
    const good = new CheckpointFolder(path);
    good.save(draw(1));
    const size = fs.statSync(good.pathOf(1)).size;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: size - 1 }), async (bytes) => {
        const full = new CheckpointFolder(path, { files: fullAfter(bytes) });
        assert.throws(
          () => full.save(draw(2)),
          (error: unknown) =>
            error instanceof OutputError && error.message.includes(full.pathOf(2)) &&
            error.message.includes("disk is full"),
        );
        assert.deepEqual(fs.readdirSync(path), ["checkpoint-000001.safetensors"]);
        assert.deepEqual(await good.newest(), draw(1));
      }),
      { numRuns: 50 },
    );
  }));

Deno.test("checkpoints: those of another run are refused, and it is said where they differ", () => {
  const here = { stage: "clip", schedule: [{ steps: 10, peak: 2 }], seed: 1 };
  checkIdentity("a", here, structuredClone(here));
  assert.throws(
    () => checkIdentity("a", { ...here, schedule: [{ steps: 10, peak: 1 }] }, here),
    (error: unknown) =>
      error instanceof ModelError && error.message.startsWith("a: ") &&
      error.message.includes("schedule[0].peak is 1 there and 2 here"),
  );
  assert.throws(
    () => checkIdentity("a", { ...here, loss: { gamma: 2 } }, here),
    /loss is \{"gamma":2\} there and null here/,
  );
});
