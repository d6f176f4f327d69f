import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { InputError, OptionError, ShapeError } from "../../../lib/errors.ts";
import { encodeRle } from "../../../lib/image/coco_rle.ts";
import {
  type InstanceDetection,
  type InstanceTruth,
  MaskAveragePrecision,
  type MaskAveragePrecisionFigures,
  type SerializedMaskAveragePrecision,
} from "../../../lib/metrics/mask_average_precision.ts";

interface Image {
  id: string;
  truth: InstanceTruth[];
  detections: InstanceDetection[];
}
interface Figures extends Omit<Record<keyof MaskAveragePrecisionFigures, number | null>, "ar"> {
  ar: (number | null)[];
}
interface Case {
  name: string;
  classes: number;
  maxDetections: number[];
  images: Image[];
  result: Figures & { perClass: Figures[] };
}
const cases: Case[] = JSON.parse(readFileSync(
  new URL("../../fixtures/metrics/mask_average_precision.json", import.meta.url),
  "utf8",
));

function close(got: MaskAveragePrecisionFigures, right: Figures, name: string): void {
  const flat = ({ ar, ...others }: MaskAveragePrecisionFigures | Figures) => [
    ...([
      "ap",
      "ap50",
      "ap75",
      "small",
      "medium",
      "large",
      "arSmall",
      "arMedium",
      "arLarge",
    ] as const)
      .map((key) => others[key]),
    ...ar,
  ];
  const wanted = flat(right);
  flat(got).forEach((figure, i) => {
    const other = wanted[i]!;
    const fits = other === null ? Number.isNaN(figure) : Math.abs(figure! - other) < 1e-9;
    assert.ok(fits, `${name}: figure ${i} is ${figure}, not ${other}`);
  });
  assert.equal(wanted.length, flat(got).length);
}

Deno.test("mask AP: pycocotools' figures", () => {
  assert.equal(cases.length, 36);
  for (const { name, classes, maxDetections, images, result } of cases) {
    const precision = new MaskAveragePrecision(classes, { maxDetections });
    for (const { id, truth, detections } of images) precision.add(id, truth, detections);
    const got = precision.result();
    close(got, result, name);
    got.perClass.forEach((figures, c) =>
      close(figures, result.perClass[c]!, `${name}, class ${c}`)
    );
  }
});

const CLASSES = 3;
const SIDE = 5;
const mask = fc.array(fc.boolean(), { minLength: SIDE * SIDE, maxLength: SIDE * SIDE })
  .map((bits) => encodeRle(bits.map(Number), SIDE, SIDE));
const truth = fc.record({
  label: fc.nat(CLASSES - 1),
  mask,
  isCrowd: fc.constantFrom(false, false, true),
  area: fc.constantFrom(4, 1024, 5000, 20000),
});
const score = fc.constantFrom(-0, 0, 0.25, 0.5, 1);
/** Half of the detections have the mask and class of a truth. */
const image = fc.tuple(
  fc.array(truth, { maxLength: 4 }),
  fc.array(fc.tuple(fc.nat(7), score, fc.nat(CLASSES - 1), mask), { maxLength: 5 }),
).map(([truths, found]): Omit<Image, "id"> => ({
  truth: truths,
  detections: found.map(([of, score, label, mask]) => ({ label, mask, ...truths[of], score })),
}));
const images: fc.Arbitrary<Image[]> = fc.array(image, { maxLength: 6 })
  .map((all) => all.map((image, i) => ({ ...image, id: `image ${i}` })));
function over(all: Image[]): MaskAveragePrecision {
  const precision = new MaskAveragePrecision(CLASSES, { maxDetections: [1, 3] });
  for (const { id, truth, detections } of all) precision.add(id, truth, detections);
  return precision;
}
const read = (precision: MaskAveragePrecision) =>
  MaskAveragePrecision.fromJSON(JSON.parse(JSON.stringify(precision)));

Deno.test("mask AP: parts merged in any order give the whole, bit for bit", () => {
  fc.assert(fc.property(images, fc.array(fc.nat(3), { maxLength: 6 }), (all, parts) => {
    const merged = over([]);
    for (const part of [2, 0, 3, 1]) {
      merged.merge(read(over(all.filter((_, i) => (parts[i] ?? 0) === part).reverse())));
    }
    assert.equal(merged.numImages, all.length);
    assert.deepEqual(merged.toJSON(), over(all).toJSON());
    assert.deepEqual(merged.result(), over(all).result());
  }));
});

Deno.test("mask AP: every figure is a share, and more detections find no less", () => {
  fc.assert(fc.property(images, (all) => {
    const result = over(all).result();
    for (const { ar, ...figures } of [result, ...result.perClass]) {
      for (const key of ["ap", "ap50", "ap75", "small", "medium", "large"] as const) {
        assert.ok(Number.isNaN(figures[key]) || (figures[key] >= 0 && figures[key] <= 1));
      }
      assert.ok(Number.isNaN(ar[0]!) || (ar[0]! >= 0 && ar[0]! <= ar[1]! && ar[1]! <= 1));
      assert.ok(Number.isNaN(figures.ap) || figures.ap50 >= figures.ap75);
    }
  }));
});

Deno.test("mask AP: a perfect prediction has 1", () => {
  fc.assert(fc.property(images, (all) => {
    // Masks of an image apart from each other: a column each.
    const apart = all.map(({ id, truth }) => ({
      id,
      truth: truth.map((instance, i) => ({
        ...instance,
        mask: encodeRle(
          Array.from({ length: SIDE * SIDE }, (_, p) => Number(p % SIDE === i)),
          5,
          5,
        ),
      })),
    }));
    const result = new MaskAveragePrecision(CLASSES);
    for (const { id, truth } of apart) {
      result.add(id, truth, truth.map(({ label, mask }, i) => ({ label, mask, score: i })));
    }
    const { ap, ap50, ap75, ar } = result.result();
    const some = apart.some(({ truth }) => truth.some(({ isCrowd }) => !isCrowd));
    assert.deepEqual([ap, ap50, ap75, ar[2]], Array(4).fill(some ? 1 : NaN));
  }));
});

Deno.test("mask AP: only the order of scores matters", () => {
  fc.assert(fc.property(images, (all) => {
    const stretched = all.map((image) => ({
      ...image,
      detections: image.detections.map((d) => ({ ...d, score: Math.exp(3 * d.score) - 7 })),
    }));
    assert.deepEqual(over(stretched).result(), over(all).result());
  }));
});

Deno.test("mask AP: what can't be scored is refused by name, and counts for nothing", () => {
  const precision = new MaskAveragePrecision(2);
  const good = { label: 0, score: 0.5, mask: encodeRle([1, 0], 1, 2) };
  const refused = (truth: InstanceTruth[], detections: InstanceDetection[], message: string) =>
    assert.throws(() => precision.add("cat.png", truth, detections), (error) => {
      assert.equal((error as Error).message, `mask AP: cat.png: ${message}`);
      return error instanceof (message.includes("another one") ? ShapeError : InputError);
    });
  refused([{ ...good, label: 2 }], [], "true instance 0 has class 2; classes are 0 to 1");
  refused([], [good, { ...good, label: -1 }], "detection 1 has class -1; classes are 0 to 1");
  refused([], [{ ...good, score: NaN }], "detection 0 has score NaN; a finite number is right");
  refused(
    [{ ...good, area: -1 }],
    [],
    "true instance 0 has area -1; 0 pixels or more is right",
  );
  refused(
    [good],
    [{ ...good, mask: encodeRle([1, 0], 2, 1) }],
    "detection 0 has a mask of 2×1 pixels, another one 1×2",
  );
  refused(
    [good],
    [{ ...good, mask: { size: [1, 2], counts: "3" } }],
    "detection 0: its runs cover 3 pixels, the size 1×2 has 2",
  );
  refused(
    [{ ...good, mask: { size: [1, 2], counts: "~" } }],
    [],
    "true instance 0: COCO RLE: counts can't be read at character 0",
  );
  assert.deepEqual(precision.toJSON().images, []);
  precision.add("cat.png", [good], []);
  assert.throws(() => precision.add("cat.png", [], []), /mask AP: cat.png was added already/);
  assert.throws(() => precision.merge(read(precision)), /both parts have cat.png/);
  assert.throws(
    () => precision.merge(new MaskAveragePrecision(2, { maxDetections: [5] })),
    /2 classes, at most 5 detections don't merge with 2 classes, at most 1, 10, 100 detections/,
  );
  assert.throws(() => new MaskAveragePrecision(0), InputError);
  for (const maxDetections of [[], [0], [2, 2], [1.5]]) {
    assert.throws(() => new MaskAveragePrecision(1, { maxDetections }), OptionError);
  }
});

Deno.test("mask AP: data that can't be read is refused by field", () => {
  const precision = new MaskAveragePrecision(2);
  const instance = { label: 0, score: 0.5, mask: encodeRle([1, 0], 1, 2) };
  precision.add("cat.png", [instance], [instance]);
  const good = precision.toJSON();
  const classes = good.images[0]!.classes;
  const other = (fields: object) => ({
    ...good,
    images: [{ id: "cat.png", classes: [{ ...classes[0], ...fields }] }],
  });
  for (
    const [bad, message] of [
      [{ ...good, maxDetections: ["1"] }, /maxDetections\[0\] is "1"/],
      [{ ...good, images: [...good.images, ...good.images] }, /images\[1\] has id cat.png/],
      [{ ...good, images: [{ id: 1, classes: [] }] }, /images\[0\] has id 1/],
      [
        { ...good, images: [{ id: "cat.png", classes: [...classes, ...classes] }] },
        /cat.png: classes\[1\].label is 0; it must be a whole number, 1 to 1/,
      ],
      [other({ label: 2 }), /cat.png: classes\[0\].label is 2/],
      [other({ truths: [1, 1, 0] }), /cat.png: classes\[0\].truths is \[1,1,0\]/],
      [other({ scores: [0.5, 0.6] }), /cat.png: classes\[0\].scores\[1\] is 0.6/],
      [other({ scores: [null] }), /cat.png: classes\[0\].scores\[0\] is null/],
      [other({ outcomes: [1] }), /classes\[0\].outcomes is \[1\]; it must be a list of 4/],
      [other({ outcomes: [1, 1, 0, 1 << 20] }), /outcomes\[3\] is 1048576/],
    ] as [SerializedMaskAveragePrecision, RegExp][]
  ) {
    assert.throws(
      () => MaskAveragePrecision.fromJSON(bad),
      (error) => error instanceof InputError && message.test(error.message),
    );
  }
});
