import assert from "node:assert/strict";
import { type Dataset, fingerprintDataset } from "../../../lib/data/dataset.ts";
import { encodeRle } from "../../../lib/image/coco_rle.ts";
import { Image } from "../../../lib/image/image.ts";
import { MaskAveragePrecision } from "../../../lib/metrics/mask_average_precision.ts";
import { PanopticQuality } from "../../../lib/metrics/panoptic_quality.ts";
import { Pipeline } from "../../../lib/stages/pipeline.ts";
import { type AnyStage, defineStage } from "../../../lib/stages/stage.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import { evaluate } from "../../../plugins/evaluation/evaluate.ts";
import type { OpenPipeline } from "../../../plugins/evaluation/split_pipeline.ts";
import { groupStages } from "../../../plugins/evaluation/split_pipeline.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";

const [width, height] = [6, 4];
/** Columns of pixels: dog, dog, dog, sky, sky, somebody's hat. */
const columns = (values: readonly number[]) =>
  Int32Array.from({ length: width * height }, (_, i) => values[i % width]!);

/** Two images: a dog, the sky, and a hat that is none of the classes. */
function segmentData(others: number | null): Dataset {
  const outline = {
    name: "segments",
    classes: [["dog", true], ["sky", false], ["others", true]].map(([name, isThing]) => ({
      name: name as string,
      synonyms: [name as string],
      isThing: isThing as boolean,
    })),
    othersIndex: others,
    hasSegments: true,
    length: 2,
    id: (index: number) => `image ${index}`,
  };
  return {
    ...outline,
    fingerprint: () => fingerprintDataset(outline),
    read: (index) =>
      Promise.resolve({
        id: outline.id(index),
        image: new Image(width, height),
        labels: columns([0, 0, 0, 1, 1, 2]),
        segments: {
          ids: columns([4, 4, 4, 7, 7, 9]),
          segments: [
            { id: 4, label: 0, isThing: true, isCrowd: false, area: 12 },
            { id: 7, label: 1, isThing: false, isCrowd: false, area: 8 },
            { id: 9, label: 2, isThing: true, isCrowd: false, area: 4 },
          ],
        },
      }),
  };
}

/** Finds the dog but for a column, the sky, and a distractor where the hat is. */
function segmentPipeline(): OpenPipeline {
  const ids = columns([1, 1, 0, 2, 2, 3]);
  const mask = (id: number) => encodeRle(ids.map((own) => Number(own === id)), height, width);
  const stage = defineStage({
    role: "segmenter",
    name: "both",
    needs: ["image", "vocabulary"],
    gives: ["panoptic", "instances"],
    run: ({ vocabulary: { names } }) => ({
      panoptic: {
        ids: new HostTensor("int32", [height, width], ids),
        segments: [
          { id: 1, label: 0, score: 0.9, isThing: true, area: 8 },
          { id: 2, label: 1, score: 0.8, isThing: false, area: 8 },
          { id: 3, label: names.length - 1, score: 0.7, isThing: true, area: 4 },
        ],
      },
      instances: {
        height,
        width,
        instances: [0, names.length - 1].map((label, i) => ({
          label,
          score: 0.9 - 0.1 * i,
          area: 8 - 4 * i,
          box: [0, 0, 2, height] as const,
          mask: mask(1 + 2 * i),
        })),
      },
    }),
  });
  return new Pipeline(
    fakeDevice(),
    ["image", "vocabulary"],
    [stage as unknown as AnyStage],
  ) as unknown as OpenPipeline;
}

const distractors = { counts: [1], names: ["unicorn"] };

Deno.test("evaluate: panoptic quality; what is called a distractor or others is no segment", async () => {
  const { result } = await evaluate(segmentPipeline(), segmentData(2), {
    task: "panoptic",
    distractors,
  });
  const quality = new PanopticQuality([true, false]);
  for (let i = 0; i < 2; i++) {
    const segments = [{ id: 1, label: 0 }, { id: 2, label: 1 }];
    quality.add(
      { ids: columns([1, 1, 1, 2, 2, 0]), segments },
      { ids: columns([1, 1, 0, 2, 2, 0]), segments },
    );
  }
  const { all, things, stuff } = quality.result();
  assert.ok("PQ" in result);
  assert.deepEqual(
    [result.PQ, result.SQ, result.things.PQ, result.stuff.PQ, result.classesScored],
    [100 * all.pq, 100 * all.sq, 100 * things.pq, 100 * stuff.pq, 2],
  );
  assert.deepEqual(result.classes.map(({ score }) => score), [100 * (2 / 3), 100, null]);
  assert.deepEqual(result.classes[0]!.details["matches"], 2);
  assert.deepEqual(result.confusions, []);
  // The last name is "others" without distractors, and the unicorn with one.
  const [without, one] = result.distractors as unknown as { PQ: number }[];
  assert.equal(without!.PQ, one!.PQ);
});

Deno.test("evaluate: average precision; a distractor's object is none", async () => {
  const { result } = await evaluate(segmentPipeline(), segmentData(null), {
    task: "instance",
    distractors,
  });
  const rle = (values: readonly number[]) => encodeRle(columns(values), height, width);
  const [dog, hat, found] = [
    rle([1, 1, 1, 0, 0, 0]),
    rle([0, 0, 0, 0, 0, 1]),
    rle([1, 1, 0, 0, 0, 0]),
  ];
  const score = (hats: boolean) => {
    const precision = new MaskAveragePrecision(3);
    for (const id of ["image 0", "image 1"]) {
      precision.add(id, [{ label: 0, mask: dog }, { label: 2, mask: hat }], [
        { label: 0, score: 0.9, mask: found },
        ...(hats ? [{ label: 2, score: 0.8, mask: hat }] : []),
      ]);
    }
    return 100 * precision.result().ap;
  };
  assert.ok("AP" in result);
  assert.equal(result.AP, score(true));
  const [without, one] = result.distractors as unknown as { AP: number }[];
  assert.deepEqual([without!.AP, one!.AP], [score(true), score(false)]);
  assert.deepEqual(result.classes.map(({ details }) => details["objects"]), [2, 0, 2]);
});

Deno.test("evaluate: a task that the pipeline doesn't end in is refused", async () => {
  await assert.rejects(
    evaluate(segmentPipeline(), segmentData(null)),
    /task semantic: no stage of the pipeline gives "segmentation"; end it with the segmenter/,
  );
});

Deno.test("groupStages: what reads words, or has to come after what does, runs again", () => {
  const stage = (name: string, needs: string[], gives: string[]) =>
    ({ role: "r", name, needs, gives, run: () => ({}) }) as unknown as AnyStage;
  const once = (...stages: AnyStage[]) => groupStages(stages).once.map(({ name }) => name).join("");
  const a = stage("a", ["image"], ["features"]);
  const t = stage("t", ["vocabulary"], ["text"]);
  assert.equal(once(a, t, stage("d", ["features"], ["maskLogits"])), "ad");
  // Text that depends on the image, and what comes of it.
  assert.equal(
    once(a, t, stage("x", ["text", "features"], ["text"]), stage("c", ["text"], [])),
    "a",
  );
  // t2 reads features before b gives them anew: b can't go first.
  const t2 = stage("t", ["vocabulary", "features"], ["text"]);
  assert.equal(once(a, t2, stage("b", ["image"], ["features"])), "a");
  // Words that shape the features from the beginning.
  assert.equal(once(stage("w", ["image", "vocabulary"], ["features"]), a), "");
});
