/**
 * Many segmentations in one process, and what they leave behind. As a program:
 * `deno run -A --v8-flags=--expose-gc test/endurance/segment_often.ts [--device cpu|webgpu]
 * [--networks cpu|webgpu] [--runs N]`; it ends with the line `levelled off` or `grows`.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { readAll } from "../../kernels/dispatch/read_all.ts";
import { Rng } from "../../lib/rng.ts";
import type { Device } from "../../lib/runtime.ts";
import type { ImageSlot } from "../../lib/stages/slots.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { countDevice } from "../../lib/testing/counting_device.ts";
import { openOvsnet, type Ovsnet } from "../../plugins/methods/ovsnet.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { writeTinyModels } from "../plugins/commands/tiny_models.ts";

/** What is there after a number of segmentations. */
export interface Sample {
  /** Segmentations so far. */
  readonly runs: number;
  /** Resident memory of the process, in bytes. */
  readonly resident: number;
  /** GPU buffers that live, ONNX Runtime's own included. */
  readonly buffers: number;
  /** Sessions that live. */
  readonly sessions: number;
}

const names = ["dog", "guitar", "slice of pizza", "猫"];

/** A picture of noise; its size varies a little with its number. */
export function picture(seed: number): ImageSlot {
  const rng = new Rng(seed);
  const [width, height] = [64 + 8 * (seed % 4), 48 + 8 * (seed % 3)];
  const rgb = Uint8Array.from({ length: 3 * width * height }, () => rng.integer(256));
  return { width, height, rgb };
}

/** Labels and scores of a picture. */
export async function segment(
  ovsnet: Ovsnet,
  image: ImageSlot,
): Promise<{ labels: Int32Array; scores: Float32Array }> {
  // The text comes from the memory of names most of the time, as it does in a service.
  using result = await ovsnet.run({ image, vocabulary: vocabulary(names) });
  const { labels, scores } = result.outputs.segmentation;
  const [classes, shares] = await readAll([labels, scores]);
  return { labels: classes, scores: shares };
}

/** Opens OVSNet with tiny networks on a device whose buffers and sessions are counted. */
export async function withOvsnet<R>(
  device: Device,
  body: (ovsnet: Ovsnet, sample: (runs: number) => Sample) => Promise<R>,
): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), "ovstage-often-"));
  const counting = countDevice(device);
  try {
    writeTinyModels(folder);
    const models = pathToFileURL(folder);
    await using ovsnet = await openOvsnet({ device: counting.device, models, inputSize: 64 });
    return await body(ovsnet, (runs) => ({
      runs,
      resident: Deno.memoryUsage().rss,
      buffers: counting.buffers(),
      sessions: counting.sessions(),
    }));
  } finally {
    counting.restore();
    rmSync(folder, { recursive: true });
  }
}

/** How a series of numbers goes on in its last half. */
export interface Trend {
  /** Growth over the half, by the median slope of all pairs: a single step is no growth. */
  readonly growth: number;
  /** Median distance from that line. */
  readonly noise: number;
  /** Their median. */
  readonly level: number;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Fits a line through the last half of a series of three numbers or more (Theil and Sen). */
export function trendOf(series: readonly number[]): Trend {
  const half = series.slice(Math.floor(series.length / 2));
  const slope = median(
    half.flatMap((value, i) => half.slice(0, i).map((other, j) => (value - other) / (i - j))),
  );
  const offset = median(half.map((value, i) => value - slope * i));
  return {
    growth: slope * (half.length - 1),
    noise: median(half.map((value, i) => Math.abs(value - offset - slope * i))),
    level: median(half),
  };
}

/** Whether growth is within what noise explains, or below three hundredths. */
export function levelsOff({ growth, noise, level }: Trend): boolean {
  return growth <= Math.max(2 * noise, 0.03 * level);
}

const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      device: { type: "string", default: "cpu" },
      networks: { type: "string", default: "cpu" },
      runs: { type: "string", default: "1000" },
    },
  });
  const runs = Number(values.runs);
  const device = values.device === "webgpu"
    ? await acquireDevice("webgpu", { networks: values.networks === "webgpu" ? "webgpu" : "cpu" })
    : await acquireDevice("cpu");
  console.log(`${runs} segmentations on ${device.description}`);
  const samples: Sample[] = [];
  const begin = performance.now();
  await withOvsnet(device, async (ovsnet, sample) => {
    for (let run = 1; run <= runs; run++) {
      await segment(ovsnet, picture(run));
      if (run % Math.max(1, Math.round(runs / 100)) !== 0) continue;
      // Garbage would blur the figures.
      (globalThis as { gc?: () => void }).gc?.();
      samples.push(sample(run));
      if (samples.length % 10 > 0) continue;
      const { resident, buffers, sessions } = samples.at(-1)!;
      const seconds = ((performance.now() - begin) / 1000).toFixed(0);
      console.log(
        `${run} runs, ${seconds} s: ${megabytes(resident)} MiB, ${buffers} buffers, ` +
          `${sessions} sessions`,
      );
    }
  });
  await device.dispose();
  const memory = trendOf(samples.map(({ resident }) => resident));
  const buffers = samples.slice(Math.floor(samples.length / 2)).map((sample) => sample.buffers);
  const [least, most] = [Math.min(...buffers), Math.max(...buffers)];
  const level = levelsOff(memory) && most <= buffers[0]!;
  console.log(
    `last half: ${megabytes(memory.level)} MiB, grown by ${
      megabytes(memory.growth)
    } with a noise ` +
      `of ${megabytes(memory.noise)}; ${least} to ${most} buffers`,
  );
  console.log(level ? "levelled off" : "grows");
  return level;
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
