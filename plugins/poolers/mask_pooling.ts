/**
 * Mask pooling as a stage.
 *
 * @module
 */
import { MaskPooling } from "../../kernels/mask_pooling/mask_pooling.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import { HostTensor } from "../../lib/tensor.ts";
import { EmptyMasks } from "./empty_masks.ts";

/** Options of {@linkcode maskPooling}. */
export const maskPoolingOptions = {
  mode: {
    type: "string",
    description: "how a mask logit weighs a pixel: 1 above 0, or its sigmoid",
    default: "hard",
    enum: ["hard", "soft"],
  },
  checkFinite: {
    type: "boolean",
    description: "refuse NaN and infinity in the features and mask logits by name",
    default: false,
  },
} as const satisfies OptionSchema;

/**
 * `F_C[n] = Σ_p a_np X_p / (Σ_p a_np + ε)`: the mean of the dense features under each mask, with
 * `a = [M > 0]` (hard) or `sigmoid(M)` (soft), M resized to the features' size. On WebGPU the WGSL
 * kernel runs, elsewhere the same as an ONNX graph.
 */
export const maskPooling: StagePlugin<
  ["features", "maskLogits"],
  ["pooled"],
  typeof maskPoolingOptions
> = {
  role: "pooler",
  name: "mask_pooling",
  description: "the mean of the dense features under each mask",
  needs: ["features", "maskLogits"],
  gives: ["pooled"],
  options: maskPoolingOptions,
  create(options, { device }) {
    const kernel = new MaskPooling(device, options);
    return {
      async run({ features, maskLogits }) {
        const masks = await kernel.run({ features, maskLogits });
        const { area } = masks;
        if (area instanceof GpuTensor) {
          return { pooled: { embeddings: masks.pooled, empty: new EmptyMasks(area) } };
        }
        try {
          const empty = Uint8Array.from(await masks.empty(), Number);
          return {
            pooled: {
              embeddings: masks.pooled,
              empty: new HostTensor("uint8", [empty.length], empty),
            },
          };
        } catch (error) {
          masks.pooled.dispose();
          throw error;
        } finally {
          area.dispose();
        }
      },
      dispose: () => kernel.dispose(),
    };
  },
};
