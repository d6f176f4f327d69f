import assert from "node:assert/strict";
import { ops } from "../../../lib/graph/mod.ts";
import counts from "../../fixtures/networks/counts.json" with { type: "json" };
import { clipImageConvnext } from "../../../plugins/networks/clip_image_convnext.ts";
import { clipImageTransformer } from "../../../plugins/networks/clip_image_transformer.ts";
import { clipTextTransformer } from "../../../plugins/networks/clip_text_transformer.ts";
import { convnext } from "../../../plugins/networks/convnext.ts";
import { layerNorm } from "../../../plugins/networks/layers.ts";
import { mask2FormerPixelDecoder } from "../../../plugins/networks/mask2former_pixel_decoder.ts";
import {
  mask2FormerTransformerDecoder,
} from "../../../plugins/networks/mask2former_transformer_decoder.ts";
import {
  clipConvnextSizes,
  clipTransformerSizes,
  convnextSizes,
  mask2FormerSizes,
} from "../../../plugins/networks/published_sizes.ts";
import { countParameters } from "./judge.ts";

Deno.test("published sizes build with as many parameters as the published networks have", () => {
  const found: Record<string, number> = {};
  const text = (config: Parameters<typeof clipTextTransformer>[2]) =>
    countParameters((scope) =>
      clipTextTransformer(scope, scope.graph.input("tokens", ["C", "L"], "int64"), config)
    );
  for (const [name, sizes] of Object.entries(clipTransformerSizes)) {
    const side = sizes.image.grid * sizes.image.patchSize;
    found[`clip ${name} image`] = countParameters((scope) => {
      const image = scope.graph.input("image", ["B", 3, side, side]);
      const { embedding, features } = clipImageTransformer(scope, image, sizes.image);
      const { grid, jointSize } = sizes.image;
      assert.deepEqual(embedding.shape, ["B", jointSize]);
      assert.deepEqual(features.shape, ["B", jointSize, grid, grid]);
    });
    found[`clip ${name} text`] = text(sizes.text);
  }
  for (const [name, sizes] of Object.entries(convnextSizes)) {
    found[`convnext ${name}`] = countParameters((scope) => {
      const [, , , last] = convnext(scope, scope.graph.input("image", ["B", 3, 224, 224]), sizes);
      // The count in transformers includes the norm after the pooling.
      layerNorm(scope.scope("norm"), ops.reduceMean(last!, [2, 3]));
      assert.deepEqual(last!.shape, ["B", sizes.widths[3], 7, 7]);
    });
  }
  for (const [name, sizes] of Object.entries(clipConvnextSizes)) {
    found[`clip ${name} image`] = countParameters((scope) => {
      const image = scope.graph.input("image", ["B", 3, 320, 320]);
      const { embedding, features } = clipImageConvnext(scope, image, sizes.image);
      assert.deepEqual(embedding.shape, ["B", sizes.image.jointSize]);
      assert.deepEqual(features.shape, ["B", sizes.image.jointSize, 10, 10]);
    });
    found[`clip ${name} text`] = text(sizes.text);
  }
  for (
    const [name, channels, numQueries] of [
      ["swin-base", [128, 256, 512, 1024], 100],
      ["swin-large", [192, 384, 768, 1536], 200],
    ] as const
  ) {
    let whole = 0;
    const pixels = countParameters((scope) => {
      const { graph } = scope;
      const pyramid = channels.map((c, i) => graph.input(`map${i}`, ["B", c, 64 >> i, 64 >> i]));
      const decoded = mask2FormerPixelDecoder(scope, pyramid, mask2FormerSizes.pixelDecoder);
      assert.deepEqual(decoded.maskFeatures.shape, ["B", 256, 64, 64]);
      whole = countParameters((inner) => {
        const again = (value: typeof decoded.maskFeatures, i: number) =>
          inner.graph.input(`map${i}`, value.shape);
        const predictions = mask2FormerTransformerDecoder(
          inner,
          {
            maskFeatures: inner.graph.input("mask", decoded.maskFeatures.shape),
            levels: decoded.levels.map(again),
          },
          { ...mask2FormerSizes.transformerDecoder, numQueries, numClasses: 133 },
        );
        assert.equal(predictions.length, 10);
        assert.deepEqual(predictions[9]!.maskLogits.shape, ["B", numQueries, 64, 64]);
        assert.deepEqual(predictions[9]!.classLogits!.shape, ["B", numQueries, 134]);
      });
    });
    found[`mask2former ${name} pixel decoder`] = pixels;
    found[`mask2former ${name} transformer decoder`] = whole;
  }
  assert.deepEqual(found, counts);
});
