/**
 * Every system of the field that the contract has to hold, as a chain that the compiler accepts and
 * that runs: stages with the right needs and gives, and tensors of the right shapes, but no
 * arithmetic. `docs/stages.md` tells what each one is.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Pipeline, pipeline } from "../../../lib/stages/pipeline.ts";
import type { SlotList, SlotName, Slots, SlotsOf, SlotSpecs } from "../../../lib/stages/slots.ts";
import type { Stage } from "../../../lib/stages/stage.ts";
import type { Tensor } from "../../../lib/tensor.ts";
import { fakeDevice, type Sizes, sizes, slotValue, Tally } from "./fakes.ts";

declare module "../../../lib/stages/slots.ts" {
  interface Slots {
    /** SAN: heads × N × h × w, added to the attention of the recognition layers. */
    attentionBiases: Tensor<"float32">;
  }
}

const sanSlots: SlotSpecs = {
  attentionBiases: {
    description: "heads×N×h×w biases of the recognition layers' attention",
    tensors: (tensor) => [
      { field: "", tensor, dtype: "float32", dims: ["heads", "N", "h", "w"] },
    ],
  },
};

const tally = new Tally();

function stage<const Needs extends SlotList, const Gives extends SlotList>(
  role: string,
  name: string,
  needs: Needs,
  gives: Gives,
  change: Partial<Sizes> = {},
): Stage<Needs, Gives> {
  return {
    role,
    name,
    needs,
    gives,
    slots: sanSlots,
    run(inputs) {
      assert.deepEqual(Object.keys(inputs).sort(), [...needs].sort());
      const all = { ...sizes, ...change };
      return Object.fromEntries(
        gives.map((slot): [SlotName, unknown] => [
          slot,
          slot === "attentionBiases"
            ? tally.tensor([2, all.N, 4, 6])
            : slotValue(slot as Exclude<SlotName, "attentionBiases">, all, tally),
        ]),
      ) as SlotsOf<Gives>;
    },
  };
}

const device = fakeDevice();
const text = stage("text-encoder", "clip", ["vocabulary"], ["text"]);
const clip = stage("image-encoder", "clip", ["image"], ["features", "pyramid"]);
const pooler = stage("pooler", "mask_pooling", ["features", "maskLogits"], ["pooled"]);
const gfa = stage("fuser", "gfa", ["pooled", "queryEmbeddings"], ["fused"]);
const cosine = stage("classifier", "cosine", ["fused", "text"], ["classLogits"]);
const semantic = stage("segmenter", "semantic", [
  "image",
  "vocabulary",
  "maskLogits",
  "classLogits",
], ["segmentation"]);
const perPixel = stage("segmenter", "per_pixel", ["image", "vocabulary", "pixelLogits"], [
  "segmentation",
]);
const proposer = stage("decoder", "maskformer", ["image"], ["maskLogits", "queryEmbeddings"]);
const decoder = stage("decoder", "mask2former", ["features", "pyramid"], [
  "maskLogits",
  "queryEmbeddings",
]);
const ensembleNeeds = ["vocabulary", "text", "pooled", "queryEmbeddings"] as const;
const ensemble = stage("classifier", "geometric_ensemble", ensembleNeeds, ["classLogits"]);

const begin = () => pipeline(device);

const systems = {
  "OVSNet": begin().pipe(clip).pipe(text).pipe(decoder).pipe(pooler).pipe(gfa).pipe(cosine)
    .pipe(semantic),

  "OVSNet, fused per pixel": begin().pipe(clip).pipe(text).pipe(decoder)
    .pipe(stage("fuser", "gfa_per_pixel", ["features", "queryEmbeddings"], ["features"]))
    .pipe(stage("classifier", "cost_volume", ["features", "text"], ["pixelLogits"]))
    .pipe(perPixel),

  "SimSeg": begin().pipe(text).pipe(proposer)
    .pipe(stage("pooler", "crops_through_clip", ["image", "maskLogits"], ["pooled"]))
    .pipe(ensemble).pipe(semantic),

  "OVSeg": begin().pipe(text).pipe(proposer)
    .pipe(stage("pooler", "prompted_crops", ["image", "maskLogits"], ["pooled"]))
    .pipe(ensemble).pipe(semantic),

  "SAN": begin().pipe(text)
    .pipe(stage("image-encoder", "clip_shallow", ["image"], ["pyramid"]))
    .pipe(stage("decoder", "side_network", ["image", "pyramid"], ["maskLogits", "attentionBiases"]))
    .pipe(stage("pooler", "clip_deep", ["pyramid", "attentionBiases"], ["fused"]))
    .pipe(cosine).pipe(semantic),

  "FC-CLIP": begin().pipe(clip).pipe(text)
    .pipe(stage("decoder", "mask2former", ["pyramid"], ["maskLogits", "queryEmbeddings"]))
    .pipe(pooler).pipe(ensemble).pipe(semantic),

  "MAFT+": begin().pipe(clip).pipe(text)
    .pipe(stage("text-encoder", "content_dependent_transfer", ["text", "features"], ["text"]))
    .pipe(decoder).pipe(pooler).pipe(ensemble).pipe(semantic),

  "CAT-Seg": begin().pipe(clip).pipe(text)
    .pipe(stage("classifier", "cost_volume", ["features", "text"], ["pixelLogits"]))
    .pipe(stage("decoder", "aggregation", ["pixelLogits", "pyramid", "text"], ["pixelLogits"]))
    .pipe(perPixel),

  "SED": begin().pipe(clip).pipe(text)
    .pipe(stage("classifier", "cost_volume", ["features", "text"], ["pixelLogits"]))
    .pipe(stage("decoder", "gradual_fusion", ["pixelLogits", "pyramid", "text"], ["pixelLogits"]))
    .pipe(
      stage(
        "classifier",
        "early_rejection",
        ["vocabulary", "text", "pixelLogits"],
        ["vocabulary", "text", "pixelLogits"],
        { C: 2 },
      ),
    )
    .pipe(
      stage("decoder", "gradual_fusion", ["pixelLogits", "pyramid", "text"], ["pixelLogits"], {
        C: 2,
      }),
    )
    .pipe(perPixel),

  "Mask2Former": pipeline(device, ["image"])
    .pipe(stage("image-encoder", "backbone", ["image"], ["pyramid"]))
    .pipe(
      stage("decoder", "closed_set", ["pyramid"], ["vocabulary", "maskLogits", "classLogits"]),
    )
    .pipe(semantic),
} satisfies Record<string, Pipeline<"image" | "vocabulary", "segmentation" | SlotName>>;

const inputs = { image: slotValue("image"), vocabulary: slotValue("vocabulary") };

for (const [name, system] of Object.entries(systems)) {
  Deno.test(`the contract holds ${name}`, async () => {
    tally.made = 0;
    const run = (system as Pipeline<keyof typeof inputs, SlotName>).run(inputs, {
      outputs: ["segmentation"],
    });
    {
      using result = await run;
      assert.deepEqual(result.outputs.segmentation.labels.shape, [sizes.H, sizes.W]);
      assert.equal(result.timings.length, system.stages.length);
      assert.equal(tally.live, 1, "all but the scores are freed");
    }
    assert.ok(tally.made > 1);
    assert.equal(tally.live, 0);
    assert.equal(tally.twice, 0);
  });
}

Deno.test("the contract holds CLIP and ALIGN, whose answer is about the whole image", async () => {
  const whole = pipeline(device)
    .pipe(stage("image-encoder", "clip_global", ["image"], ["fused"], { N: 1 }))
    .pipe(text)
    .pipe(stage("classifier", "cosine", ["fused", "text"], ["classLogits"], { N: 1 }));
  using result = await whole.run(inputs);
  const classLogits: Slots["classLogits"] = result.outputs.classLogits;
  assert.deepEqual(classLogits.logits.shape, [1, sizes.C + 1]);
});
