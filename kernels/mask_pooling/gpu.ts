/**
 * Mask pooling on WebGPU.
 *
 * @module
 */
import { BufferPool } from "../dispatch/buffer_pool.ts";
import { CommandList, f32, u32 } from "../dispatch/command_list.ts";
import { KernelContext } from "../dispatch/context.ts";
import { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { encodeMatmul, matmulPipeline, splitInner } from "../dispatch/matmul.ts";
import { toGpu } from "../dispatch/operand.ts";
import areaWgsl from "./area.wgsl" with { type: "text" };
import meanWgsl from "./mean.wgsl" with { type: "text" };
import {
  checkMaskPooling,
  emptyArea,
  type MaskPoolingInput,
  type MaskPoolingOptions,
  PooledMasks,
} from "./contract.ts";
import weightsWgsl from "./weights.wgsl" with { type: "text" };

/** Pixels that one workgroup of `weights.wgsl` handles. */
const chunkSize = 2048;

/** The WGSL kernels of mask pooling, with the scratch memory that they keep between runs. */
export class GpuMaskPooling implements Disposable {
  readonly #context: KernelContext;
  readonly #pool: BufferPool;
  readonly #options: MaskPoolingOptions;

  /**
   * @param gpu The device.
   * @param options Hard or soft.
   */
  constructor(gpu: GPUDevice, options: MaskPoolingOptions) {
    this.#context = KernelContext.of(gpu);
    this.#pool = new BufferPool(this.#context);
    this.#options = options;
  }

  /**
   * Pools once; see {@linkcode MaskPooling.run}.
   *
   * @returns Tensors on the device, which the caller owns.
   */
  async run(input: MaskPoolingInput): Promise<PooledMasks> {
    const context = this.#context;
    const sizes = checkMaskPooling(input);
    const { channels, height, width, masks, maskHeight, maskWidth } = sizes;
    const pixels = height * width;
    const chunks = Math.ceil(pixels / chunkSize);
    const split = splitInner(masks, channels, pixels);
    const bytes = {
      weights: 4 * masks * pixels,
      partialArea: 4 * masks * chunks,
      partials: 4 * split.splits * masks * channels,
    };
    context.checkBinding("mask pooling: the features", 4 * channels * pixels);
    context.checkBinding("mask pooling: the mask logits", 4 * masks * maskHeight * maskWidth);
    context.checkBinding("mask pooling: the mask weights", bytes.weights);
    context.checkBinding("mask pooling: the partial sums", bytes.partials);

    const [weigh, sum, multiply, mean] = await Promise.all([
      context.pipeline("mask_pooling/weights", weightsWgsl),
      context.pipeline("mask_pooling/area", areaWgsl),
      matmulPipeline(context),
      context.pipeline("mask_pooling/mean", meanWgsl),
    ]);
    const x = await toGpu(context.gpu, "features", input.features);
    try {
      const m = await toGpu(context.gpu, "mask logits", input.maskLogits);
      const outputs: GpuTensor<"float32">[] = [];
      try {
        return await context.guard("mask pooling", () => {
          const pool = this.#pool;
          try {
            const pooled = GpuTensor.allocate(context.gpu, "float32", [masks, channels], "pooled");
            outputs.push(pooled);
            const area = GpuTensor.allocate(context.gpu, "float32", [masks], "area");
            outputs.push(area);
            const weights = pool.take("mask weights", bytes.weights);
            const partialArea = pool.take("partial areas", bytes.partialArea);
            const partials = pool.take("partial sums", bytes.partials);
            const list = new CommandList(context);
            list.dispatch(
              weigh,
              masks * chunks,
              [masks, maskHeight, maskWidth, height, width, chunks].map(u32)
                .concat(u32(this.#options.mode === "soft" ? 1 : 0)),
              [m.buffer, weights, partialArea],
            );
            list.dispatch(sum, masks, [u32(masks), u32(chunks)], [partialArea, area.buffer]);
            encodeMatmul(
              list,
              multiply,
              { m: masks, n: channels, k: pixels },
              { buffer: weights, rowStride: pixels, columnStride: 1 },
              { buffer: x.buffer, rowStride: 1, columnStride: pixels },
              split,
              partials,
            );
            list.dispatch(
              mean,
              Math.ceil(masks * channels / 256),
              [u32(masks), u32(channels), u32(split.splits), f32(emptyArea)],
              [partials, area.buffer, pooled.buffer],
            );
            list.submit();
            return new PooledMasks(pooled, area);
          } finally {
            pool.release();
          }
        });
      } catch (error) {
        for (const output of outputs) output.dispose();
        throw error;
      } finally {
        m.dispose();
      }
    } finally {
      x.dispose();
    }
  }

  /** Frees the scratch memory. */
  dispose(): void {
    this.#pool.dispose();
  }

  /** As {@linkcode GpuMaskPooling.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
