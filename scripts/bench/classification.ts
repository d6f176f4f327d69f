/**
 * The rows of per-pixel classification.
 *
 * @module
 */
import { PixelClassification } from "../../kernels/classification/classification.ts";
import type { Device } from "../../lib/runtime.ts";
import { type Contest, everywhere, kernelSide } from "./contest.ts";
import { blobs, type ClassificationTask, type KernelTask, probabilities } from "./tasks.ts";

function forward(device: Device, task: KernelTask, checkFinite = false) {
  const { maskLogits, probabilities, height, width } = task as ClassificationTask;
  const kernel = new PixelClassification(device, { checkFinite });
  return kernelSide(
    device,
    { maskLogits, probabilities },
    (placed) => kernel.run({ ...placed, height, width }),
    () => kernel.dispose(),
    ({ labels }) => labels.read(),
  );
}

function sizes(classes: number, size: number): Pick<Contest, "shape" | "task"> {
  return {
    shape: `C ${classes}, ${size}×${size}`,
    task: (rng) => ({
      kernel: "classification",
      maskLogits: blobs(rng, 100, size / 4, size / 4),
      probabilities: probabilities(rng, 100, classes),
      height: size,
      width: size,
    }),
  };
}

/** All rows of classification: N 100, mask logits at a quarter of the output's size. */
export const classificationContests: readonly Contest[] = [
  ...[640, 1024].flatMap((size) =>
    [20, 150, 847, 20_000].map((classes): Contest => ({
      kernel: "classification",
      ...sizes(classes, size),
      ...(classes > 150 ? { probe: sizes(150, size).task } : {}),
      devices: everywhere,
      quick: size === 640 && classes === 20,
      ours: (device, task) => forward(device, task),
    }))
  ),
  {
    kernel: "classification, checkFinite",
    ...sizes(150, 640),
    devices: everywhere,
    quick: false,
    ours: (device, task) => forward(device, task, true),
    self: { name: "checkFinite off", open: forward },
  },
];
