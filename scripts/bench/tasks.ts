/**
 * The kernels' tasks with their inputs, the same for everybody who is timed.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";

/** Hard mask pooling. */
export interface PoolingTask {
  /** Which task. */
  readonly kernel: "pooling";
  /** D×h×w. */
  readonly features: HostTensor<"float32">;
  /** N×h'×w'. */
  readonly maskLogits: HostTensor<"float32">;
  /** N×D, what gradients start from; where they are taken. */
  readonly cotangent?: HostTensor<"float32">;
}

/** GFA to its limit, with the softmax affinity; both outputs. */
export interface GfaTask {
  /** Which task. */
  readonly kernel: "gfa";
  /** N_C×D. */
  readonly clip: HostTensor<"float32">;
  /** N_Q×D. */
  readonly query: HostTensor<"float32">;
  /** N_C×D, what gradients start from; where they are taken. */
  readonly clipCotangent?: HostTensor<"float32">;
  /** N_Q×D, likewise. */
  readonly queryCotangent?: HostTensor<"float32">;
  /** In (0, 1). */
  readonly omega: number;
  /** Above 0. */
  readonly lambda: number;
}

/** Per-pixel classification: a label and a score per pixel. */
export interface ClassificationTask {
  /** Which task. */
  readonly kernel: "classification";
  /** N×h×w; the output's sizes are multiples of these. */
  readonly maskLogits: HostTensor<"float32">;
  /** N×C. */
  readonly probabilities: HostTensor<"float32">;
  /** H. */
  readonly height: number;
  /** W. */
  readonly width: number;
}

/** One of the three. */
export type KernelTask = PoolingTask | GfaTask | ClassificationTask;

/**
 * Multiplications and additions that the task asks for when done in the plain way; what a resized
 * and squashed mask element costs is counted as 100, about what was measured of the peers.
 */
export function operations(task: KernelTask): number {
  switch (task.kernel) {
    case "pooling": {
      const [channels, height, width] = task.features.shape as [number, number, number];
      return 2 * task.maskLogits.shape[0]! * channels * height * width;
    }
    case "gfa": {
      const [clips, channels] = task.clip.shape as [number, number];
      const queries = task.query.shape[0]!;
      // Z, PZ, PF_C, ZF_Q, and the solution of a system of N_Q with D right-hand sides.
      return 2 * clips * queries * (3 * channels + queries) +
        2 * queries ** 2 * (queries / 3 + channels);
    }
    case "classification": {
      const [masks, classes] = task.probabilities.shape as [number, number];
      return masks * (2 * classes + 100) * task.height * task.width;
    }
  }
}

/** Uniform noise with mean 0 and variance 1; on large tensors much quicker than normal noise. */
export function noise(rng: Rng, shape: readonly number[]): HostTensor<"float32"> {
  const tensor = float32(shape);
  const { data } = tensor;
  const range = Math.sqrt(3);
  for (let i = 0; i < data.length; i++) data[i] = rng.uniform(-range, range);
  return tensor;
}

/**
 * Mask logits as a decoder gives them: an ellipse each, of a 20th to 40 % of the image, with a wavy
 * outline and logits that saturate at about ±10.
 *
 * @returns N×h×w.
 */
export function blobs(
  rng: Rng,
  masks: number,
  height: number,
  width: number,
): HostTensor<"float32"> {
  const tensor = float32([masks, height, width]);
  for (let n = 0, at = 0; n < masks; n++) {
    const cx = rng.uniform(), cy = rng.uniform();
    const rx = rng.uniform(0.05, 0.4), ry = rng.uniform(0.05, 0.4);
    const waves = 2 + rng.integer(5), depth = rng.uniform(0, 0.3), phase = rng.uniform(0, 6.28);
    for (let i = 0; i < height; i++) {
      const y = ((i + 0.5) / height - cy) / ry;
      for (let j = 0; j < width; j++) {
        const x = ((j + 0.5) / width - cx) / rx;
        const outline = 1 + depth * Math.sin(waves * Math.atan2(y, x) + phase);
        tensor.data[at++] = 10 * Math.tanh(3 * (outline - Math.hypot(x, y))) +
          rng.uniform(-0.5, 0.5);
      }
    }
  }
  return tensor;
}

/**
 * Class probabilities as a decoder gives them: a softmax over the classes and "no object", with one
 * clear winner per mask, which for three masks in ten is "no object". That last column is left out.
 *
 * @returns N×C.
 */
export function probabilities(rng: Rng, masks: number, classes: number): HostTensor<"float32"> {
  const tensor = float32([masks, classes]);
  const logits = new Float64Array(classes + 1);
  for (let n = 0; n < masks; n++) {
    for (let c = 0; c <= classes; c++) logits[c] = rng.normal();
    const winner = rng.uniform() < 0.3 ? classes : rng.integer(classes);
    logits[winner]! += Math.log(classes) + 2;
    let sum = 0;
    for (let c = 0; c <= classes; c++) sum += logits[c] = Math.exp(logits[c]!);
    for (let c = 0; c < classes; c++) tensor.data[n * classes + c] = logits[c]! / sum;
  }
  return tensor;
}
