/**
 * Instance segmentation, scored by objects.
 *
 * @module
 */
import type { DatasetSample, DatasetSegment } from "../../../lib/data/dataset.ts";
import { decodeRle, encodeRle } from "../../../lib/image/coco_rle.ts";
import {
  MaskAveragePrecision,
  type SerializedMaskAveragePrecision,
} from "../../../lib/metrics/mask_average_precision.ts";
import type { Instance } from "../../../lib/stages/slots.ts";
import type { Json } from "../../training/checkpoint.ts";
import { percent } from "../result.ts";
import { drawSegments } from "./panoptic.ts";
import type { Accumulator, Outputs, ScoredClasses, Task } from "./task.ts";

/** What a record has of an image. */
type Found = SerializedMaskAveragePrecision["images"][number];

/** Objects are drawn whose score is at least this share of the surest one's. */
const drawnShare = 0.5;

/**
 * Scores objects. Objects of "others" are no truth; an object that is called a distractor or
 * "others" is none.
 *
 * @param scored The classes.
 */
export function instanceTask({ classes, others }: ScoredClasses): Task {
  const numClasses = classes.length;
  const isScored = ({ label }: { label: number }) => label < numClasses && label !== others;
  const truthOf = ({ segments }: DatasetSample): DatasetSegment[] =>
    segments!.segments.filter((segment) => segment.isThing && isScored(segment));
  const predicted = ({ instances: { instances } }: Outputs): Instance[] =>
    instances.filter(isScored);
  const add = (precision: MaskAveragePrecision, found: Json) =>
    precision.merge(
      MaskAveragePrecision.fromJSON({
        numClasses,
        maxDetections: [...precision.maxDetections],
        images: [found as unknown as Found],
      }),
    );
  return {
    outputs: ["instances"],
    score(sample, outputs) {
      const { id, image: { width, height } } = sample;
      const { ids } = sample.segments!;
      const precision = new MaskAveragePrecision(numClasses);
      const truth = truthOf(sample).map(({ id, label, isCrowd }) => ({
        label,
        isCrowd,
        mask: encodeRle(Uint8Array.from(ids, (own) => Number(own === id)), height, width),
      }));
      precision.add(id, truth, predicted(outputs));
      return Promise.resolve(precision.toJSON().images[0] as unknown as Json);
    },
    imageScore(found) {
      const precision = new MaskAveragePrecision(numClasses);
      add(precision, found);
      return percent(precision.result().ap);
    },
    present(found) {
      const { classes: all } = found as unknown as Found;
      const best = Math.max(...all.flatMap(({ scores }) => scores));
      return all.filter(({ truths, scores }) =>
        truths[0]! > 0 || (scores[0] ?? -Infinity) >= drawnShare * best
      ).map(({ label }) => label);
    },
    drawTruth: (sample, colours) =>
      drawSegments({ ids: sample.segments!.ids, segments: truthOf(sample) }, colours),
    drawPrediction({ labels: { length } }, outputs, colours) {
      const ids = new Int32Array(length);
      const sorted = predicted(outputs).sort((a, b) => b.score - a.score);
      const shown = sorted.filter(({ score }) => score >= drawnShare * sorted[0]!.score);
      shown.forEach(({ mask }, i) =>
        decodeRle(mask).forEach((inside, at) => {
          if (inside && ids[at] === 0) ids[at] = i + 1;
        })
      );
      const segments = shown.map(({ label }, i) => ({ id: i + 1, label }));
      return Promise.resolve(drawSegments({ ids, segments }, colours));
    },
    accumulate: (): Accumulator => {
      const precision = new MaskAveragePrecision(numClasses);
      return {
        add: (found) => add(precision, found),
        figures() {
          const { ap, ap50, ap75, small, medium, large } = precision.result();
          return {
            AP: percent(ap),
            AP50: percent(ap50),
            AP75: percent(ap75),
            APsmall: percent(small),
            APmedium: percent(medium),
            APlarge: percent(large),
          };
        },
        classes: () =>
          precision.result().perClass.map(({ label, ap, ap50, ap75, truths }) => ({
            name: classes[label]!.name,
            score: percent(ap),
            details: { AP50: percent(ap50), AP75: percent(ap75), objects: truths },
          })),
        confusions: () => [],
      };
    },
  };
}
