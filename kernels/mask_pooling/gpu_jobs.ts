/**
 * How the work of mask pooling is divided so that every piece fits a device's bindings.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { formatBytes } from "../dispatch/context.ts";
import { usableBytes } from "../dispatch/ranges.ts";
import type { MaskPoolingSizes } from "./contract.ts";

/** WebGPU's default alignment of storage bindings, in bytes. */
const alignment = 256;

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
 * @param limit The most bytes that one binding holds.
 * @param sizes Of the run.
 * @param bytes Of the tensors' elements.
 * @throws {DeviceError} If a single mask or channel doesn't fit a binding.
 */
export function divideWork(limit: number, sizes: MaskPoolingSizes, bytes: ElementBytes): Job[] {
  const { channels, masks } = sizes;
  const batch = sizes.batch ?? 1;
  const pixels = sizes.height * sizes.width;
  const perMask: [what: string, bytes: number][] = [
    ["the logits of one mask", bytes.maskLogits * sizes.maskHeight * sizes.maskWidth],
    ["the weights of one mask", 4 * pixels],
    ["the pooled features of one mask", 4 * channels],
  ];
  const perChannel: [what: string, bytes: number] = [
    "one channel of the features",
    bytes.features * pixels,
  ];
  // A binding's start is rounded down, except at the start of a tensor.
  const fitting = (count: number, unit: number, fromStart: boolean) =>
    fromStart && count * unit <= limit
      ? count
      : Math.min(count, Math.floor((unit % alignment === 0 ? limit : usableBytes(limit)) / unit));

  const perImage = [
    ...perMask.map(([, size]) => masks * size),
    channels * perChannel[1],
  ];
  const images = Math.min(...perImage.map((size) => fitting(batch, size, true)));
  if (images > 0) {
    return divide(batch, images).map(([image, count]) => ({
      image,
      images: count,
      mask: 0,
      masks,
      ranges: [{ channel: 0, channels }],
    }));
  }

  const atOnce = (count: number, [what, size]: readonly [string, number]) => {
    const some = fitting(count, size, batch === 1);
    if (some > 0) return some;
    throw new DeviceError(
      `mask pooling: ${what} takes ${formatBytes(size)}, but this WebGPU device binds at most ` +
        `${formatBytes(limit)} at once, and it can't be split; use smaller maps or the CPU`,
    );
  };
  const masksAtOnce = Math.min(...perMask.map((unit) => atOnce(masks, unit)));
  const channelsAtOnce = atOnce(channels, perChannel);
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
