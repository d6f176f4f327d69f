import assert from "node:assert/strict";
import type { Device } from "../../lib/runtime.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { onGpu } from "../kernels/on_gpu.ts";
import { levelsOff, picture, segment, trendOf, withOvsnet } from "./segment_often.ts";

/** 8 pictures at once give what they give one after another, byte for byte. */
async function atOnce(device: Device): Promise<void> {
  await withOvsnet(device, async (ovsnet, sample) => {
    const pictures = Array.from({ length: 8 }, (_, i) => picture(i));
    const expected = [];
    for (const image of pictures) expected.push(await segment(ovsnet, image));
    const before = sample(8);
    for (let round = 0; round < 2; round++) {
      const found = await Promise.all(pictures.map((image) => segment(ovsnet, image)));
      assert.deepEqual(found, expected);
    }
    assert.ok(new Set(expected.map(({ scores }) => scores.join())).size === 8, "pictures differ");
    // What eight at once needed goes with the next ones that do with less.
    for (let i = 0; i < 2; i++) await segment(ovsnet, pictures[7]!);
    const after = sample(26);
    assert.deepEqual([after.buffers, after.sessions], [before.buffers, before.sessions]);
  });
}

Deno.test("the CPU: 40 segmentations leave no session behind, and 8 at once differ in nothing", async () => {
  await using device = await acquireDevice("cpu");
  await withOvsnet(device, async (ovsnet, sample) => {
    await segment(ovsnet, picture(0));
    const first = sample(1);
    for (let run = 1; run < 40; run++) await segment(ovsnet, picture(run));
    assert.equal(sample(40).sessions, first.sessions);
  });
  await atOnce(device);
});

onGpu(
  "WebGPU: no segmentation leaves a buffer, and 8 at once differ in nothing",
  async ({ device }) => {
    await withOvsnet(device, async (ovsnet, sample) => {
      const counts: number[] = [];
      // Scratch memory goes with the sizes of the pictures, which come back in every round.
      for (let run = 0; run < 12; run++) {
        await segment(ovsnet, picture(run % 4));
        counts.push(sample(run + 1).buffers);
      }
      assert.deepEqual(counts.slice(8), counts.slice(4, 8));
    });
    await atOnce(device);
  },
);

Deno.test("growth is told from noise, and from a step", () => {
  const noise = (i: number) => 1e6 * Math.sin(12.9898 * i);
  const series = (growth: number, step: number) =>
    Array.from(
      { length: 100 },
      (_, i) => 200e6 + 50e6 * Math.exp(-i / 5) + growth * i + noise(i) + (i > 60 ? step : 0),
    );
  assert.ok(levelsOff(trendOf(series(0, 0))));
  assert.ok(levelsOff(trendOf(series(0, 20e6))));
  assert.ok(!levelsOff(trendOf(series(200e3, 0))));
  const { growth, level, noise: rest } = trendOf([90, 90, 10, 20, 30, 40]);
  assert.deepEqual([growth, level, rest], [20, 30, 0]);
});
