/**
 * Per-pixel classification: from masks and their classes to a label per pixel.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import {
  checkClassificationOptions,
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  type PixelLabels,
} from "./contract.ts";
import { CpuClassification } from "./cpu.ts";
import { GpuClassification } from "./gpu.ts";

export {
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  PixelLabels,
} from "./contract.ts";

/**
 * Per-pixel classification on a device, for repeated use: Mask2Former's semantic inference (Cheng et
 * al., "Masked-attention Mask Transformer", 2022, after MaskFormer's section 3.4) at any output size,
 *
 *     labels[p] = argmax_c Σ_n probabilities[n, c] · sigmoid(m_n(p))
 *
 * where m_n is the n-th mask's logits resized bilinearly to H×W (align_corners = false). Void takes
 * part in the softmax that made the probabilities and has been left out of them. Ties go to the lower
 * class, on every engine. The score is the winner's sum; a pixel whose score is below the threshold,
 * or at most 2⁻¹⁰⁰, is void.
 *
 * Neither C×H×W nor, on WebGPU, N×H×W is ever stored: beside inputs and outputs, memory does not
 * grow with C but for a copy of the probabilities, of 64 MiB at most. Over a tile of pixels every
 * sigmoid lies between bounds, which prove that most classes can't win there; only the rest are
 * scored, pixel by pixel, in float32. The margin covers rounding, so that leaving classes out
 * changes no label and no score. Inputs that a binding can't hold are taken in parts: masks by
 * strips of the image, probabilities by ranges of classes.
 *
 * On the CPU there are two methods. With up to 256 classes, where N·H·W and C·H·W are at most 2²⁶ and
 * N·H·W at least 2²⁰, the ONNX graph of {@linkcode classificationGraph} scores all classes: its matrix
 * products use every core's vector unit (N 100, 640×640, masks of 160×160, two cores: 0.2 s for 20
 * classes and 0.36 s for 150, against 1.2 and 1.4 s). Otherwise the float64 method that leaves classes
 * out is ahead (C 847: 1.5 s against 6 s), at next to no memory.
 *
 * @example
 * ```ts ignore
 * const classification = new PixelClassification(device, { threshold: 0.1 });
 * using result = await classification.run({ maskLogits, probabilities, height: 480, width: 640 });
 * const labels = await result.labels.read(); // H×W, −1 for void
 * await classification.dispose();
 * ```
 */
export class PixelClassification {
  readonly #device: Device;
  readonly #kernel: GpuClassification | CpuClassification;
  readonly #nonFinite: (message: string) => Error;

  /**
   * Makes a kernel for repeated use on one device.
   *
   * @param device Its WebGPU device runs the WGSL kernels; without one the CPU does.
   * @param options Threshold.
   * @throws {OptionError} If the threshold is no number from 0 on.
   */
  constructor(device: Device, options: ClassificationOptions = {}) {
    checkClassificationOptions(options);
    this.#device = device;
    this.#nonFinite = options.nonFinite ?? ((message) => new InputError(message));
    this.#kernel = device.gpu
      ? new GpuClassification(device.gpu, options)
      : new CpuClassification(device.engine, options);
  }

  /**
   * Labels every pixel.
   *
   * @param input Mask logits N×h×w and probabilities N×C, float32 or float16 (widened
   *   on the host where a WebGPU device lacks `shader-f16`), on the host or the device; and the
   *   output size.
   * @param run Abort signal and progress; looked at between slices of the work.
   * @returns `labels` H×W and `scores` H×W, where they were computed; the caller disposes of them.
   * @throws {ShapeError} If an input's type, rank or sizes don't fit.
   * @throws {InputError} With `checkFinite`, if an input holds NaN or infinity. Without, whatever
   *   depends on them is arbitrary.
   * @throws {DeviceError} If the device's memory doesn't hold the work; the message has the figures.
   * @throws {DeviceLostError} If the WebGPU device has gone away.
   * @throws The signal's reason, if it aborts.
   */
  async run(input: ClassificationInput, run: ClassificationRun = {}): Promise<PixelLabels> {
    this.#device.assertAlive();
    try {
      return await this.#kernel.run(input, run);
    } catch (error) {
      throw error instanceof InputError ? this.#nonFinite(error.message) : error;
    }
  }

  /** Frees the session, if there is one; results stay valid. */
  async dispose(): Promise<void> {
    if (this.#kernel instanceof CpuClassification) await this.#kernel.dispose();
  }
}
