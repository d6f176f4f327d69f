/**
 * Several tensors read at once.
 *
 * @module
 */
import type { DType, Tensor, TypedArrayOf } from "../../lib/tensor.ts";
import { GpuTensor } from "./gpu_tensor.ts";

/** The elements of every tensor of a list. */
export type ElementsOf<T extends readonly Tensor[]> = {
  [K in keyof T]: T[K] extends Tensor<infer D extends DType> ? TypedArrayOf[D] : never;
};

/**
 * The elements of several tensors in host memory. Those on one WebGPU device come by one read-back,
 * where `read()` of each would take one each.
 *
 * @param tensors Tensors in host memory or on a device.
 * @returns The elements of each, in the order of the tensors.
 * @throws {DeviceError} If a tensor has been disposed of.
 * @throws {DeviceLostError} If the device has gone away.
 *
 * @example
 * ```ts
 * import { float32, HostTensor, readAll } from "@ovstage/ovstage";
 * const labels = new HostTensor("int32", [2], Int32Array.of(3, 4));
 * const scores = float32([2], Float32Array.of(0.5, 0.25));
 * const [classes, shares] = await readAll([labels, scores]);
 * console.log(classes[0], shares[0]); // 3 0.5
 * ```
 */
export async function readAll<const T extends readonly Tensor[]>(
  tensors: T,
): Promise<ElementsOf<T>> {
  const byDevice = new Map<GPUDevice, GpuTensor[]>();
  for (const tensor of tensors) {
    if (!(tensor instanceof GpuTensor)) continue;
    const others = byDevice.get(tensor.gpu);
    if (others === undefined) byDevice.set(tensor.gpu, [tensor]);
    else if (!others.includes(tensor)) others.push(tensor);
  }
  const found = new Map<Tensor, TypedArrayOf[DType]>();
  await Promise.all([...byDevice.values()].map(async (together) => {
    const elements = await GpuTensor.readTogether(together);
    together.forEach((tensor, i) => found.set(tensor, elements[i]!));
  }));
  const all = tensors.map((tensor) => found.get(tensor) ?? tensor.read());
  return await Promise.all(all) as unknown as ElementsOf<T>;
}
