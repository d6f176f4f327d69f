/**
 * Semantic segmentation, scored by pixels.
 *
 * @module
 */
import {
  ConfusionMatrix,
  type SerializedConfusionMatrix,
} from "../../../lib/metrics/confusion_matrix.ts";
import type { DatasetSample } from "../../../lib/data/dataset.ts";
import type { Json } from "../../training/checkpoint.ts";
import { percent } from "../result.ts";
import type { Accumulator, Outputs, ScoredClasses, Task } from "./task.ts";

/** Cells of a confusion matrix, in a record. */
type Cells = SerializedConfusionMatrix["cells"];

const confusionsShown = 30;

/**
 * Scores labels. A pixel that is left void, or given a distractor, has none of the classes: that is
 * what "others" means, where the data set has such a class, and a miss elsewhere. Means are over the
 * classes proper, without "others".
 *
 * @param scored The classes.
 */
export function semanticTask({ classes, others }: ScoredClasses): Task {
  const numClasses = classes.length;
  const without = others === null ? [] : [others];
  const none = others ?? -1;
  const matrixOf = (cells: Json) =>
    ConfusionMatrix.fromJSON({ numClasses, ignoreLabel: -1, cells: cells as unknown as Cells });
  const predicted = async ({ segmentation }: Outputs): Promise<Int32Array> =>
    (await segmentation.labels.read()).map((label) =>
      label < 0 || label >= numClasses ? none : label
    );
  return {
    outputs: ["segmentation"],
    async score({ id, labels }: DatasetSample, outputs) {
      const matrix = new ConfusionMatrix(numClasses, { ignoreLabel: -1 });
      matrix.add(labels, await predicted(outputs), id);
      return matrix.toJSON().cells;
    },
    imageScore: (cells) => percent(matrixOf(cells).meanIou({ without })),
    present(cells) {
      const areas = new Map<number, number>();
      for (const [truth, prediction, pixels] of cells as unknown as Cells) {
        for (const label of new Set([truth, prediction])) {
          if (label >= 0) areas.set(label, (areas.get(label) ?? 0) + pixels);
        }
      }
      return [...areas].sort(([a, m], [b, n]) => n - m || a - b).map(([label]) => label);
    },
    drawTruth: ({ labels }, colours) => ({ labels, colours }),
    drawPrediction: async (_, outputs, colours) => ({ labels: await predicted(outputs), colours }),
    accumulate: (): Accumulator => {
      const matrix = new ConfusionMatrix(numClasses, { ignoreLabel: -1 });
      return {
        add: (cells) => matrix.merge(matrixOf(cells)),
        figures: (over) => ({
          mIoU: percent(matrix.meanIou({ without, over })),
          pixelAccuracy: percent(matrix.pixelAccuracy({ without })),
          meanAccuracy: percent(matrix.meanAccuracy({ without })),
          frequencyWeightedIoU: percent(matrix.frequencyWeightedIou({ without })),
          // Only classes of the truth have an accuracy.
          classesScored: (over === "truth" ? matrix.accuracy() : matrix.iou())
            .filter((share, c) => !Number.isNaN(share) && c !== others).length,
        }),
        classes() {
          const [iou, accuracy] = [matrix.iou(), matrix.accuracy()];
          const [truth, prediction] = [new Float64Array(numClasses), new Float64Array(numClasses)];
          for (const [t, p, pixels] of matrix.toJSON().cells) {
            if (t >= 0) truth[t]! += pixels;
            if (p >= 0) prediction[p]! += pixels;
          }
          return classes.map(({ name }, c) => ({
            name,
            score: percent(iou[c]!),
            details: {
              accuracy: percent(accuracy[c]!),
              truePixels: truth[c]!,
              predictedPixels: prediction[c]!,
            },
          }));
        },
        confusions() {
          const cells = matrix.toJSON().cells.filter(([t, p]) => t >= 0 && t !== p)
            .sort((a, b) => b[2] - a[2]).slice(0, confusionsShown);
          const total = new Float64Array(numClasses);
          for (const [t, , pixels] of matrix.toJSON().cells) if (t >= 0) total[t]! += pixels;
          return cells.map(([t, p, pixels]) => ({
            truth: classes[t]!.name,
            prediction: p < 0 ? null : classes[p]!.name,
            pixels,
            share: 100 * pixels / total[t]!,
          }));
        },
      };
    },
  };
}
