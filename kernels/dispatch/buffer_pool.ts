/**
 * Scratch memory that a kernel keeps from one run to the next.
 *
 * @module
 */
import { type KernelContext, tensorUsage } from "./context.ts";

/** Lends scratch buffers until it is released. */
export interface BufferLease {
  /** A storage buffer of at least `bytes`, with arbitrary contents, until the next `release`. */
  take(label: string, bytes: number): GPUBuffer;
  /** Ends the use of everything that was taken since the last call. */
  release(): void;
}

/**
 * Buffers for intermediate results. Work on a device's queue runs in order, so a buffer can serve
 * the next run as soon as the commands that use it are submitted.
 */
export class BufferPool implements BufferLease, Disposable {
  readonly #context: KernelContext;
  readonly #free: GPUBuffer[] = [];
  readonly #taken = new Set<GPUBuffer>();
  readonly #own: BufferLease;

  /** @param context The device's context. */
  constructor(context: KernelContext) {
    this.#context = context;
    this.#own = this.lease();
  }

  /** As {@linkcode BufferLease.take}, for work that is submitted without waiting in between. */
  take(label: string, bytes: number): GPUBuffer {
    return this.#own.take(label, bytes);
  }

  /** As {@linkcode BufferLease.release}. */
  release(): void {
    this.#own.release();
  }

  /**
   * A lease of its own, for work that waits between submissions: other runs don't get its buffers
   * before it is released. What nobody had a use for meanwhile is destroyed then, so that the pool
   * never holds more than one round's needs.
   */
  lease(): BufferLease {
    const mine: GPUBuffer[] = [];
    return {
      take: (label, bytes) => {
        const buffer = this.#find(bytes) ?? this.#context.createBuffer(label, bytes, tensorUsage);
        mine.push(buffer);
        this.#taken.add(buffer);
        return buffer;
      },
      release: () => {
        for (const buffer of this.#free) this.#context.destroyBuffer(buffer);
        this.#free.length = 0;
        for (const buffer of mine) {
          // Not so where the pool was disposed of meanwhile.
          if (this.#taken.delete(buffer)) this.#free.push(buffer);
        }
        mine.length = 0;
      },
    };
  }

  /** Destroys all buffers. The pool can be used again. */
  dispose(): void {
    for (const buffer of [...this.#free, ...this.#taken]) this.#context.destroyBuffer(buffer);
    this.#free.length = 0;
    this.#taken.clear();
  }

  /** As {@linkcode BufferPool.dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #find(bytes: number): GPUBuffer | null {
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      const size = this.#free[i]!.size;
      // A buffer far too large is left for whoever needs it.
      if (size < bytes || size > 2 * bytes + 4096) continue;
      if (best < 0 || size < this.#free[best]!.size) best = i;
    }
    return best < 0 ? null : this.#free.splice(best, 1)[0]!;
  }
}
