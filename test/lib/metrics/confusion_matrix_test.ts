import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { ConfusionMatrix } from "../../../lib/metrics/confusion_matrix.ts";

interface Case {
  classes: number;
  ignore: number | null;
  truth: number[];
  prediction: number[];
  iou: (number | null)[];
  meanIou: number;
  pixelAccuracy: number;
}
const cases: Case[] = JSON.parse(
  readFileSync(new URL("../../fixtures/confusion_matrix/cases.json", import.meta.url), "utf8"),
);
const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

Deno.test("confusion matrix: NumPy's figures", () => {
  assert.equal(cases.length, 5);
  for (const c of cases) {
    const matrix = new ConfusionMatrix(
      c.classes,
      c.ignore === null ? {} : { ignoreLabel: c.ignore },
    );
    matrix.add(c.truth, c.prediction);
    matrix.iou().forEach((iou, i) => {
      if (c.iou[i] === null) assert.ok(Number.isNaN(iou));
      else close(iou, c.iou[i]!);
    });
    close(matrix.meanIou(), c.meanIou);
    close(matrix.pixelAccuracy(), c.pixelAccuracy);
    assert.equal(matrix.numScored, c.iou.filter((v) => v !== null).length);
  }
});

const label = fc.integer({ min: -1, max: 4 });
const pairs = fc.array(fc.tuple(label, label), { maxLength: 60 });
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
    assert.deepEqual(merged.iou(), whole.iou());
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
  const bad = {
    numClasses: 2,
    ignoreLabel: null,
    cells: [[0, 9, 1]] as [number, number, number][],
  };
  assert.throws(() => ConfusionMatrix.fromJSON(bad), InputError);
});
