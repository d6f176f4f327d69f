import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { PanopticQuality } from "../../../lib/metrics/panoptic_quality.ts";
import type { LabelledSegment, SegmentMap } from "../../../lib/metrics/segment_map.ts";

interface Figures {
  pq: number | null;
  sq: number | null;
  rq: number | null;
}
interface Case {
  images: { truth: SegmentMap; prediction: SegmentMap }[];
  result: {
    all: Figures & { n: number };
    things: Figures & { n: number };
    stuff: Figures & { n: number };
    perClass: (Figures & { tp: number; fp: number; fn: number })[];
  };
}
const { isThing, cases }: { isThing: boolean[]; cases: Case[] } = JSON.parse(
  readFileSync(new URL("../../fixtures/metrics/panoptic_quality.json", import.meta.url), "utf8"),
);
const close = (a: number, b: number | null) =>
  assert.ok(b === null ? Number.isNaN(a) : Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

Deno.test("panoptic quality: panopticapi's figures", () => {
  assert.equal(cases.length, 25);
  for (const { images, result } of cases) {
    const quality = new PanopticQuality(isThing);
    for (const { truth, prediction } of images) quality.add(truth, prediction);
    const got = quality.result();
    for (const over of ["all", "things", "stuff"] as const) {
      assert.equal(got[over].n, result[over].n);
      for (const figure of ["pq", "sq", "rq"] as const) {
        close(got[over][figure], result[over][figure]);
      }
    }
    got.perClass.forEach(({ matches, falseAlarms, misses, ...figures }, c) => {
      const { tp, fp, fn, ...right } = result.perClass[c]!;
      assert.deepEqual([matches, falseAlarms, misses], [tp, fp, fn]);
      for (const figure of ["pq", "sq", "rq"] as const) close(figures[figure], right[figure]);
    });
  }
});

const CLASSES = [true, false, null, true];
/** A map of up to 4 segments on 24 pixels. */
const segmentMap = fc.record({
  ids: fc.array(fc.nat(4), { minLength: 24, maxLength: 24 }),
  labels: fc.array(fc.nat(CLASSES.length - 1), { minLength: 4, maxLength: 4 }),
  crowds: fc.array(fc.constantFrom(false, false, true), { minLength: 4, maxLength: 4 }),
}).map(({ ids, labels, crowds }): SegmentMap => ({
  ids,
  segments: [1, 2, 3, 4].filter((id) => ids.includes(id)).map((id): LabelledSegment => ({
    id,
    label: labels[id - 1]!,
    isCrowd: crowds[id - 1]!,
  })),
}));
/** Often the truth again with a few pixels changed, so that something matches. */
const image = fc.tuple(segmentMap, segmentMap, fc.array(fc.nat(23), { maxLength: 6 })).map(
  ([truth, other, changed]) => {
    const ids = Array.from(truth.ids);
    for (const pixel of changed) ids[pixel] = 0;
    const kept = truth.segments.filter(({ id }) => ids.includes(id));
    return { truth, prediction: changed.length > 4 ? other : { ids, segments: kept } };
  },
);
type Images = { truth: SegmentMap; prediction: SegmentMap }[];
const images: fc.Arbitrary<Images> = fc.array(image, { maxLength: 8 });
function over(all: Images): PanopticQuality {
  const quality = new PanopticQuality(CLASSES);
  for (const { truth, prediction } of all) quality.add(truth, prediction);
  return quality;
}

Deno.test("panoptic quality: parts merged in any order give the whole, bit for bit", () => {
  fc.assert(fc.property(images, fc.array(fc.nat(3), { maxLength: 8 }), (all, parts) => {
    const merged = over([]);
    for (const part of [2, 0, 3, 1]) {
      const shard = over(all.filter((_, i) => (parts[i] ?? 0) === part).reverse());
      merged.merge(PanopticQuality.fromJSON(JSON.parse(JSON.stringify(shard))));
    }
    assert.deepEqual(merged.toJSON(), over(all).toJSON());
    assert.deepEqual(merged.result(), over(all).result());
  }));
});

Deno.test("panoptic quality: every figure is a share, and PQ = SQ · RQ", () => {
  fc.assert(fc.property(images, (all) => {
    const { perClass, all: means } = over(all).result();
    for (const { pq, sq, rq } of [...perClass, means]) {
      for (const figure of [pq, sq, rq]) {
        assert.ok(Number.isNaN(figure) || (figure >= 0 && figure <= 1));
      }
    }
    for (const { pq, sq, rq } of perClass) {
      if (!Number.isNaN(pq)) assert.ok(Math.abs(pq - sq * rq) < 1e-12);
    }
  }));
});

Deno.test("panoptic quality: over the truth, a class that is only predicted is in no mean", () => {
  const quality = new PanopticQuality([true, true, false]);
  quality.add({ ids: [1, 1, 0], segments: [{ id: 1, label: 0 }] }, {
    ids: [1, 1, 0],
    segments: [{ id: 1, label: 0 }],
  });
  quality.add({ ids: [1, 1, 1], segments: [{ id: 1, label: 0 }] }, {
    ids: [1, 1, 2],
    segments: [{ id: 1, label: 0 }, { id: 2, label: 1 }],
  });
  const [either, truth] = [quality.result(), quality.result({ over: "truth" })];
  assert.deepEqual([either.all.n, truth.all.n, truth.stuff.n], [2, 1, 0]);
  assert.equal(truth.all.pq, 2 * either.all.pq);
  assert.equal(truth.all.pq, (1 + 2 / 3) / 2);
  assert.deepEqual(truth.perClass, either.perClass);
});

Deno.test("panoptic quality: a perfect prediction has 1, under any numbers and order", () => {
  fc.assert(fc.property(fc.array(segmentMap, { maxLength: 5 }), (maps) => {
    const all = maps.map((truth) => {
      const objects = truth.segments.filter(({ isCrowd }) => !isCrowd);
      const ids = new Set(objects.map(({ id }) => id));
      return {
        truth,
        prediction: {
          ids: Array.from(truth.ids, (id) => ids.has(id) ? 1000 - id : 0),
          segments: objects.reverse().map(({ id, label }) => ({ id: 1000 - id, label })),
        },
      };
    });
    const { perClass, ...means } = over(all).result();
    for (const { pq, sq, rq } of [...perClass, means.all, means.things, means.stuff]) {
      for (const figure of [pq, sq, rq]) assert.ok(Number.isNaN(figure) || figure === 1);
    }
    const occurring = new Set(
      maps.flatMap(({ segments }) =>
        segments.filter(({ isCrowd }) => !isCrowd).map(({ label }) => label)
      ),
    );
    assert.equal(means.all.n, occurring.size);
    assert.equal(means.things.n, [0, 3].filter((c) => occurring.has(c)).length);
    assert.equal(means.stuff.n, [1].filter((c) => occurring.has(c)).length);
  }));
});

Deno.test("panoptic quality: memory is for the classes, not for the images", () => {
  const one = over([]);
  const many = over([]);
  const truth = { ids: [1, 1, 1], segments: [{ id: 1, label: 0 }] };
  const prediction = { ids: [1, 1, 0], segments: [{ id: 1, label: 0 }] };
  one.add(truth, prediction);
  for (let i = 0; i < 3000; i++) many.add(truth, prediction);
  assert.equal(many.result().all.pq, one.result().all.pq);
  assert.ok(JSON.stringify(many).length < JSON.stringify(one).length + 12);
});

Deno.test("panoptic quality: what can't be scored is refused by name, and counts for nothing", () => {
  const quality = new PanopticQuality([true, false]);
  const good = { ids: [1, 0], segments: [{ id: 1, label: 0 }] };
  const refused = (truth: SegmentMap, prediction: SegmentMap, message: string) =>
    assert.throws(
      () => quality.add(truth, prediction, "cat.png"),
      (error) =>
        error instanceof (message.includes("true pixels") ? ShapeError : InputError) &&
        error.message === `panoptic quality: cat.png: ${message}`,
    );
  refused({ ids: [1], segments: good.segments }, good, "1 true pixels, 2 predicted ones");
  refused(
    { ids: [1, 7], segments: good.segments },
    good,
    "pixel 1 is of true segment 7, which is not in the list",
  );
  refused(
    good,
    { ids: [1, -1], segments: good.segments },
    "pixel 1 is of predicted segment -1, which is not in the list",
  );
  refused(
    good,
    { ids: [1, 1], segments: [...good.segments, { id: 2, label: 1 }] },
    "predicted segment 2 has no pixel",
  );
  refused(
    good,
    { ids: [1, 1], segments: [{ id: 1, label: 2 }] },
    "prediction: segment 1 has class 2; classes are 0 to 1",
  );
  refused(
    { ids: [1, 1], segments: [...good.segments, ...good.segments] },
    good,
    "truth: segment id 1 stands twice in the list",
  );
  refused(
    { ids: [0, 0], segments: [{ id: 0, label: 0 }] },
    good,
    "truth: segment id 0; ids are whole numbers from 1, and 0 is void",
  );
  assert.deepEqual(quality.toJSON().classes, []);
  assert.throws(() => new PanopticQuality([]), InputError);
  assert.throws(() => quality.merge(new PanopticQuality([true])), /1 classes don't merge with 2/);
  assert.throws(
    () => quality.merge(new PanopticQuality([true, null])),
    /class 1 has isThing null in one part, false in the other/,
  );
});

Deno.test("panoptic quality: data that can't be read is refused by field", () => {
  const good = { isThing: [true, false], classes: [] };
  for (
    const [bad, message] of [
      [{ ...good, isThing: [1] }, /isThing\[0\] is 1/],
      [{ ...good, isThing: [] }, /0 classes/],
      [{ isThing: [true] }, /classes is undefined/],
      [{ ...good, classes: [[2, 0, 0, 1, "0"]] }, /classes\[0\]: the class is 2/],
      [{ ...good, classes: [[0, 0, -1, 1, "0"]] }, /the number of false alarms is -1/],
      [{ ...good, classes: [[0, 1, 0, 0, "1"]] }, /the sum of IoU is "1"; 1 matches have/],
      [{ ...good, classes: [[0, 1, 0, 0, 0.75]] }, /the sum of IoU is 0.75/],
      [{ ...good, classes: [[0, 0, 1, 0, "0"], [0, 0, 1, 0, "0"]] }, /class 0 stands twice/],
    ] as [ReturnType<PanopticQuality["toJSON"]>, RegExp][]
  ) {
    assert.throws(
      () => PanopticQuality.fromJSON(bad),
      (error) => error instanceof InputError && message.test(error.message),
    );
  }
});
