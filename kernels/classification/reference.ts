/**
 * Per-pixel classification in float64: slow, and short enough to be seen right. It judges the
 * kernels.
 *
 * @module
 */
import { fromFloat16 } from "../../lib/float16.ts";
import { HostTensor, type Tensor } from "../../lib/tensor.ts";
import {
  checkClassification,
  checkClassificationOptions,
  type ClassificationInput,
  type ClassificationOptions,
  emptyScore,
} from "./contract.ts";

/** Result of the reference. */
export interface ClassificationReference {
  /** H×W classes, or −1 for void. */
  readonly labels: HostTensor<"int32">;
  /** H×W scores of the winner, 0 where void. */
  readonly scores: HostTensor<"float64">;
  /** C×H×W scores of every class. */
  readonly all: HostTensor<"float64">;
}

/**
 * Per-pixel classification as its definition reads: the score of class c at pixel p is
 * Σ_n probabilities[n, c] · sigmoid(m_n(p)), where m_n is the n-th mask's logits resized bilinearly
 * (align_corners = false). The highest score wins, ties go to the lower class.
 *
 * @param input Mask logits N×h×w and probabilities N×C, of any float type.
 * @param options Threshold.
 * @throws {ShapeError} If the shapes don't fit.
 */
export async function classificationReference(
  input: ClassificationInput,
  options: ClassificationOptions = {},
): Promise<ClassificationReference> {
  checkClassificationOptions(options);
  const sizes = checkClassification(input, ["float16", "float32", "float64"]);
  const { masks, classes, maskHeight, maskWidth, height, width } = sizes;
  const m = await numbers(input.maskLogits);
  const p = await numbers(input.probabilities);
  const pixels = height * width;
  const all = new Float64Array(classes * pixels);
  const labels = new Int32Array(pixels);
  const scores = new Float64Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const [y0, y1, fy] = neighbours(Math.floor(pixel / width), maskHeight, height);
    const [x0, x1, fx] = neighbours(pixel % width, maskWidth, width);
    for (let n = 0; n < masks; n++) {
      const at = (y: number, x: number) => m[(n * maskHeight + y) * maskWidth + x]!;
      const top = (1 - fx) * at(y0, x0) + fx * at(y0, x1);
      const bottom = (1 - fx) * at(y1, x0) + fx * at(y1, x1);
      const inside = 1 / (1 + Math.exp(-((1 - fy) * top + fy * bottom)));
      for (let c = 0; c < classes; c++) all[c * pixels + pixel]! += p[n * classes + c]! * inside;
    }
    let winner = 0;
    for (let c = 1; c < classes; c++) {
      if (all[c * pixels + pixel]! > all[winner * pixels + pixel]!) winner = c;
    }
    const score = all[winner * pixels + pixel]!;
    const known = score > emptyScore && score >= (options.threshold ?? 0);
    labels[pixel] = known ? winner : -1;
    scores[pixel] = known ? score : 0;
  }
  return {
    labels: new HostTensor("int32", [height, width], labels),
    scores: new HostTensor("float64", [height, width], scores),
    all: new HostTensor("float64", [classes, height, width], all),
  };
}

/** The samples on both sides of output pixel `i`, and how far it is from the first. */
function neighbours(i: number, inputs: number, outputs: number): [number, number, number] {
  const position = Math.max(0, (i + 0.5) * inputs / outputs - 0.5);
  const low = Math.min(Math.floor(position), inputs - 1);
  return [low, Math.min(low + 1, inputs - 1), position - low];
}

async function numbers(tensor: Tensor): Promise<Float64Array> {
  const data = await tensor.read();
  return data instanceof Uint16Array
    ? Float64Array.from(data, fromFloat16)
    : Float64Array.from(data as Float32Array | Float64Array);
}
