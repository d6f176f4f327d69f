import { clipFromOpenClip, clipFromTransformers } from "../../../plugins/networks/clip_weights.ts";
import { clipImageConvnext } from "../../../plugins/networks/clip_image_convnext.ts";
import { clipImageTransformer } from "../../../plugins/networks/clip_image_transformer.ts";
import { clipTextTransformer } from "../../../plugins/networks/clip_text_transformer.ts";
import { judge } from "./judge.ts";

const jointSize = 10;
const image = { patchSize: 4, grid: 4, width: 16, depth: 2, heads: 2, jointSize };
const text = { vocabularySize: 20, maxLength: 9, width: 12, depth: 2, heads: 2, jointSize };

Deno.test("CLIP's towers agree with transformers', at other image sizes too", () =>
  judge("clip_transformers", clipFromTransformers, (scope, inputs) => {
    const options = { hiddenWidth: 28, activation: "quickGelu" } as const;
    const tower = scope.scope("image");
    const small = clipImageTransformer(tower, inputs["image"]!, { ...image, ...options });
    const large = clipImageTransformer(tower, inputs["wide"]!, { ...image, ...options });
    return {
      image: small.embedding,
      dense: small.features,
      wide: large.embedding,
      wideDense: large.features,
      text: clipTextTransformer(scope.scope("text"), inputs["tokens"]!, { ...text, ...options }),
    };
  }, { image: ["B", 3, 16, 16], wide: ["A", 3, 20, 28], tokens: ["C", "L"] }));

Deno.test("CLIP's towers agree with open_clip's", () =>
  judge("clip_open_clip", clipFromOpenClip, (scope, inputs) => ({
    image: clipImageTransformer(scope.scope("image"), inputs["image"]!, {
      ...image,
      hiddenWidth: 32,
      activation: "gelu",
    }).embedding,
    text: clipTextTransformer(scope.scope("text"), inputs["tokens"]!, {
      ...text,
      hiddenWidth: 24,
      activation: "gelu",
    }),
  })));

for (const head of ["linear", "mlp"] as const) {
  Deno.test(`CLIP's ConvNeXt agrees with open_clip's, head ${head}`, () =>
    judge(`clip_convnext_${head}`, clipFromOpenClip, (scope, inputs) => {
      const { embedding, features, pyramid } = clipImageConvnext(
        scope.scope("image"),
        inputs["image"]!,
        { widths: [6, 8, 10, 12], depths: [1, 1, 2, 1], head, jointSize },
      );
      return { image: embedding, dense: features, stride8: pyramid[1]! };
    }, { image: ["B", 3, "H", "W"] }));
}
