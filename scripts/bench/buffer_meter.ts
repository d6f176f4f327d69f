/**
 * Counts the memory of WebGPU buffers.
 *
 * @module
 */

/** Follows every buffer that a device makes and destroys from now on. */
export class BufferMeter {
  #live = 0;
  #base = 0;
  #peak = 0;

  /** @param gpu The device; its `createBuffer` is replaced by one that counts. */
  constructor(gpu: GPUDevice) {
    const create = gpu.createBuffer.bind(gpu);
    gpu.createBuffer = (descriptor) => {
      const buffer = create(descriptor);
      let size = descriptor.size;
      this.#live += size;
      this.#peak = Math.max(this.#peak, this.#live);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        this.#live -= size;
        size = 0;
        destroy();
      };
      return buffer;
    };
  }

  /** Takes what is alive now, such as the inputs, as zero. */
  reset(): void {
    this.#base = this.#peak = this.#live;
  }

  /** The most bytes alive at once since the reset, above what was alive then. */
  get peak(): number {
    return this.#peak - this.#base;
  }
}
