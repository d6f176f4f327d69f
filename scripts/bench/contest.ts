/**
 * What is timed: one task, by this project and by others.
 *
 * @module
 */
import type { Device } from "../../lib/runtime.ts";
import type { Rng } from "../../lib/rng.ts";
import type { HostTensor, Tensor } from "../../lib/tensor.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import type { Side } from "./harness.ts";
import type { KernelTask } from "./tasks.ts";

/** A task and who does it. */
export interface Contest {
  /** The kernel, as the rows call it. */
  readonly kernel: string;
  /** The sizes, as the rows print them. */
  readonly shape: string;
  /** Where it is run. */
  readonly devices: readonly Device["kind"][];
  /** Whether it belongs to a quick run. */
  readonly quick: boolean;
  /** Makes the inputs. */
  task(rng: Rng): KernelTask;
  /**
   * Makes a smaller task of the same kind, from whose pace it can be told whether a peer would take
   * too long. Nothing that runs in this process can be stopped.
   */
  readonly probe?: (rng: Rng) => KernelTask;
  /** This project's side. */
  ours(device: Device, task: KernelTask): Promise<Side>;
  /**
   * Something of this project to compare with, in place of the other libraries: the row's peer is
   * then called by this name.
   */
  readonly self?: {
    readonly name: string;
    open(device: Device, task: KernelTask): Promise<Side>;
  };
}

/** Both kinds of device. */
export const everywhere: readonly Device["kind"][] = ["cpu", "webgpu"];

/** What a run of this project's kernels gives. */
interface Output {
  dispose(): void;
}

/**
 * A side that runs a kernel on inputs which lie on the device.
 *
 * @param device Where.
 * @param inputs Tensors by name; they are put on the device.
 * @param run Runs the kernel on them.
 * @param read Reads what is compared; nothing is where it is left out.
 * @param close Frees the kernel.
 */
export async function kernelSide<Inputs extends Record<string, HostTensor>, Result extends Output>(
  device: Device,
  inputs: Inputs,
  run: (placed: { [Name in keyof Inputs]: Tensor }) => Promise<Result>,
  close: () => Promise<void>,
  read?: (result: Result) => Promise<ArrayLike<number>>,
): Promise<Side> {
  const { gpu } = device;
  const entries: [string, Tensor][] = [];
  for (const [name, tensor] of Object.entries(inputs)) {
    entries.push([name, gpu ? await GpuTensor.upload(gpu, tensor, name) : tensor]);
  }
  const placed = Object.fromEntries(entries) as { [Name in keyof Inputs]: Tensor };
  return {
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) {
        const result = await run(placed);
        await gpu?.queue.onSubmittedWorkDone();
        result.dispose();
      }
      return performance.now() - begin;
    },
    ...(read === undefined ? {} : {
      async result() {
        const result = await run(placed);
        const data = await read(result);
        result.dispose();
        return data;
      },
    }),
    async dispose() {
      for (const [, tensor] of entries) tensor.dispose();
      await close();
    },
  };
}

/** Arrays one after the other. */
export function joined(parts: readonly ArrayLike<number>[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
