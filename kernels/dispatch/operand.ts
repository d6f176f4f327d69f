/**
 * Inputs of kernels: checked, and brought to where the kernel runs.
 *
 * @module
 */
import { ShapeError } from "../../lib/errors.ts";
import { fromFloat16Array } from "../../lib/float16.ts";
import { type DType, formatShape, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { GpuTensor } from "./gpu_tensor.ts";
import type { ElementType } from "./shader.ts";

/**
 * Checks an operand's element type, number of axes and that no axis is empty.
 *
 * @param kernel The kernel, as messages name it.
 * @param name The operand, as messages name it.
 * @param tensor The operand.
 * @param axes The names of its axes.
 * @param dtypes The element types that will do.
 * @throws {ShapeError} If it does not fit.
 */
export function checkOperand(
  kernel: string,
  name: string,
  tensor: Tensor,
  axes: readonly string[],
  dtypes: readonly DType[] = ["float32"],
): void {
  if (!dtypes.includes(tensor.dtype)) {
    throw new ShapeError(`${kernel}: ${name} must be ${dtypes.join(" or ")}, got ${tensor.dtype}`);
  }
  const { shape } = tensor;
  if (shape.length !== axes.length || shape.some((size) => !(size >= 1))) {
    throw new ShapeError(
      `${kernel}: ${name} must be ${axes.join("×")} with every size at least 1, ` +
        `got ${formatShape(shape)}`,
    );
  }
}

/** A tensor on a device, and whether it was put there for the occasion. */
export interface GpuOperand extends Disposable {
  /** The elements. */
  readonly buffer: GPUBuffer;
  /** Frees the copy, if one was made. */
  dispose(): void;
}

/** The buffer of a tensor that is on the device already, or of a copy. */
export async function toGpu(
  gpu: GPUDevice,
  name: string,
  tensor: Tensor,
): Promise<GpuOperand> {
  if (tensor instanceof GpuTensor && tensor.gpu === gpu) {
    const { buffer } = tensor;
    return { buffer, dispose() {}, [Symbol.dispose]() {} };
  }
  return await GpuTensor.upload(gpu, tensor, name);
}

/** A float tensor on a device, and its element type there. */
export interface GpuElements extends GpuOperand {
  /** How the elements lie in the buffer. */
  readonly type: ElementType;
}

/** How the elements of a float tensor lie on a device: float16 only where it has half floats. */
export function elementTypeOn(gpu: GPUDevice, { dtype }: Tensor): ElementType {
  return dtype === "float16" && gpu.features.has("shader-f16") ? "f16" : "f32";
}

/** As {@linkcode toGpu}, with float16 widened where the device has no half floats. */
export async function toGpuElements(
  gpu: GPUDevice,
  name: string,
  tensor: Tensor,
): Promise<GpuElements> {
  const type = elementTypeOn(gpu, tensor);
  const source = tensor.dtype === "float16" && type === "f32"
    ? new HostTensor(
      "float32",
      tensor.shape,
      fromFloat16Array(await tensor.read() as Uint16Array) as Float32Array<ArrayBuffer>,
    )
    : tensor;
  const operand = await toGpu(gpu, name, source);
  const dispose = () => operand.dispose();
  return { buffer: operand.buffer, type, dispose, [Symbol.dispose]: dispose };
}

/** The tensor itself if it is on the host, else a copy there. */
export async function toHost(tensor: Tensor): Promise<HostTensor> {
  return tensor instanceof HostTensor
    ? tensor
    : new HostTensor(tensor.dtype, tensor.shape, await tensor.read());
}
