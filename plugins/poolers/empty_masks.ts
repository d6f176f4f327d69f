/**
 * Which masks are empty, known on a WebGPU device.
 *
 * @module
 */
import { emptyArea } from "../../kernels/mask_pooling/contract.ts";
import type { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import type { Tensor } from "../../lib/tensor.ts";

/**
 * N flags, 1 where a mask holds no pixel, that are still areas on the device: whoever can take those
 * there spares a read-back, all others read flags.
 */
export class EmptyMasks implements Tensor<"uint8"> {
  /** Always "gpu". */
  readonly location = "gpu";
  /** Bytes, once they are read. */
  readonly dtype = "uint8";
  /** One size, N. */
  readonly shape: readonly number[];
  /** N areas, in cells of the feature map. */
  readonly areas: GpuTensor<"float32">;

  /** @param areas N areas; disposed of with the flags. */
  constructor(areas: GpuTensor<"float32">) {
    this.areas = areas;
    this.shape = areas.shape;
  }

  /** The flags, at the price of a read-back. */
  async read(): Promise<Uint8Array> {
    return Uint8Array.from(await this.areas.read(), (area) => Number(area <= emptyArea));
  }

  /** Frees the areas. */
  dispose(): void {
    this.areas.dispose();
  }
}
