/**
 * Scratch memory that a kernel keeps from one run to the next.
 *
 * @module
 */
import { type KernelContext, tensorUsage } from "./context.ts";

/**
 * Buffers for intermediate results. Work on a device's queue runs in order, so a buffer can serve
 * the next run as soon as the commands that use it are submitted.
 */
export class BufferPool implements Disposable {
  readonly #context: KernelContext;
  readonly #free: GPUBuffer[] = [];
  readonly #taken: GPUBuffer[] = [];

  /** @param context The device's context. */
  constructor(context: KernelContext) {
    this.#context = context;
  }

  /** A storage buffer of at least `bytes`, with arbitrary contents, until the next `release`. */
  take(label: string, bytes: number): GPUBuffer {
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      const size = this.#free[i]!.size;
      // A buffer far too large is left for whoever needs it.
      if (size < bytes || size > 2 * bytes + 4096) continue;
      if (best < 0 || size < this.#free[best]!.size) best = i;
    }
    const buffer = best >= 0
      ? this.#free.splice(best, 1)[0]!
      : this.#context.createBuffer(label, bytes, tensorUsage);
    this.#taken.push(buffer);
    return buffer;
  }

  /**
   * Ends the use of everything that was taken since the last call. What the last run had no use for
   * is destroyed, so that the pool never holds more than one run's needs.
   */
  release(): void {
    for (const buffer of this.#free) this.#context.destroyBuffer(buffer);
    this.#free.length = 0;
    this.#free.push(...this.#taken);
    this.#taken.length = 0;
  }

  /** Destroys all buffers. The pool can be used again. */
  dispose(): void {
    for (const buffer of [...this.#free, ...this.#taken]) this.#context.destroyBuffer(buffer);
    this.#free.length = 0;
    this.#taken.length = 0;
  }

  /** As {@linkcode BufferPool.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
