/**
 * The image encoder: dense CLIP features and a feature pyramid.
 *
 * @module
 */
import { loadNetwork, unbatched } from "../../lib/stages/network.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { float32 } from "../../lib/tensor.ts";
import { encoderSize, resizeImage } from "./resize_image.ts";

/** Options of {@linkcode imageEncoder}. */
export const imageEncoderOptions = {
  inputSize: {
    type: "integer",
    description: "longer side at which the image is encoded, in pixels, rounded to 16",
    default: 128,
    minimum: 32,
    maximum: 4096,
  },
  model: { type: "string", description: "the model's file", default: "image_encoder.onnx" },
} as const satisfies OptionSchema;

/**
 * Runs an ONNX model: `image` [1, 3, H, W], RGB from 0 to 1 → `features` [1, D, H/8, W/8] in the
 * joint image-text space, `pyramid4` [1, c, H/4, W/4] and `pyramid8` [1, c', H/8, W/8].
 *
 * The image is resized so that its longer side is `inputSize`; see {@linkcode resizeImage}.
 */
export const imageEncoder: StagePlugin<
  ["image"],
  ["features", "pyramid"],
  typeof imageEncoderOptions
> = {
  role: "image-encoder",
  name: "onnx",
  description: "dense CLIP features and a feature pyramid, from an ONNX model",
  needs: ["image"],
  gives: ["features", "pyramid"],
  options: imageEncoderOptions,
  async create({ inputSize, model }, environment) {
    const session = await loadNetwork(environment, model, {
      inputs: ["image"],
      outputs: ["features", "pyramid4", "pyramid8"],
    });
    return {
      async run({ image }) {
        const { width, height } = encoderSize(image.width, image.height, inputSize);
        const pixels = float32([1, 3, height, width], resizeImage(image, width, height));
        const outputs = await session.run({ image: pixels });
        const { features, pyramid4, pyramid8, ...others } = outputs;
        for (const other of Object.values(others)) other.dispose();
        return {
          features: unbatched(features!, "features"),
          pyramid: [
            { stride: 4, features: unbatched(pyramid4!, "pyramid4") },
            { stride: 8, features: unbatched(pyramid8!, "pyramid8") },
          ],
        };
      },
      dispose: () => session.dispose(),
    };
  },
};
