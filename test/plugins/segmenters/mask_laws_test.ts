import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError } from "../../../lib/errors.ts";
import { decodeRle } from "../../../lib/image/coco_rle.ts";
import { Rng } from "../../../lib/rng.ts";
import { instanceInference } from "../../../plugins/segmenters/instance_inference.ts";
import {
  panopticInference,
  type PanopticInput,
} from "../../../plugins/segmenters/panoptic_inference.ts";

const side = (max: number) => fc.integer({ min: 1, max });

/** Masks of a few blobs, mostly sure of a class. */
const inputs: fc.Arbitrary<PanopticInput> = fc.record({
  numMasks: fc.integer({ min: 0, max: 7 }),
  numClasses: side(4),
  hasVoid: fc.boolean(),
  maskHeight: side(6),
  maskWidth: side(6),
  // Above 64 pixels a run of pixels is cut.
  height: fc.oneof(side(12), side(150)),
  width: fc.oneof(side(12), side(150)),
  seed: fc.nat(),
  scale: fc.constantFrom(0, 0.5, 5, 60, 1e30),
  sure: fc.constantFrom(1, 12),
  objectThreshold: fc.constantFrom(0, 0.5, 0.8, 1),
  overlapThreshold: fc.constantFrom(0, 0.5, 0.8, 1),
}).map(({ seed, scale, sure, ...rest }) => {
  const { numMasks, numClasses, hasVoid, maskHeight, maskWidth } = rest;
  const rng = new Rng(seed);
  const columns = numClasses + Number(hasVoid);
  const classLogits = Float32Array.from({ length: numMasks * columns }, () => rng.normal());
  for (let n = 0; n < numMasks; n++) classLogits[n * columns + rng.integer(columns)]! += sure;
  return {
    ...rest,
    maskLogits: Float32Array.from(
      { length: numMasks * maskHeight * maskWidth },
      () => scale * rng.normal(),
    ),
    classLogits,
    isThing: Array.from({ length: numClasses }, () => rng.integer(2) === 0),
  };
});

/** The same with masks in another order. */
function permuted(input: PanopticInput, order: readonly number[]): PanopticInput {
  const rows = (values: ArrayLike<number>, size: number) =>
    Float32Array.from(order.flatMap((n) => Array.from(values).slice(n * size, (n + 1) * size)));
  const { maskHeight, maskWidth, numClasses, hasVoid } = input;
  return {
    ...input,
    maskLogits: rows(input.maskLogits, maskHeight * maskWidth),
    classLogits: rows(input.classLogits, numClasses + Number(hasVoid)),
  };
}

Deno.test("panoptic: ids cover exactly the segments' pixels; stuff comes once, ids have no gap", () =>
  fc.assert(fc.asyncProperty(inputs, async (input) => {
    const { ids, segments } = await panopticInference(input);
    assert.equal(ids.length, input.height * input.width);
    const areas = new Map<number, number>();
    for (const id of ids) areas.set(id, (areas.get(id) ?? 0) + 1);
    areas.delete(0);
    assert.deepEqual(
      [...areas].sort(([a], [b]) => a - b),
      segments.map(({ id, area }) => [id, area]),
    );
    segments.forEach(({ id, label, isThing, score }, i) => {
      assert.equal(id, i + 1);
      assert.equal(isThing, input.isThing[label]);
      assert.ok(score > input.objectThreshold! - 1e-12 && score <= 1);
    });
    const stuff = segments.filter(({ isThing }) => !isThing).map(({ label }) => label);
    assert.equal(new Set(stuff).size, stuff.length);
  })));

Deno.test("panoptic: the order of the masks only renames the segments", () =>
  fc.assert(fc.asyncProperty(inputs, fc.nat(), async (input, seed) => {
    // Masks that are 0 everywhere, or saturate, are equal at many pixels, and the first one wins.
    const logits = Array.from(input.maskLogits);
    fc.pre(new Set(logits).size === logits.length && logits.every((m) => Math.abs(m) < 30));
    const order = new Rng(seed).shuffle(Array.from({ length: input.numMasks }, (_, n) => n));
    const [a, b] = [
      await panopticInference(input),
      await panopticInference(permuted(input, order)),
    ];
    const renamed = new Map<number, number>([[0, 0]]);
    a.ids.forEach((id, i) => {
      const known = renamed.get(id);
      if (known === undefined) renamed.set(id, b.ids[i]!);
      else assert.equal(b.ids[i], known);
    });
    assert.equal(new Set(renamed.values()).size, a.segments.length + 1);
    assert.equal(b.segments.length, a.segments.length);
    for (const segment of a.segments) {
      const other = b.segments[renamed.get(segment.id)! - 1]!;
      assert.ok(Math.abs(other.score - segment.score) < 1e-12);
      assert.deepEqual({ ...other, id: 0, score: 0 }, { ...segment, id: 0, score: 0 });
    }
  })));

Deno.test("panoptic: with things alone, each segment is of one mask; nothing sure is all void", () =>
  fc.assert(fc.asyncProperty(inputs, async (input) => {
    const things = input.isThing.map(() => true);
    const { segments } = await panopticInference({ ...input, isThing: things });
    assert.ok(segments.length <= input.numMasks && segments.every(({ isThing }) => isThing));
    const none = await panopticInference({ ...input, objectThreshold: 1 });
    assert.ok(none.segments.length === 0 && none.ids.every((id) => id === 0));
  })));

Deno.test("instances: masks, areas and boxes agree; scores fall; stuff is left out", () =>
  fc.assert(fc.asyncProperty(inputs, fc.integer({ min: 1, max: 30 }), async (input, topK) => {
    const { height, width } = input;
    const found = await instanceInference({ ...input, topK });
    assert.ok(found.length <= topK);
    let last = 1;
    for (const { label, score, area, box, mask } of found) {
      assert.ok(input.isThing[label]);
      assert.ok(score <= last && score >= 0);
      last = score;
      assert.deepEqual(mask.size, [height, width]);
      let [left, top, right, bottom, count] = [width, height, -1, -1, 0];
      decodeRle(mask).forEach((inside, i) => {
        if (!inside) return;
        count++;
        left = Math.min(left, i % width);
        right = Math.max(right, i % width);
        top = Math.min(top, Math.floor(i / width));
        bottom = Math.max(bottom, Math.floor(i / width));
      });
      assert.ok(count > 0);
      assert.deepEqual([area, box], [count, [left, top, right - left + 1, bottom - top + 1]]);
    }
  })));

Deno.test("instances: the order of the masks changes nothing", () =>
  fc.assert(fc.asyncProperty(inputs, fc.nat(), async (input, seed) => {
    const order = new Rng(seed).shuffle(Array.from({ length: input.numMasks }, (_, n) => n));
    const list = async (input: PanopticInput) =>
      (await instanceInference(input)).map(({ label, mask, score }) =>
        `${label} ${mask.counts} ${score}`
      ).sort();
    assert.deepEqual(await list(permuted(input, order)), await list(input));
  })));

Deno.test("both: logits that are no numbers are refused by name, an abort ends the work", async () => {
  const input: PanopticInput = {
    maskLogits: new Float32Array(2 * 3).fill(5),
    classLogits: Float32Array.of(9, 0, 0, 9),
    numMasks: 2,
    numClasses: 2,
    hasVoid: false,
    maskHeight: 1,
    maskWidth: 3,
    height: 400,
    width: 400,
    isThing: [true, false],
  };
  const reason = new Error("enough");
  for (const infer of [panopticInference, instanceInference]) {
    const maskLogits = Float32Array.of(5, 5, 5, 5, NaN, 5);
    await assert.rejects(
      infer({ ...input, maskLogits }),
      (error) => error instanceof ModelError && /mask 1 hold NaN/.test(error.message),
    );
    await assert.rejects(
      infer({ ...input, classLogits: Float32Array.of(9, 0, Infinity, 0) }),
      (error) => error instanceof ModelError && /mask 1 hold Infinity/.test(error.message),
    );
    await assert.rejects(
      infer(input, { signal: AbortSignal.abort(reason) }),
      (error) => error === reason,
    );
  }
});
