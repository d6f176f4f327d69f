/**
 * The rows of GFA.
 *
 * @module
 */
import { Gfa, type GfaOptions } from "../../kernels/gfa/gfa.ts";
import type { Device } from "../../lib/runtime.ts";
import { type Contest, everywhere, joined, kernelSide } from "./contest.ts";
import { type GfaTask, type KernelTask, noise } from "./tasks.ts";

function forward(device: Device, task: KernelTask, extra: Partial<GfaOptions> = {}) {
  const { clip, query, omega, lambda } = task as GfaTask;
  const kernel = new Gfa(device, { omega, lambda, ...extra });
  return kernelSide(
    device,
    { clip, query },
    (placed) => kernel.run(placed),
    () => kernel.dispose(),
    async (fused) => joined([await fused.clip.read(), await fused.query.read()]),
  );
}

function gradient(device: Device, task: KernelTask) {
  const { clip, query, clipCotangent, queryCotangent, omega, lambda } = task as Required<GfaTask>;
  const kernel = new Gfa(device, { omega, lambda });
  return kernelSide(
    device,
    { clip, query, clipCotangent, queryCotangent },
    (placed) =>
      kernel.gradients(placed, { clip: placed.clipCotangent, query: placed.queryCotangent }),
    () => kernel.dispose(),
  );
}

interface Sizes {
  readonly clips: number;
  readonly queries: number;
  readonly channels: number;
}

function sizes(
  { clips, queries, channels }: Sizes,
  withCotangents = false,
): Pick<Contest, "shape" | "task"> {
  return {
    shape: clips === queries
      ? `N ${clips}, D ${channels}`
      : `N_C ${clips}, N_Q ${queries}, D ${channels}`,
    task: (rng) => ({
      kernel: "gfa",
      clip: noise(rng, [clips, channels]),
      query: noise(rng, [queries, channels]),
      ...(withCotangents
        ? {
          clipCotangent: noise(rng, [clips, channels]),
          queryCotangent: noise(rng, [queries, channels]),
        }
        : {}),
      omega: 0.5,
      lambda: 10,
    }),
  };
}

const square = (size: number, channels: number): Sizes => ({
  clips: size,
  queries: size,
  channels,
});
const perPixel = (clips: number): Sizes => ({ clips, queries: 250, channels: 640 });

/** All rows of GFA. The four sizes per pixel on the CPU show that time is proportional to N_C. */
export const gfaContests: readonly Contest[] = [
  ...[square(100, 640), square(100, 768), square(250, 640), square(250, 768), square(1000, 640)]
    .map((each, i): Contest => ({
      kernel: "gfa",
      ...sizes(each),
      devices: everywhere,
      quick: i === 0,
      ours: (device, task) => forward(device, task),
    })),
  ...[12_800, 25_600, 51_200, 102_400].map((clips): Contest => ({
    kernel: "gfa per pixel",
    ...sizes(perPixel(clips)),
    probe: sizes(perPixel(1600)).task,
    devices: clips === 25_600 || clips === 102_400 ? everywhere : ["cpu"],
    quick: false,
    ours: (device, task) => forward(device, task),
  })),
  ...[square(100, 640), square(250, 640), perPixel(12_800)].map((each, i): Contest => ({
    kernel: "gfa gradient",
    ...sizes(each, true),
    devices: everywhere,
    quick: i === 0,
    ours: gradient,
    self: { name: "own forward", open: forward },
  })),
  {
    kernel: "gfa, checkFinite",
    ...sizes(square(250, 640)),
    devices: everywhere,
    quick: true,
    ours: (device, task) => forward(device, task, { checkFinite: true }),
    self: { name: "checkFinite off", open: forward },
  },
];
