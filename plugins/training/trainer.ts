/**
 * The training loop: a step's gradient, AdamW over one flat vector, figures on the way, and
 * checkpoints that a run goes on from bit for bit.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { OutputError, TrainingError } from "../../lib/errors.ts";
import { AdamW, clipByGlobalNorm } from "../../lib/optim/adamw.ts";
import { cosineSchedule, polynomialSchedule, type Schedule } from "../../lib/optim/schedules.ts";
import {
  checkIdentity,
  type Checkpoint,
  CheckpointFolder,
  type Json,
  type JsonObject,
} from "./checkpoint.ts";
import { lossPlot } from "./loss_plot.ts";
import { MetricsLog, type MetricsRecord, readMetrics } from "./metrics_log.ts";
import { type FileSystem, writeError, writeTextAtomically } from "./run_files.ts";
import { lockRun } from "./run_lock.ts";
import { type CycleConfig, totalSteps, type TrainConfig } from "./train_config.ts";

/** What one step of training works with. */
export interface StepResult {
  /** The gradient of the loss, in the order of the parameters. */
  grads: Float32Array;
  /** Figures for the log; `loss` among them. */
  metrics: Readonly<Record<string, number>>;
}

/** How far a run is. */
export interface TrainProgress {
  /** Steps done. */
  readonly step: number;
  /** Steps in all. */
  readonly steps: number;
  /** Loss of the last step. */
  readonly loss: number;
  /** Samples a second, over the last steps. */
  readonly samplesPerSecond: number;
  /** Seconds that the rest will take at this speed. */
  readonly secondsLeft: number;
  /** The line that was logged after this step, if one was. */
  readonly record: MetricsRecord | null;
}

/** How a run is started and watched; nothing of it changes what the run computes. */
export interface RunOptions {
  /** Go on from the folder's newest checkpoint, if there is one; else a checkpoint there is refused. */
  readonly resume?: boolean;
  /** Saves a checkpoint after the step under way, and stops. */
  readonly signal?: AbortSignal;
  /** Stops at a checkpoint after this many steps. */
  readonly stopAfter?: number;
  /** Called after every step. */
  readonly onProgress?: (progress: TrainProgress) => void;
  /** Told what a person may want to know, in a line. */
  readonly onNote?: (note: string) => void;
  /** Where files are written; the real file system where left out. */
  readonly files?: FileSystem;
}

/** How a run ended. */
export interface RunResult {
  /** Steps done. */
  readonly step: number;
  /** Whether that is all of them. */
  readonly finished: boolean;
  /** The checkpoint that holds the parameters. */
  readonly checkpoint: string;
}

/** A run of training. */
export interface Run {
  /** All that a person decided. */
  readonly config: TrainConfig;
  /** What else the result depends on: the data's fingerprint, the engine of the kernels. */
  readonly circumstances: JsonObject;
  /** The parameters; updated in place. */
  readonly params: Float32Array;
  /** 1 where weight decay applies. */
  readonly decayMask: Uint8Array;
  /** Samples of one step, for the speed. */
  readonly samples: number;
  /** Computes one step's gradient; the step's number seeds its batch. */
  step(step: number): Promise<StepResult>;
  /** Figures on data that training doesn't see. */
  validate?(): Promise<Record<string, number>>;
}

/** Fields of a config that don't change what a run computes; where kernels ran, circumstances say. */
const harmless = ["out", "checkpoint", "log", "validation", "divergence", "kernels"];

/** What a checkpoint has to agree with. */
export function identityOf(config: TrainConfig, circumstances: JsonObject): JsonObject {
  const fields = Object.entries(config).filter(([name]) => !harmless.includes(name));
  return { ...Object.fromEntries(fields) as Record<string, Json>, circumstances };
}

/**
 * What a checkpoint is of, where a config asks for what it has and more cycles after them: until then
 * the two runs are the same.
 */
function extended(there: JsonObject, here: JsonObject): JsonObject {
  const [had, wanted] = [there["schedule"], here["schedule"]];
  if (!Array.isArray(had) || !Array.isArray(wanted)) return there;
  const first = wanted.slice(0, had.length);
  return JSON.stringify(first) === JSON.stringify(had) ? { ...there, schedule: wanted } : there;
}

/** The learning rates of all cycles, one after another. */
export function scheduleOf(cycles: readonly CycleConfig[]): Schedule {
  const parts = cycles.map((cycle): Schedule => {
    const { steps, peak, warmup, final } = cycle;
    const options = { peak, totalSteps: steps, warmupSteps: warmup, final };
    return cycle.kind === "cosine"
      ? cosineSchedule(options)
      : polynomialSchedule({ ...options, power: cycle.power });
  });
  return (step) => {
    let i = 0;
    let left = step;
    while (i < cycles.length - 1 && left >= cycles[i]!.steps) left -= cycles[i++]!.steps;
    return parts[i]!(left);
  };
}

/** What the log remembers between two lines. */
interface LogState {
  sums: Record<string, number>;
  counted: number;
  /** The loss, smoothed, and the least that it was; for divergence. */
  smoothed: number | null;
  least: number | null;
}

/** The share of one step in the smoothed loss. */
const smoothing = 0.02;
/** Steps that the speed is measured over. */
const speedWindow = 20;

/**
 * Trains, or goes on where the run in the config's folder stood: batches depend on the step's
 * number alone, so a resumed run does what an undisturbed one would have done.
 *
 * Beside checkpoints, the folder gets `config.json`, `metrics.jsonl` and `plot.svg`.
 *
 * @throws {OutputError} If another run trains in the folder, or it holds a checkpoint and `resume`
 *   isn't given, or something can't be written (a full disk): names the last good checkpoint.
 * @throws {ModelError} If all checkpoints are damaged, or the newest is of another run.
 * @throws {TrainingError} If the loss or a gradient is no finite number, or the loss runs away:
 *   names the last good checkpoint.
 */
export async function train(run: Run, options: RunOptions = {}): Promise<RunResult> {
  const { config, params } = run;
  const { resume = false, signal, files, onProgress, onNote = () => {} } = options;
  const { out, stage: name } = config;
  const steps = totalSteps(config);
  const stop = Math.min(steps, options.stopAfter ?? steps);
  const { betas, epsilon, weightDecay, clipNorm } = config.optimizer;
  const optimizer = new AdamW({
    size: params.length,
    betas,
    epsilon,
    weightDecay,
    decayMask: run.decayMask,
  });
  const schedule = scheduleOf(config.schedule);
  const identity = JSON.parse(
    JSON.stringify(identityOf(config, { ...run.circumstances, parameters: params.length })),
  ) as JsonObject;
  const folder = new CheckpointFolder(out, {
    keep: config.checkpoint.keep,
    ...(files ? { files } : {}),
  });
  try {
    mkdirSync(out, { recursive: true });
  } catch (cause) {
    throw writeError(out, cause);
  }
  using _lock = lockRun(out);

  let done = 0;
  let log: LogState = { sums: {}, counted: 0, smoothed: null, least: null };
  if (!resume && folder.steps().length > 0) {
    throw new OutputError(
      `${out}: has a checkpoint of step ${folder.steps().at(-1)}; resume that run (--resume), or ` +
        "train into another folder",
    );
  }
  const found = await folder.newest((message) => onNote(`refused ${message}`));
  if (found !== null) {
    checkIdentity(folder.pathOf(found.step), extended(found.identity, identity), identity);
    params.set(found.params);
    optimizer.restore(found.optimizer);
    done = found.step;
    log = structuredClone(found.log) as unknown as LogState;
    onNote(`going on at step ${done} of ${steps}`);
  }
  folder.removeUnfinished();
  folder.removeAfter(done);

  let saved = found === null ? null : done;
  const lastGood = () =>
    saved === null
      ? "there is no checkpoint yet"
      : `the last good checkpoint is ${folder.pathOf(saved)}`;
  const save = (metricsLog: MetricsLog) => {
    metricsLog.sync();
    const checkpoint: Checkpoint = {
      step: done,
      identity,
      log: log as unknown as JsonObject,
      params,
      optimizer: optimizer.save(),
    };
    folder.save(checkpoint);
    saved = done;
    writeTextAtomically(join(out, "plot.svg"), lossPlot(readMetrics(metricsLog.path), name), files);
  };

  const times = [performance.now()];
  try {
    writeTextAtomically(join(out, "config.json"), JSON.stringify(config, null, 2) + "\n", files);
    const metricsLog = new MetricsLog(join(out, "metrics.jsonl"), done, files);
    while (done < stop && !(signal?.aborted ?? false)) {
      const { grads, metrics } = await run.step(done);
      const norm = clipByGlobalNorm(grads, clipNorm);
      const loss = metrics["loss"]!;
      if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
        throw new TrainingError(
          `${name}: the loss is ${loss} and its gradient's norm ${norm} at step ${done}; ` +
            lastGood(),
        );
      }
      const rate = schedule(done);
      optimizer.step(params, grads, rate);
      done++;

      const { divergence } = config;
      log.smoothed = log.smoothed === null
        ? loss
        : log.smoothed + smoothing * (loss - log.smoothed);
      log.least = Math.min(log.least ?? Infinity, log.smoothed);
      if (divergence > 0 && log.least > 0 && log.smoothed > divergence * log.least) {
        throw new TrainingError(
          `${name}: the loss runs away: ${
            log.smoothed.toPrecision(4)
          } at step ${done}, smoothed, ` +
            `and was ${log.least.toPrecision(4)} at its least; ${lastGood()}`,
        );
      }
      for (const [key, value] of Object.entries({ ...metrics, gradNorm: norm })) {
        log.sums[key] = (log.sums[key] ?? 0) + value;
      }
      log.counted++;
      times.push(performance.now());
      if (times.length > speedWindow + 1) times.shift();
      const perStep = (times.at(-1)! - times[0]!) / 1000 / (times.length - 1);
      const samplesPerSecond = run.samples / perStep;

      let record: MetricsRecord | null = null;
      if (done % config.log.every === 0 || done === steps) {
        const { sums, counted } = log;
        const means = Object.fromEntries(
          Object.entries(sums).map(([key, sum]) => [key, sum / counted]),
        );
        record = { step: done, ...means, learningRate: rate, samplesPerSecond };
        metricsLog.append(record);
        log.sums = {};
        log.counted = 0;
      }
      const { every } = config.validation;
      if (run.validate && every > 0 && (done % every === 0 || done === steps)) {
        metricsLog.append({ step: done, validation: await run.validate() });
        times.splice(0, times.length, performance.now());
      }
      if (done % config.checkpoint.every === 0) save(metricsLog);
      onProgress?.({
        step: done,
        steps,
        loss,
        samplesPerSecond,
        secondsLeft: perStep * (steps - done),
        record,
      });
    }
    if (saved !== done) save(metricsLog);
  } catch (error) {
    if (!(error instanceof OutputError)) throw error;
    throw new OutputError(`${error.message}; ${lastGood()}`, { cause: error });
  }
  return { step: done, finished: done === steps, checkpoint: folder.pathOf(done) };
}
