import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { encodeRle } from "../../../lib/image/coco_rle.ts";
import { instanceInference } from "../../../plugins/segmenters/instance_inference.ts";
import { panopticInference } from "../../../plugins/segmenters/panoptic_inference.ts";

/** What `make.py` beside the fixture writes. */
interface Case {
  name: string;
  maskShape: [number, number, number];
  maskLogits: number[];
  /** Null stands for −∞. */
  classLogits: (number | null)[];
  numClasses: number;
  hasVoid: boolean;
  isThing: boolean[];
  size: [number, number];
  objectThreshold: number;
  overlapThreshold: number;
  topK: number;
  segments: {
    id: number;
    label: number;
    isThing: boolean;
    area: number;
    score: number;
    mask: string;
  }[];
  instances: { label: number; score: number; area: number; box: number[]; mask: string }[];
}

const cases: Case[] = JSON.parse(
  readFileSync(new URL("../../fixtures/segmenters/cases.json", import.meta.url), "utf8"),
);

function inputOf({ maskShape, maskLogits, classLogits, size, ...rest }: Case) {
  const [numMasks, maskHeight, maskWidth] = maskShape;
  const [height, width] = size;
  return {
    ...rest,
    maskLogits: Float32Array.from(maskLogits),
    classLogits: Float32Array.from(classLogits, (logit) => logit ?? -Infinity),
    numMasks,
    maskHeight,
    maskWidth,
    height,
    width,
  };
}

type Listed = { label: number; mask: string; score: number };

const withoutScore = <T extends { score: number }>({ score: _, ...rest }: T) => rest;

Deno.test("panoptic inference finds the segments of the published procedure", async (t) => {
  assert.ok(cases.reduce((sum, { segments }) => sum + segments.length, 0) > 100);
  for (const one of cases) {
    await t.step(one.name, async () => {
      const [height, width] = one.size;
      const { ids, segments } = await panopticInference(inputOf(one));
      const found = segments.map((segment) => ({
        ...segment,
        mask: encodeRle(ids.map((id) => Number(id === segment.id)), height, width).counts,
      }));
      found.forEach(({ score }, i) => {
        assert.ok(Math.abs(score - one.segments[i]!.score) < 1e-9, `score ${score}`);
      });
      assert.deepEqual(found.map(withoutScore), one.segments.map(withoutScore));
      const areas = segments.reduce((sum, { area }) => sum + area, 0);
      assert.equal(ids.filter((id) => id !== 0).length, areas);
    });
  }
});

Deno.test("instance inference finds the objects of the published procedure", async (t) => {
  assert.ok(cases.reduce((sum, { instances }) => sum + instances.length, 0) > 500);
  for (const one of cases) {
    await t.step(one.name, async () => {
      const found = await instanceInference(inputOf(one));
      const scores = found.map(({ score }) => score);
      assert.deepEqual(scores, scores.toSorted((a, b) => b - a));
      const order = (a: Listed, b: Listed) =>
        a.label - b.label || (a.mask < b.mask ? -1 : a.mask > b.mask ? 1 : b.score - a.score);
      const listed = found.map((instance) => ({ ...instance, mask: instance.mask.counts }))
        .sort(order);
      const expected = one.instances.toSorted(order);
      listed.forEach(({ score, area }, i) => {
        // The published mean divides by the area and a millionth.
        const published = score * area / (area + 1e-6);
        assert.ok(Math.abs(published - expected[i]!.score) < 1e-9, `${published}`);
      });
      assert.deepEqual(listed.map(withoutScore), expected.map(withoutScore));
      assert.ok(found.every(({ mask }) => mask.size.join() === one.size.join()));
    });
  }
});
