import assert from "node:assert/strict";
import { InputError, ShapeError } from "../../../lib/errors.ts";
import { encodeRle } from "../../../lib/image/coco_rle.ts";
import { pipeline } from "../../../lib/stages/pipeline.ts";
import {
  type InstancesSlot,
  isThing,
  type PanopticSlot,
  type VocabularySlot,
} from "../../../lib/stages/slots.ts";
import { defineStage } from "../../../lib/stages/stage.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";

const image = { width: 3, height: 2, rgb: new Uint8Array(18) };
const words = vocabulary(["dog", "sky"]);

async function gives(
  slots: { panoptic?: PanopticSlot; instances?: InstancesSlot; vocabulary?: VocabularySlot },
): Promise<void> {
  await using device = await acquireDevice("cpu");
  const segmenter = defineStage({
    role: "segmenter",
    name: "own",
    needs: ["image"],
    gives: Object.keys(slots) as ("panoptic" | "instances" | "vocabulary")[],
    run: () => slots as Required<typeof slots>,
  });
  await using own = pipeline(device).pipe(segmenter);
  (await own.run({ image, vocabulary: words })).dispose();
}

const segment = (id: number) => ({ id, label: 0, score: 1, isThing: true, area: 1 });
const ids = (...shape: number[]) => new HostTensor("int32", shape);

Deno.test("panoptic: ids are as large as the image, and segments come by ascending id", async () => {
  await gives({ panoptic: { ids: ids(2, 3), segments: [segment(1), segment(5)] } });
  await gives({ panoptic: { ids: ids(2, 3), segments: [] } });
  for (const order of [[0], [2, 1], [1, 1], [1.5]]) {
    await assert.rejects(
      gives({ panoptic: { ids: ids(2, 3), segments: order.map(segment) } }),
      (error) =>
        error instanceof ShapeError && /panoptic has segment id .* ascend/.test(error.message),
    );
  }
  await assert.rejects(
    gives({ panoptic: { ids: ids(3, 3), segments: [] } }),
    /panoptic \(ids\) has 3 rows of pixels, image has 2; both must be H/,
  );
});

Deno.test("instances: all masks are as large as the image", async () => {
  const instance = (height: number, width: number) => ({
    label: 1,
    score: 0.5,
    area: 1,
    box: [0, 0, 1, 1] as const,
    mask: encodeRle(new Uint8Array(height * width).fill(1, 0, 1), height, width),
  });
  await gives({ instances: { height: 2, width: 3, instances: [instance(2, 3), instance(2, 3)] } });
  await assert.rejects(
    gives({ instances: { height: 2, width: 3, instances: [instance(2, 3), instance(3, 2)] } }),
    /instances has a mask of 3×2 pixels at 1; all are 2×3/,
  );
  await assert.rejects(gives({ instances: { height: 3, width: 3, instances: [] } }), ShapeError);
});

Deno.test("vocabulary: one flag for each name; where none is given, everything is a thing", async () => {
  assert.deepEqual(isThing(words), [true, true]);
  assert.deepEqual(isThing(vocabulary(["dog", "sky"], { isThing: [true, false] })), [true, false]);
  for (const field of ["isThing", "trained"] as const) {
    await assert.rejects(
      gives({ vocabulary: { ...words, [field]: [true] } }),
      new RegExp(`vocabulary has 1 flags in ${field} for 2 names; one each is right`),
    );
  }
});

Deno.test("vocabulary: what is no list of names is refused, though no compiler has looked", () => {
  const cases: [unknown, RegExp][] = [
    ["dog", /the classes are of type string; they must be a list: vocabulary\(\["dog", /],
    [undefined, /the classes are of type undefined/],
    [[], /no classes: name at least one/],
    [["dog", 1], /class 2 of 2 is of type number; it must be a string/],
    [["dog", ["cat"]], /class 2 of 2 is of type object/],
  ];
  for (const [names, message] of cases) {
    assert.throws(
      () => vocabulary(names as string[]),
      (error: unknown) => error instanceof InputError && message.test(error.message),
    );
  }
});
