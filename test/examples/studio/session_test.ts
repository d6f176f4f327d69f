import assert from "node:assert/strict";
import {
  acquireDevice,
  modelsAt,
  openOvsnet,
  openStage,
  Rng,
  semanticSegmenter,
  vocabulary,
} from "@ovstage/ovstage";
import { enlarge } from "../../../examples/studio/enlarge.ts";
import { Session } from "../../../examples/studio/session.ts";
import { countLoads } from "../../count_loads.ts";

const names = ["dog", "guitar", "slice of pizza"];
const settings = { names, fuser: "gfa", omega: 0.3, lambda: 3 } as const;

function noise(seed: number, width: number, height: number) {
  const rng = new Rng(seed);
  const rgb = Uint8Array.from(
    { length: 3 * width * height },
    () => Math.floor(256 * rng.uniform()),
  );
  return { key: seed, width, height, rgb };
}

Deno.test("the studio's session", async (t) => {
  await using device = await acquireDevice("cpu", { threads: 1 });
  const models = modelsAt(new URL("../../../models/", import.meta.url));
  const counting = countLoads(device);
  const session = await Session.open(counting.device, models);
  const picture = noise(1, 48, 40);
  const roles: string[] = [];
  const onStage = (role: string) => {
    if (roles.at(-1) !== role) roles.push(role);
  };
  const run = (changes: Partial<Parameters<Session["segment"]>[1]> = {}, of = picture) => {
    roles.length = 0;
    return session.segment(of, { ...settings, ...changes }, { onStage });
  };
  const tail = ["fuser", "classifier", "segmenter"];

  await t.step("gives OVSNet's labels", async () => {
    const { labels, segments } = await run();
    await using ovsnet = await openOvsnet({ device, omega: 0.3, lambda: 3 });
    using expected = await ovsnet.run({ image: picture, vocabulary: vocabulary(names) });
    assert.deepEqual(labels, await expected.outputs.segmentation.labels.read());
    assert.equal(segments.reduce((sum, { area }) => sum + area, 0), 48 * 40);
  });

  await t.step("another ω or fuser runs the fuser and what follows", async () => {
    const { stages } = await run({ omega: 0.8 });
    assert.deepEqual(roles, tail);
    assert.deepEqual(stages.filter(({ ran }) => ran).map(({ role }) => role), tail);
    assert.equal(stages.length, 7);
    await run({ fuser: "mean" });
    assert.deepEqual(roles, tail);
  });

  await t.step(
    "other classes leave the image's stages alone, another image the words'",
    async () => {
      await run({ names: ["cat"] });
      assert.deepEqual(roles, ["text-encoder", ...tail]);
      await run({ names: ["cat"] }, noise(2, 32, 64));
      assert.deepEqual(roles, ["image-encoder", "decoder", "pooler", ...tail]);
    },
  );

  await t.step("the first of a pixel's ranks is its label", async () => {
    const { labels, segments } = await run();
    for (const [x, y] of [[0, 0], [47, 39], [20, 11], [3, 30]] as const) {
      const ranks = await session.rank(x, y, 3);
      assert.equal(ranks.length, 3);
      assert.equal(ranks[0]!.label, names[labels[y * 48 + x]!]);
      assert.ok(ranks[0]!.score >= ranks[1]!.score);
    }
    assert.ok(segments.length > 0);
  });

  await t.step(
    "a draft has the masks' own size, and comes only where the whole takes long",
    async () => {
      const draft = await session.segment(picture, settings, { draftFrom: 0 });
      assert.ok(draft.isDraft);
      const words = vocabulary(names);
      await using ovsnet = await openOvsnet({ device, omega: 0.3, lambda: 3 });
      using masks = await ovsnet.run({ image: picture, vocabulary: words }, {
        outputs: ["maskLogits", "classLogits"],
      });
      const [height, width] = masks.outputs.maskLogits.shape.slice(1) as [number, number];
      const segmenter = await openStage(semanticSegmenter, {}, { device, models });
      const { segmentation } = await segmenter.run(
        {
          ...masks.outputs,
          image: { width, height, rgb: new Uint8Array(3 * width * height) },
          vocabulary: words,
        },
        { device, signal: new AbortController().signal, progress: () => {} },
      );
      await segmenter.dispose?.();
      const labels = await segmentation.labels.read();
      assert.deepEqual(draft.labels, enlarge(Int32Array.from(labels), [width, height], [48, 40]));
      const whole = await session.segment(picture, settings, { draftFrom: 1e9 });
      assert.ok(!whole.isDraft);
      assert.deepEqual(whole.labels, (await run()).labels);
    },
  );

  await t.step("sliding along ω loads no model again", async () => {
    await run({ omega: 0.2 });
    const before = counting.loads();
    for (const omega of [0.22, 0.25, 0.2]) await run({ omega });
    assert.equal(counting.loads(), before);
  });

  await t.step("the label map is a PNG", async () => {
    assert.deepEqual([...(await session.labelPng()).subarray(1, 4)], [0x50, 0x4e, 0x47]);
  });

  await session.dispose();
});
