import { mask2FormerPixelDecoder } from "../../../plugins/networks/mask2former_pixel_decoder.ts";
import {
  mask2FormerTransformerDecoder,
} from "../../../plugins/networks/mask2former_transformer_decoder.ts";
import { mask2FormerFromTransformers } from "../../../plugins/networks/mask2former_weights.ts";
import { judge } from "./judge.ts";

Deno.test("Mask2Former's decoders agree with transformers', after every layer", () =>
  judge("mask2former", mask2FormerFromTransformers, (scope, inputs) => {
    const pyramid = ["res2", "res3", "res4", "res5"].map((name) => inputs[name]!);
    const pixels = mask2FormerPixelDecoder(scope.scope("pixelDecoder"), pyramid, {
      width: 32,
      maskWidth: 16,
      heads: 4,
      depth: 2,
      hiddenWidth: 48,
      groups: 8,
    });
    const predictions = mask2FormerTransformerDecoder(scope.scope("transformerDecoder"), pixels, {
      numQueries: 5,
      width: 32,
      heads: 4,
      depth: 3,
      hiddenWidth: 40,
      numClasses: 6,
    });
    return {
      maskFeatures: pixels.maskFeatures,
      stride8: pixels.levels[2]!,
      ...Object.fromEntries(predictions.flatMap(({ maskLogits, classLogits }, i) => [
        [`masks${i}`, maskLogits],
        [`classes${i}`, classLogits!],
      ])),
    };
  }, {
    res2: ["B", 4, "H2", "W2"],
    res3: ["B", 6, "H3", "W3"],
    res4: ["B", 8, "H4", "W4"],
    res5: ["B", 10, "H5", "W5"],
  }));
