import { ops } from "../../../lib/graph/mod.ts";
import { convnext, convnextEpsilon } from "../../../plugins/networks/convnext.ts";
import { convnextFromTransformers } from "../../../plugins/networks/convnext_weights.ts";
import { layerNorm } from "../../../plugins/networks/layers.ts";
import { judge } from "./judge.ts";

Deno.test("ConvNeXt agrees with transformers'", () =>
  judge("convnext", convnextFromTransformers, (scope, { image }) => {
    const pyramid = convnext(scope, image!, { widths: [6, 8, 10, 12], depths: [1, 1, 2, 1] });
    const mean = ops.reduceMean(pyramid[3]!, [2, 3]);
    return {
      pooled: layerNorm(scope.scope("norm"), mean, convnextEpsilon),
      stride4: pyramid[0]!,
      stride32: pyramid[3]!,
    };
  }, { image: ["B", 3, "H", "W"] }));
