/**
 * Kernels and matrix products in sequence, written down first, then compiled and submitted.
 *
 * @module
 */
import type { BufferLease } from "./buffer_pool.ts";
import { type Bindable, CommandList, type Param } from "./command_list.ts";
import type { KernelContext } from "./context.ts";
import { Gemm, type GemmSpec } from "./gemm.ts";
import type { ShaderOptions } from "./shader.ts";

/** Scratch memory of a program; its buffer exists from the first submission that uses it. */
export class Slot {
  /** What lies there, as messages name it. */
  readonly label: string;
  /** Its size in float32 elements. */
  readonly elements: number;

  /** Made by {@linkcode Program.scratch}. */
  constructor(label: string, elements: number) {
    this.label = label;
    this.elements = elements;
  }
}

/** Where an operand lies. */
export type Place = Slot | Bindable;

/** A kernel's code and the variant that is wanted. */
export interface KernelSource {
  /** Its name. */
  readonly label: string;
  /** Its WGSL. */
  readonly code: string;
  /** Element types and helpers. */
  readonly options?: ShaderOptions;
}

interface Step {
  compile(context: KernelContext): Promise<void>;
  /** Elements of memory for partial sums. */
  partials(): number;
  encode(list: CommandList, find: (place: Place) => Bindable, partials: GPUBuffer): void;
}

/**
 * A sequence of kernels. Recording allocates nothing; {@linkcode Program.submit} compiles what is
 * not compiled yet, takes the scratch memory from a lease and submits everything as one. After that
 * more can be recorded, and finds the scratch memory as it was left.
 */
export class Program {
  readonly #context: KernelContext;
  readonly #lease: BufferLease;
  readonly #name: string;
  readonly #buffers = new Map<Slot, GPUBuffer>();
  #steps: Step[] = [];

  /**
   * @param context The device's context.
   * @param lease Where scratch memory comes from; whoever made it releases it.
   * @param name The work, as messages name it.
   */
  constructor(context: KernelContext, lease: BufferLease, name: string) {
    this.#context = context;
    this.#lease = lease;
    this.#name = name;
  }

  /**
   * Plans scratch memory of float32 elements.
   *
   * @throws {DeviceError} If a binding can't hold it.
   */
  scratch(label: string, elements: number): Slot {
    this.#context.checkBinding(`${this.#name}: ${label}`, 4 * elements);
    return new Slot(label, elements);
  }

  /** Records a kernel; see {@linkcode CommandList.dispatch}. */
  kernel(
    source: KernelSource,
    workgroups: number,
    params: readonly Param[],
    places: readonly Place[],
  ): void {
    let pipeline: GPUComputePipeline | null = null;
    this.#steps.push({
      async compile(context) {
        pipeline = await context.pipeline(source.label, source.code, source.options);
      },
      partials: () => 0,
      encode: (list, find) => list.dispatch(pipeline!, workgroups, params, places.map(find)),
    });
  }

  /** Records C ← α·A·B + β·E, where E is C unless the product says otherwise; see {@linkcode Gemm}. */
  gemm(
    spec: GemmSpec,
    a: Place,
    b: Place,
    c: Place,
    { e, ...factors }: { alpha?: number; beta?: number; e?: Place } = {},
  ): void {
    let gemm: Gemm | null = null;
    this.#steps.push({
      async compile(context) {
        gemm = await Gemm.prepare(context, spec);
      },
      partials: () => gemm!.partialElements,
      encode: (list, find, partials) =>
        gemm!.encode(list, find(a), find(b), find(c), {
          ...factors,
          ...(e === undefined ? {} : { e: find(e) }),
          partials,
        }),
    });
  }

  /**
   * Submits what has been recorded.
   *
   * @throws {DeviceError} If the device runs out of memory or rejects the work.
   * @throws {DeviceLostError} If the device has gone away.
   */
  async submit(): Promise<void> {
    const steps = this.#steps;
    this.#steps = [];
    await Promise.all(steps.map((step) => step.compile(this.#context)));
    const needed = Math.max(...steps.map((step) => step.partials()));
    this.#context.checkBinding(`${this.#name}: partial sums`, 4 * needed);
    await this.#context.guard(this.#name, () => {
      const list = new CommandList(this.#context);
      const partials = this.#lease.take("partial sums", 4 * needed);
      for (const step of steps) step.encode(list, (place) => this.#find(place), partials);
      list.submit();
    });
  }

  /** The buffer of scratch memory that has been submitted. */
  buffer(slot: Slot): GPUBuffer {
    return this.#find(slot) as GPUBuffer;
  }

  #find(place: Place): Bindable {
    if (!(place instanceof Slot)) return place;
    let buffer = this.#buffers.get(place);
    if (buffer === undefined) {
      buffer = this.#lease.take(place.label, 4 * place.elements);
      this.#buffers.set(place, buffer);
    }
    return buffer;
  }
}
