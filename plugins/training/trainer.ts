/**
 * The training loop: a step graph, AdamW over one flat vector, checkpoints that a run resumes from.
 *
 * @module
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../lib/errors.ts";
import { AdamW, clipByGlobalNorm } from "../../lib/optim/adamw.ts";
import type { Schedule } from "../../lib/optim/schedules.ts";

/** What one step of training works with. */
export interface StepResult {
  /** The gradient of the loss, in the order of the parameters. */
  grads: Float32Array;
  /** Figures for the log; `loss` among them. */
  metrics: Readonly<Record<string, number>>;
}

/** A run of training. */
export interface TrainOptions {
  /** Folder of the checkpoint and the log. */
  dir: string;
  /** Shown with the progress. */
  name: string;
  /** The parameters; updated in place. */
  params: Float32Array;
  /** 1 where weight decay applies. */
  decayMask: Uint8Array;
  /** Number of steps in all. */
  steps: number;
  /** The learning rate of each step. */
  schedule: Schedule;
  /** Decoupled weight decay. */
  weightDecay: number;
  /** Gradients are clipped to this global norm. */
  clipNorm: number;
  /** Steps between checkpoints. */
  checkpointEvery: number;
  /** Computes one step's gradient; the step's number seeds its batch. */
  step(step: number): Promise<StepResult>;
  /** Stops at a checkpoint after this many steps; the next call goes on from there. */
  stopAfter?: number;
}

/**
 * Trains, or goes on with the run whose checkpoint lies in `dir`: batches depend on the step's
 * number alone, so a resumed run does what an undisturbed one would have done.
 *
 * @throws {ModelError} If the loss is not a finite number, or the checkpoint is another network's.
 */
export async function train(options: TrainOptions): Promise<void> {
  const { dir, params, steps } = options;
  const path = join(dir, "checkpoint.bin");
  mkdirSync(dir, { recursive: true });
  const optimizer = new AdamW({
    size: params.length,
    betas: [0.9, 0.98],
    weightDecay: options.weightDecay,
    decayMask: options.decayMask,
  });
  let done = existsSync(path) ? readCheckpoint(path, params, optimizer) : 0;
  if (done > 0) console.log(`${options.name}: going on at step ${done} of ${steps}`);

  const sums = new Map<string, number>();
  let counted = 0;
  let since = performance.now();
  const stop = Math.min(steps, options.stopAfter ?? steps);
  while (done < stop) {
    const { grads, metrics } = await options.step(done);
    const norm = clipByGlobalNorm(grads, options.clipNorm);
    if (!Number.isFinite(metrics["loss"]!) || !Number.isFinite(norm)) {
      throw new ModelError(
        `${options.name}: the loss is ${metrics["loss"]} at step ${done}; ` +
          `the last good checkpoint is ${path}`,
      );
    }
    optimizer.step(params, grads, options.schedule(done));
    done++;
    for (const [key, value] of Object.entries({ ...metrics, gradNorm: norm })) {
      sums.set(key, (sums.get(key) ?? 0) + value);
    }
    counted++;
    if (done % 50 === 0 || done === stop) {
      const seconds = (performance.now() - since) / 1000 / counted;
      const means = Object.fromEntries([...sums].map(([key, sum]) => [key, sum / counted]));
      appendFileSync(
        join(dir, "metrics.jsonl"),
        JSON.stringify({ step: done, ...means, secondsPerStep: seconds }) + "\n",
      );
      const figures = Object.entries(means).map(([key, value]) => `${key} ${value.toFixed(3)}`);
      const left = Math.round(seconds * (steps - done) / 60);
      console.log(
        `${options.name} ${done}/${steps}  ${figures.join("  ")}  ` +
          `${(seconds * 1000).toFixed(0)} ms/step  ${left} min left`,
      );
      sums.clear();
      counted = 0;
      since = performance.now();
    }
    if (done % options.checkpointEvery === 0 || done === stop) {
      writeCheckpoint(path, done, params, optimizer);
    }
  }
}

/** The parameters of a run's checkpoint. */
export function readParameters(dir: string, size: number): Float32Array {
  const params = new Float32Array(size);
  readCheckpoint(join(dir, "checkpoint.bin"), params, null);
  return params;
}

// Layout: the step as a float64, then the parameters and AdamW's two moments as float32.
function writeCheckpoint(path: string, step: number, params: Float32Array, optimizer: AdamW): void {
  const { m, v } = optimizer.save();
  const bytes = new Uint8Array(8 + 12 * params.length);
  new Float64Array(bytes.buffer, 0, 1)[0] = step;
  [params, m, v].forEach((part, i) =>
    new Float32Array(bytes.buffer, 8 + 4 * i * params.length, params.length).set(part)
  );
  writeFileSync(`${path}.tmp`, bytes);
  renameSync(`${path}.tmp`, path);
}

function readCheckpoint(path: string, params: Float32Array, optimizer: AdamW | null): number {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new ModelError(`${path}: there is no checkpoint; train first`, { cause });
  }
  if (bytes.length !== 8 + 12 * params.length) {
    throw new ModelError(`${path}: a checkpoint of another network, or cut short`);
  }
  const part = (i: number) =>
    new Float32Array(bytes.buffer, 8 + 4 * i * params.length, params.length);
  const step = new Float64Array(bytes.buffer, 0, 1)[0]!;
  params.set(part(0));
  optimizer?.restore({ step, m: part(1).slice(), v: part(2).slice() });
  return step;
}
