/**
 * A sequence of compute dispatches, submitted as one.
 *
 * @module
 */
import { bufferUsage, type KernelContext } from "./context.ts";

/** WebGPU's limit on each axis of a dispatch. */
const maxWorkgroups = 65535;

/** Uniform bindings start at multiples of this (WebGPU's default limit). */
const uniformAlignment = 256;

/** One member of a kernel's `Params`: four bytes, of either kind. */
export type Param = { u32: number } | { f32: number };

/** A 32-bit unsigned member of `Params`. */
export function u32(value: number): Param {
  return { u32: value };
}

/** A 32-bit float member of `Params`. */
export function f32(value: number): Param {
  return { f32: value };
}

/** Part of a buffer, from an offset that is a multiple of 256 bytes. */
export interface BufferRange {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** What a binding takes. */
export type Bindable = GPUBuffer | BufferRange;

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly workgroups: number;
  readonly params: readonly Param[];
  readonly buffers: readonly Bindable[];
}

/**
 * Collects dispatches, then encodes them in one compute pass. Every kernel has its `Params` in
 * binding 0 and its buffers after it, and numbers its workgroups linearly:
 * `workgroup_id.x + workgroup_id.y * num_workgroups.x`, which lifts WebGPU's limit of 65,535
 * workgroups per axis. Kernels ignore numbers beyond their work.
 */
export class CommandList {
  readonly #context: KernelContext;
  readonly #dispatches: Dispatch[] = [];

  /** @param context The device's context. */
  constructor(context: KernelContext) {
    this.#context = context;
  }

  /**
   * Adds a dispatch.
   *
   * @param pipeline The kernel.
   * @param workgroups How many workgroups, in all.
   * @param params The members of its `Params`, in order.
   * @param buffers Bindings 1, 2, …
   */
  dispatch(
    pipeline: GPUComputePipeline,
    workgroups: number,
    params: readonly Param[],
    buffers: readonly Bindable[],
  ): void {
    this.#dispatches.push({ pipeline, workgroups, params, buffers });
  }

  /** Encodes and submits everything. Belongs inside {@linkcode KernelContext.guard}. */
  submit(): void {
    if (this.#dispatches.length === 0) return;
    const context = this.#context;
    const { gpu } = context;
    let bytes = 0;
    const slots = this.#dispatches.map(({ params }) => {
      const offset = bytes;
      const size = Math.ceil(params.length / 4) * 16;
      bytes = Math.ceil((offset + size) / uniformAlignment) * uniformAlignment;
      return { offset, size };
    });
    const uniforms = context.createBuffer(
      "params",
      bytes,
      bufferUsage.uniform | bufferUsage.copyDestination,
    );
    try {
      const view = new DataView(new ArrayBuffer(bytes));
      this.#dispatches.forEach(({ params }, i) => {
        params.forEach((param, j) => {
          const at = slots[i]!.offset + 4 * j;
          if ("u32" in param) view.setUint32(at, param.u32, true);
          else view.setFloat32(at, param.f32, true);
        });
      });
      gpu.queue.writeBuffer(uniforms, 0, view.buffer);
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      this.#dispatches.forEach(({ pipeline, workgroups, buffers }, i) => {
        const group = gpu.createBindGroup({
          layout: pipeline.getBindGroupLayout(0),
          entries: [
            { binding: 0, resource: { buffer: uniforms, ...slots[i]! } },
            ...buffers.map((bound, j) => ({
              binding: j + 1,
              resource: "buffer" in bound ? bound : { buffer: bound },
            })),
          ],
        });
        const y = Math.ceil(workgroups / maxWorkgroups);
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(Math.ceil(workgroups / y), y);
      });
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    } finally {
      context.destroyBuffer(uniforms);
    }
  }
}
