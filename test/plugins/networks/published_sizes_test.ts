import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import counts from "../../fixtures/networks/counts.json" with { type: "json" };
import { Graph, ops, ParameterScope, type Value } from "../../../lib/graph/mod.ts";
import { sizeOf } from "../../../lib/tensor.ts";
import { mapWeights, type WantedTensor, type WeightRule } from "../../../lib/weights/mod.ts";
import { clipImageConvnext } from "../../../plugins/networks/clip_image_convnext.ts";
import { clipImageTransformer } from "../../../plugins/networks/clip_image_transformer.ts";
import {
  clipTextTransformer,
  type ClipTextTransformerConfig,
} from "../../../plugins/networks/clip_text_transformer.ts";
import { clipFromOpenClip, clipFromTransformers } from "../../../plugins/networks/clip_weights.ts";
import { convnext, convnextEpsilon } from "../../../plugins/networks/convnext.ts";
import { convnextFromTransformers } from "../../../plugins/networks/convnext_weights.ts";
import { layerNorm } from "../../../plugins/networks/layers.ts";
import { mask2FormerPixelDecoder } from "../../../plugins/networks/mask2former_pixel_decoder.ts";
import {
  mask2FormerTransformerDecoder,
} from "../../../plugins/networks/mask2former_transformer_decoder.ts";
import { mask2FormerFromTransformers } from "../../../plugins/networks/mask2former_weights.ts";
import {
  clipConvnextSizes,
  clipTransformerSizes,
  convnextSizes,
  mask2FormerSizes,
} from "../../../plugins/networks/published_sizes.ts";

const names: Record<string, Record<string, number[]>> = JSON.parse(
  gunzipSync(
    await readFile(new URL("../../fixtures/networks/names.json.gz", import.meta.url)),
  ).toString(),
);

/** What a network asks for; nothing is allocated. */
function wantedBy(build: (scope: ParameterScope) => void): WantedTensor[] {
  const graph = new Graph("wanted");
  const wanted: WantedTensor[] = [];
  build(
    new ParameterScope(graph, (name, shape) => {
      wanted.push({ name, shape });
      return graph.input(name, shape);
    }),
  );
  return wanted;
}

function assertCount(name: string, wanted: readonly WantedTensor[], start = ""): void {
  const own = wanted.filter((tensor) => tensor.name.startsWith(start));
  const count = own.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  assert.equal(count, counts[name as keyof typeof counts], name);
}

/** A checkpoint of these names and shapes has what the network wants, and nothing without a reason. */
function assertFits(
  checkpoint: string,
  wanted: readonly WantedTensor[],
  rules: readonly WeightRule[],
): void {
  const entries = Object.entries(names[checkpoint]!).map((
    [name, shape],
  ) => [name, { dtype: "float32", shape }] as const);
  const file = {
    name: checkpoint,
    entries: new Map(entries),
    metadata: new Map<string, string>(),
    read: () => Promise.reject(new Error("has names alone")),
  };
  const { report } = mapWeights(file, wanted, rules).requireAll();
  assert.deepEqual(report.unused.filter(({ reason }) => reason === null), []);
}

function clip(
  image: (scope: ParameterScope) => { embedding: Value; features: Value },
  text: ClipTextTransformerConfig,
  grid: number,
): WantedTensor[] {
  return wantedBy((scope) => {
    const { graph } = scope;
    const { embedding, features } = image(scope.scope("image"));
    assert.deepEqual(embedding.shape, ["B", text.jointSize]);
    assert.deepEqual(features.shape, ["B", text.jointSize, grid, grid]);
    const tokens = graph.input("tokens", ["C", "L"], "int64");
    const embeddings = clipTextTransformer(scope.scope("text"), tokens, text);
    assert.deepEqual(embeddings.shape, ["C", text.jointSize]);
    scope.parameter("logitScale", [1], { constant: Math.log(1 / 0.07) });
  });
}

for (const [name, { image, text }] of Object.entries(clipTransformerSizes)) {
  Deno.test(`CLIP ${name} builds in its published size and takes its published weights`, () => {
    const side = image.grid * image.patchSize;
    const wanted = clip(
      (scope) =>
        clipImageTransformer(scope, scope.graph.input("pixels", ["B", 3, side, side]), image),
      text,
      image.grid,
    );
    assertCount(`clip ${name} image`, wanted, "image.");
    assertCount(`clip ${name} text`, wanted, "text.");
    assertFits(`clip ${name}`, wanted, clipFromTransformers);
    if (name === "ViT-B/16") assertFits("open_clip ViT-B-16", wanted, clipFromOpenClip);
  });
}

for (const [name, { image, text }] of Object.entries(clipConvnextSizes)) {
  Deno.test(`CLIP ${name} builds in its published size and takes its published weights`, () => {
    const wanted = clip(
      (scope) => clipImageConvnext(scope, scope.graph.input("pixels", ["B", 3, 320, 320]), image),
      text,
      10,
    );
    assertCount(`open_clip ${name} image`, wanted, "image.");
    assertCount(`open_clip ${name} text`, wanted, "text.");
    assertFits(`open_clip ${name}`, wanted, clipFromOpenClip);
  });
}

for (const [name, sizes] of Object.entries(convnextSizes)) {
  Deno.test(`ConvNeXt ${name} builds in its published size and takes its published weights`, () => {
    const wanted = wantedBy((scope) => {
      const [, , , last] = convnext(scope, scope.graph.input("image", ["B", 3, 224, 224]), sizes);
      assert.deepEqual(last!.shape, ["B", sizes.widths[3], 7, 7]);
      layerNorm(scope.scope("norm"), ops.reduceMean(last!, [2, 3]), convnextEpsilon);
    });
    assertCount(`convnext ${name}`, wanted);
    assertFits(`convnext ${name}`, wanted, convnextFromTransformers);
  });
}

for (
  const [name, channels, numQueries] of [
    ["swin-base", [128, 256, 512, 1024], 100],
    ["swin-large", [192, 384, 768, 1536], 200],
  ] as const
) {
  Deno.test(`Mask2Former's decoders for ${name} build and take the published weights`, () => {
    const wanted = wantedBy((scope) => {
      const pyramid = channels.map((c, i) =>
        scope.graph.input(`map${i}`, ["B", c, 64 >> i, 64 >> i])
      );
      const predictions = mask2FormerTransformerDecoder(
        scope.scope("transformerDecoder"),
        mask2FormerPixelDecoder(
          scope.scope("pixelDecoder"),
          pyramid,
          mask2FormerSizes.pixelDecoder,
        ),
        { ...mask2FormerSizes.transformerDecoder, numQueries, numClasses: 133 },
      );
      assert.equal(predictions.length, 10);
      const { maskLogits, classLogits } = predictions[9]!;
      assert.deepEqual(maskLogits.shape, ["B", numQueries, 64, 64]);
      assert.deepEqual(classLogits!.shape, ["B", numQueries, 134]);
    });
    assertCount(`mask2former ${name} pixel decoder`, wanted, "pixelDecoder.");
    assertCount(`mask2former ${name} transformer decoder`, wanted, "transformerDecoder.");
    assertFits(`mask2former ${name}`, wanted, mask2FormerFromTransformers);
  });
}
