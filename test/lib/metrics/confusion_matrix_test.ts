import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { InputError, OptionError, ShapeError } from "../../../lib/errors.ts";
import { ConfusionMatrix } from "../../../lib/metrics/confusion_matrix.ts";
import { reduceZeroLabel } from "../../../lib/metrics/reduce_zero_label.ts";

interface Case {
  classes: number;
  ignore: number | null;
  without: number[];
  truth: number[];
  prediction: number[];
  iou: (number | null)[];
  accuracy: (number | null)[];
  meanIou: number | null;
  meanIouOfTruth: number | null;
  meanAccuracy: number | null;
  pixelAccuracy: number | null;
  frequencyWeightedIou: number | null;
}
const cases: Case[] = JSON.parse(
  readFileSync(new URL("../../fixtures/metrics/confusion_matrix.json", import.meta.url), "utf8"),
);
const close = (a: number, b: number | null) =>
  assert.ok(b === null ? Number.isNaN(a) : Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

Deno.test("confusion matrix: mmsegmentation's figures", () => {
  assert.equal(cases.length, 35);
  for (const c of cases) {
    const matrix = new ConfusionMatrix(
      c.classes,
      c.ignore === null ? {} : { ignoreLabel: c.ignore },
    );
    matrix.add(c.truth, c.prediction);
    matrix.iou().forEach((iou, i) => close(iou, c.iou[i]!));
    matrix.accuracy().forEach((accuracy, i) => close(accuracy, c.accuracy[i]!));
    const { without } = c;
    close(matrix.meanIou({ without }), c.meanIou);
    close(matrix.meanIou({ without, over: "truth" }), c.meanIouOfTruth);
    close(matrix.meanAccuracy({ without }), c.meanAccuracy);
    close(matrix.pixelAccuracy({ without }), c.pixelAccuracy);
    close(matrix.frequencyWeightedIou({ without }), c.frequencyWeightedIou);
    assert.equal(matrix.numScored, c.iou.filter((v) => v !== null).length);
  }
});

const label = fc.integer({ min: -1, max: 4 });
const pairs = fc.array(fc.tuple(label, label), { maxLength: 60 });
const figures = (matrix: ConfusionMatrix) => [
  ...matrix.iou(),
  ...matrix.accuracy(),
  matrix.meanIou(),
  matrix.meanIou({ over: "truth" }),
  matrix.meanAccuracy(),
  matrix.pixelAccuracy(),
  matrix.frequencyWeightedIou(),
];
const fill = (matrix: ConfusionMatrix, from: [number, number][]) => {
  matrix.add(from.map(([t]) => t), from.map(([, p]) => p));
  return matrix;
};

Deno.test("confusion matrix: merging parts in any order gives the whole", () => {
  fc.assert(fc.property(pairs, fc.nat(60), (all, cut) => {
    const whole = fill(new ConfusionMatrix(5), all);
    const merged = fill(new ConfusionMatrix(5), all.slice(cut));
    merged.merge(fill(new ConfusionMatrix(5), all.slice(0, cut)));
    assert.deepEqual(merged.toJSON(), whole.toJSON());
    assert.deepEqual(figures(merged), figures(whole));
    assert.deepEqual(
      ConfusionMatrix.fromJSON(JSON.parse(JSON.stringify(whole))).toJSON(),
      whole.toJSON(),
    );
  }));
});

Deno.test("confusion matrix: order of pixels and names of classes don't matter", () => {
  fc.assert(fc.property(pairs, (all) => {
    const matrix = fill(new ConfusionMatrix(5), all);
    const reversed = fill(new ConfusionMatrix(5), [...all].reverse());
    assert.deepEqual(reversed.toJSON(), matrix.toJSON());
    const rename = (c: number) => c < 0 ? c : 4 - c;
    const renamed = fill(
      new ConfusionMatrix(5),
      all.map(([t, p]) => [rename(t), rename(p)]),
    );
    assert.deepEqual(renamed.iou(), matrix.iou().reverse());
  }));
});

Deno.test("confusion matrix: every figure is a share, and 1 where all is right", () => {
  fc.assert(fc.property(pairs, (all) => {
    for (const figure of figures(fill(new ConfusionMatrix(5), all))) {
      assert.ok(Number.isNaN(figure) || (figure >= 0 && figure <= 1));
    }
    const right = fill(new ConfusionMatrix(5), all.map(([t]) => [t, t]));
    for (const figure of figures(right)) assert.ok(Number.isNaN(figure) || figure === 1);
  }));
});

Deno.test("confusion matrix: a class left out of the mean still makes false alarms", () => {
  const others = 2;
  const matrix = new ConfusionMatrix(3);
  matrix.add([0, 0, 1, others, others], [0, 0, 1, 1, others]);
  assert.deepEqual(matrix.iou(), [1, 0.5, 0.5]);
  assert.equal(matrix.meanIou({ without: [others] }), 0.75);
  assert.equal(matrix.meanAccuracy({ without: [others] }), 1);
  assert.throws(() => matrix.meanIou({ without: [3] }), OptionError);
});

Deno.test("confusion matrix: the pairs that are confused most", () => {
  const matrix = new ConfusionMatrix(3);
  matrix.add([0, 0, 0, 0, 1, 1, 2, 2, -1], [0, 2, 2, -1, 0, 1, 1, 2, 0]);
  assert.deepEqual(matrix.mostConfused(2), [
    { truth: 0, prediction: 2, pixels: 2, share: 0.5 },
    { truth: 1, prediction: 0, pixels: 1, share: 0.5 },
  ]);
  assert.equal(matrix.mostConfused().length, 3);
});

Deno.test("reduceZeroLabel: files that count from 1", () => {
  assert.deepEqual(reduceZeroLabel([0, 1, 150, 255]), new Int32Array([-1, 0, 149, 254]));
  assert.deepEqual(reduceZeroLabel([0, 2, 255], 255), new Int32Array([-1, 1, -1]));
});

Deno.test("confusion matrix: void and ignored pixels", () => {
  const predictedOnVoid = new ConfusionMatrix(2);
  predictedOnVoid.add([0, -1], [0, 0]);
  assert.deepEqual(predictedOnVoid.iou(), [0.5, NaN]);
  const ignored = new ConfusionMatrix(2, { ignoreLabel: -1 });
  ignored.add([0, -1], [0, 0]);
  assert.deepEqual([ignored.meanIou(), ignored.numScored], [1, 1]);
  const missed = new ConfusionMatrix(2);
  missed.add([0, 0], [0, -1]);
  assert.deepEqual([missed.iou()[0], missed.pixelAccuracy()], [0.5, 0.5]);
  assert.ok(Number.isNaN(new ConfusionMatrix(2).meanIou()));
});

Deno.test("confusion matrix: 20,000 classes take memory for the confusions alone", () => {
  const matrix = new ConfusionMatrix(20000);
  matrix.add([19999, 0], [19999, 19999]);
  assert.equal(matrix.pixels(19999, 19999), 1);
  assert.equal(matrix.toJSON().cells.length, 2);
});

Deno.test("confusion matrix: foreign labels and sizes are refused, and count for nothing", () => {
  const matrix = new ConfusionMatrix(2);
  assert.throws(() => matrix.add([0], [0, 1]), ShapeError);
  assert.throws(() => matrix.add([0, 255], [0, 0]), InputError);
  assert.throws(() => matrix.add([0, 0], [0, 2]), InputError);
  assert.deepEqual(matrix.toJSON().cells, []);
  assert.throws(() => new ConfusionMatrix(0), InputError);
  assert.throws(() => matrix.merge(new ConfusionMatrix(3)), InputError);
  assert.throws(() => matrix.merge(new ConfusionMatrix(2, { ignoreLabel: 255 })), InputError);
  assert.throws(() => matrix.add([1, 255], [0, 0], "cat.png"), {
    message:
      "confusion matrix: cat.png: pixel 1: true label 255 is neither −1 nor one of 0 to 1; " +
      "the ignored label is not set",
  });
});

Deno.test("confusion matrix: data that can't be read is refused by field", () => {
  const good = new ConfusionMatrix(2).toJSON();
  for (
    const [bad, message] of [
      [{ ...good, cells: [[0, 9, 1]] }, /cells\[0\]: the predicted label is 9/],
      [{ ...good, cells: [[0, 1, 1], [0, 1, 0.5]] }, /cells\[1\]: the number of pixels is 0.5/],
      [{ ...good, cells: [[0, 1]] }, /cells\[0\] is \[0,1\]; it must be a list of 3/],
      [{ ...good, cells: {} }, /cells is {}/],
      [{ ...good, numClasses: 0 }, /numClasses is 0/],
      [{ ...good, ignoreLabel: "255" }, /ignoreLabel is "255"/],
      [null, /confusion matrix is null/],
    ] as [ReturnType<ConfusionMatrix["toJSON"]>, RegExp][]
  ) {
    assert.throws(
      () => ConfusionMatrix.fromJSON(bad),
      (error) => error instanceof InputError && message.test(error.message),
    );
  }
});
