/**
 * The rows of mask pooling.
 *
 * @module
 */
import { MaskPooling, type MaskPoolingOptions } from "../../kernels/mask_pooling/mask_pooling.ts";
import type { Device } from "../../lib/runtime.ts";
import { type Contest, everywhere, kernelSide } from "./contest.ts";
import { blobs, type KernelTask, noise, type PoolingTask } from "./tasks.ts";

function forward(device: Device, task: KernelTask, options: MaskPoolingOptions) {
  const kernel = new MaskPooling(device, options);
  const { features, maskLogits } = task as PoolingTask;
  return kernelSide(
    device,
    { features, maskLogits },
    (placed) => kernel.run(placed),
    () => kernel.dispose(),
    ({ pooled }) => pooled.read(),
  );
}

function gradient(device: Device, task: KernelTask, options: MaskPoolingOptions) {
  const kernel = new MaskPooling(device, options);
  const { features, maskLogits, cotangent } = task as Required<PoolingTask>;
  return kernelSide(
    device,
    { features, maskLogits, pooled: cotangent },
    ({ pooled, ...input }) => kernel.gradients(input, { pooled }),
    () => kernel.dispose(),
  );
}

interface Sizes {
  readonly masks: number;
  readonly channels: number;
  readonly size: number;
  /** Of the mask logits; the features' where left out. */
  readonly maskSize?: number;
}

function sizes(
  { masks, channels, size, maskSize = size }: Sizes,
  withCotangent = false,
): Pick<Contest, "shape" | "task"> {
  const from = maskSize === size ? "" : `, logits ${maskSize}×${maskSize}`;
  return {
    shape: `N ${masks}, D ${channels}, ${size}×${size}${from}`,
    task: (rng) => ({
      kernel: "pooling",
      features: noise(rng, [channels, size, size]),
      maskLogits: blobs(rng, masks, maskSize, maskSize),
      ...(withCotangent ? { cotangent: noise(rng, [masks, channels]) } : {}),
    }),
  };
}

const plain: readonly Sizes[] = [
  { masks: 100, channels: 640, size: 80 },
  { masks: 100, channels: 640, size: 80, maskSize: 160 },
  { masks: 100, channels: 768, size: 80 },
  { masks: 250, channels: 640, size: 80 },
  { masks: 250, channels: 768, size: 80 },
  { masks: 100, channels: 640, size: 160 },
  { masks: 100, channels: 768, size: 160 },
  { masks: 250, channels: 640, size: 160 },
  { masks: 250, channels: 768, size: 160 },
];
const common: Sizes = { masks: 100, channels: 640, size: 80 };

/** All rows of mask pooling. */
export const poolingContests: readonly Contest[] = [
  ...plain.map((each, i): Contest => ({
    kernel: "pooling",
    ...sizes(each),
    devices: everywhere,
    quick: i === 0,
    ours: (device, task) => forward(device, task, { mode: "hard" }),
  })),
  ...(["hard", "soft"] as const).map((mode): Contest => ({
    kernel: `pooling gradient, ${mode}`,
    ...sizes(common, true),
    devices: everywhere,
    quick: mode === "soft",
    ours: (device, task) => gradient(device, task, { mode }),
    self: {
      name: "own forward",
      open: (device, task) => forward(device, task, { mode }),
    },
  })),
  {
    kernel: "pooling, checkFinite",
    ...sizes(common),
    devices: everywhere,
    quick: true,
    ours: (device, task) => forward(device, task, { mode: "hard", checkFinite: true }),
    self: {
      name: "checkFinite off",
      open: (device, task) => forward(device, task, { mode: "hard" }),
    },
  },
];
