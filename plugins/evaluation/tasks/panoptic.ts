/**
 * Panoptic segmentation, scored by segments.
 *
 * @module
 */
import type { DatasetSample } from "../../../lib/data/dataset.ts";
import type { Rgb } from "../../../lib/image/palette.ts";
import {
  type PanopticMeans,
  PanopticQuality,
  type SerializedPanopticQuality,
} from "../../../lib/metrics/panoptic_quality.ts";
import type { SegmentMap } from "../../../lib/metrics/segment_map.ts";
import type { Json } from "../../training/checkpoint.ts";
import { type PanopticGroup, percent } from "../result.ts";
import type { Accumulator, Drawing, Outputs, ScoredClasses, Task } from "./task.ts";

/** Counts by class, in a record. */
type Counts = SerializedPanopticQuality["classes"];

const group = ({ pq, sq, rq, n }: PanopticMeans): PanopticGroup => ({
  PQ: percent(pq),
  SQ: percent(sq),
  RQ: percent(rq),
  classesScored: n,
});

/** The segments of certain classes; the pixels of all others are void. */
function only(map: SegmentMap, isScored: (label: number) => boolean): SegmentMap {
  const segments = map.segments.filter(({ label }) => isScored(label));
  if (segments.length === map.segments.length) return map;
  const kept = new Set(segments.map(({ id }) => id));
  return { ids: Int32Array.from(map.ids, (id) => kept.has(id) ? id : 0), segments };
}

/** Segments as regions in their classes' colours. */
export function drawSegments({ ids, segments }: SegmentMap, colours: readonly Rgb[]): Drawing {
  const regions = new Map(segments.map(({ id }, i) => [id, i]));
  return {
    labels: Int32Array.from(ids, (id) => regions.get(id) ?? -1),
    colours: segments.map(({ label }) => colours[label]!),
  };
}

/**
 * Scores segments. "Others" is void in the truth: what is predicted there is neither right nor
 * wrong. A segment that is called a distractor or "others" is none.
 *
 * @param scored The classes.
 */
export function panopticTask({ classes, others }: ScoredClasses): Task {
  const isThing = classes.map((c) => c.isThing);
  const isScored = (label: number) => label < classes.length && label !== others;
  const qualityOf = (counts: Json) =>
    PanopticQuality.fromJSON({ isThing, classes: counts as unknown as Counts });
  const truthOf = ({ segments }: DatasetSample) => only(segments!, isScored);
  const predicted = async ({ panoptic: { ids, segments } }: Outputs) =>
    only({ ids: await ids.read(), segments }, isScored);
  return {
    outputs: ["panoptic"],
    async score(sample, outputs) {
      const quality = new PanopticQuality(isThing);
      quality.add(truthOf(sample), await predicted(outputs), sample.id);
      return quality.toJSON().classes;
    },
    imageScore: (counts) => percent(qualityOf(counts).result().all.pq),
    present: (counts) => (counts as unknown as Counts).map(([label]) => label),
    drawTruth: (sample, colours) => drawSegments(truthOf(sample), colours),
    drawPrediction: async (_, outputs, colours) => drawSegments(await predicted(outputs), colours),
    accumulate: (): Accumulator => {
      const quality = new PanopticQuality(isThing);
      return {
        add: (counts) => quality.merge(qualityOf(counts)),
        figures(over) {
          const { all, things, stuff } = quality.result({ over });
          return { ...group(all), things: group(things), stuff: group(stuff) };
        },
        classes: () =>
          quality.result().perClass.map((
            { label, pq, sq, rq, matches, falseAlarms, misses },
          ) => ({
            name: classes[label]!.name,
            score: percent(pq),
            details: { SQ: percent(sq), RQ: percent(rq), matches, falseAlarms, misses },
          })),
        confusions: () => [],
      };
    },
  };
}
