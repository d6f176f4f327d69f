/**
 * How GFA's work is divided so that every piece fits a device's bindings.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { formatBytes, type KernelContext } from "../dispatch/context.ts";
import { usableBytes } from "../dispatch/ranges.ts";
import type { GfaSizes } from "./contract.ts";

/** Rows of F_C that are bound at once. */
export interface Part {
  /** The first row, of one image. */
  readonly first: number;
  /** How many. */
  readonly rows: number;
}

/** Images that are fused together: several whole ones, or one in parts. */
export interface Job {
  /** The first image. */
  readonly image: number;
  /** Number of images. */
  readonly images: number;
  /** N_C */
  readonly clips: number;
  /** N_Q */
  readonly queries: number;
  /** D */
  readonly channels: number;
  /** N_Q rounded up to a multiple of 4, which matrix products are fastest at; the rest is zeros. */
  readonly padded: number;
  /** Rows of F_C. More than one part only where there is one image. */
  readonly parts: readonly Part[];
}

/** Rows of a part are a multiple of this, so that parts begin where bindings may. */
const rowUnit = 64;

/**
 * Divides a run into jobs.
 *
 * @throws {DeviceError} If the system of the queries doesn't fit a binding.
 */
export function divideWork(context: KernelContext, sizes: GfaSizes): Job[] {
  const { clips, queries, channels } = sizes;
  const limit = usableBytes(context.bindingLimit);
  const padded = Math.ceil(queries / 4) * 4;
  const bytesPerRow = 4 * Math.max(channels, padded);
  const rows = Math.floor(limit / bytesPerRow / rowUnit) * rowUnit;
  const system = padded * bytesPerRow;
  if (system > limit || rows === 0) {
    const [what, bytes] = system > limit
      ? [`the system of ${queries} queries and ${channels} channels`, system]
      : [`${rowUnit} rows of ${channels} channels and ${queries} queries`, bytesPerRow * rowUnit];
    throw new DeviceError(
      `gfa: ${what} takes ${formatBytes(bytes)}, but this WebGPU device binds at most ` +
        `${formatBytes(context.bindingLimit)} at once, and it can't be split; use the CPU`,
    );
  }
  const common = { clips, queries, channels, padded };
  const images = sizes.batch ?? 1;
  const together = Math.min(Math.floor(limit / (bytesPerRow * clips)), Math.floor(limit / system));
  const jobs: Job[] = [];
  if (together === 0 || clips * bytesPerRow > limit) {
    const parts: Part[] = [];
    for (let first = 0; first < clips; first += rows) {
      parts.push({ first, rows: Math.min(rows, clips - first) });
    }
    for (let image = 0; image < images; image++) jobs.push({ ...common, image, images: 1, parts });
    return jobs;
  }
  for (let image = 0; image < images; image += together) {
    const some = Math.min(together, images - image);
    jobs.push({ ...common, image, images: some, parts: [{ first: 0, rows: clips }] });
  }
  return jobs;
}
