/**
 * How the work of mask pooling is divided so that every piece fits a device's bindings.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { formatBytes, type KernelContext } from "../dispatch/context.ts";
import { usableBytes } from "../dispatch/ranges.ts";
import type { MaskPoolingSizes } from "./contract.ts";

/** Channels that are bound at once. */
export interface ChannelRange {
  /** The first one. */
  readonly channel: number;
  /** How many. */
  readonly channels: number;
}

/** Masks that are handled at once: those of several images, or some of one. */
export interface Job {
  /** The first image. */
  readonly image: number;
  /** Number of images. */
  readonly images: number;
  /** The first mask of each image; 0 where there are several. */
  readonly mask: number;
  /** Number of masks of each image; all where there are several. */
  readonly masks: number;
  /** Divides the channels; more than one range only where there is one image. */
  readonly ranges: readonly ChannelRange[];
}

/** Bytes of an element. */
export interface ElementBytes {
  /** Of the features and of the gradient by them, the larger one. */
  readonly features: number;
  /** Of the mask logits and of the gradient by them, the larger one. */
  readonly maskLogits: number;
}

/**
 * Divides a run into jobs.
 *
 * @throws {DeviceError} If a single mask or channel doesn't fit a binding.
 */
export function divideWork(
  context: KernelContext,
  sizes: MaskPoolingSizes,
  bytes: ElementBytes,
): Job[] {
  const { channels, masks } = sizes;
  const batch = sizes.batch ?? 1;
  const limit = context.bindingLimit;
  const pixels = sizes.height * sizes.width;
  const fitting = (count: number, unit: number) =>
    count * unit <= limit ? count : Math.max(0, Math.floor(usableBytes(limit) / unit));

  const perMask: [what: string, bytes: number][] = [
    ["the logits of one mask", bytes.maskLogits * sizes.maskHeight * sizes.maskWidth],
    ["the weights of one mask", 4 * pixels],
    ["the pooled features of one mask", 4 * channels],
  ];
  const perChannel: [what: string, bytes: number] = [
    "one channel of the features",
    bytes.features * pixels,
  ];
  const mask = Math.max(...perMask.map(([, size]) => size));
  const channel = perChannel[1];
  const images = fitting(batch, Math.max(masks * mask, channels * channel));
  if (images > 0) {
    return divide(batch, images).map(([image, count]) => ({
      image,
      images: count,
      mask: 0,
      masks,
      ranges: [{ channel: 0, channels }],
    }));
  }

  const masksAtOnce = fitting(masks, mask);
  const channelsAtOnce = fitting(channels, channel);
  const units = [
    ...perMask.map((unit) => [masks, ...unit] as const),
    [channels, ...perChannel] as const,
  ];
  for (const [count, what, size] of units) {
    if (fitting(count, size) > 0) continue;
    throw new DeviceError(
      `mask pooling: ${what} takes ${formatBytes(size)}, but this WebGPU device binds at most ` +
        `${formatBytes(limit)} at once, and it can't be split; use smaller maps or the CPU`,
    );
  }
  // Whole vectors of channels keep the matrix products on their fast path.
  const step = channelsAtOnce < 4 ? channelsAtOnce : Math.floor(channelsAtOnce / 4) * 4;
  const ranges = divide(channels, step).map(([first, count]) => ({
    channel: first,
    channels: count,
  }));
  return divide(batch, 1).flatMap(([image]) =>
    divide(masks, masksAtOnce).map(([first, count]) => ({
      image,
      images: 1,
      mask: first,
      masks: count,
      ranges,
    }))
  );
}

/** Divides `count` things into runs of at most `most`: where each begins, and how many it has. */
function divide(count: number, most: number): [first: number, count: number][] {
  return Array.from(
    { length: Math.ceil(count / most) },
    (_, i) => [i * most, Math.min(most, count - i * most)],
  );
}
