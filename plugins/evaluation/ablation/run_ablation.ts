/**
 * An ablation from its plan to its report.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { InputError, OvsError } from "../../../lib/errors.ts";
import type { Registry } from "../../../lib/stages/registry.ts";
import { builtinRegistry } from "../../builtin.ts";
import { openDataset } from "../../datasets/open_dataset.ts";
import { acquireDevice } from "../../runtimes/mod.ts";
import { writeError } from "../../training/run_files.ts";
import { totalSteps } from "../../training/train_config.ts";
import type { AblationPlan } from "./ablation_plan.ts";
import { writeAblationReport } from "./ablation_report.ts";
import { type AblationResults, ablationResults } from "./ablation_results.ts";
import { type AblationWork, type Network, planWork } from "./ablation_work.ts";
import {
  type AblationSplit,
  evaluateNetworks,
  type EvaluateNetworksProgress,
  TrainedNetwork,
  unitsLeft,
} from "./evaluate_networks.ts";
import { loggedPace, notePace, type Pace, readPace } from "./pace.ts";
import {
  isTrained,
  networkTowers,
  stepsDone,
  trainNetworks,
  type TrainNetworksProgress,
} from "./train_networks.ts";

/** The parts of the work, in order. */
export const ablationPhases = ["train", "evaluate", "report"] as const;

/** A part of the work. */
export type AblationPhase = (typeof ablationPhases)[number];

/** A plan that was checked against everything that it names. */
export interface OpenAblation {
  /** The plan. */
  readonly plan: AblationPlan;
  /** What it comes to. */
  readonly work: AblationWork;
  /** What is measured on. */
  readonly splits: readonly AblationSplit[];
  /** Where stages are looked up. */
  readonly registry: Registry;
  /** Folder of the run that the recipe itself describes; null where it names none. */
  readonly recipeRun: string | null;
}

/** Options of {@linkcode openAblation}. */
export interface OpenAblationOptions {
  /** What to call the plan in messages, such as its path. */
  readonly where: string;
  /** How many images of each split at most, in place of the plan's. */
  readonly limit?: number;
  /** Where stages are looked up; those of this package where left out. */
  readonly registry?: Registry;
}

/**
 * Checks a plan against the recipe, the stages and the data set that it names.
 *
 * @param plan The plan.
 * @param recipe What the file `plan.recipe` holds.
 * @throws {InputError} If something that the plan names isn't there or doesn't fit; says where.
 */
export async function openAblation(
  plan: AblationPlan,
  recipe: unknown,
  { where, limit, registry = builtinRegistry() }: OpenAblationOptions,
): Promise<OpenAblation> {
  const work = planWork(plan, recipe, where, registry);
  const { dataset: kind, options, splits: names, images } = plan.evaluation;
  const splits: AblationSplit[] = [];
  for (const split of names) {
    try {
      const dataset = await openDataset(kind, { ...options, split });
      splits.push({
        split,
        dataset,
        images: Math.min(limit ?? images, dataset.length),
        fingerprint: await dataset.fingerprint(),
      });
    } catch (cause) {
      if (!(cause instanceof OvsError)) throw cause;
      throw new InputError(`${where}: evaluation: ${cause.message}`, { cause });
    }
  }
  const { out } = recipe as { out?: unknown };
  const recipeRun = typeof out === "string" ? out : null;
  return { plan, work, splits, registry, recipeRun };
}

/** What is still to do. */
export interface AblationOutlook {
  /** The networks. */
  readonly networks: readonly {
    readonly network: Network;
    /** Steps done, of how many. */
    readonly done: number;
    readonly steps: number;
    /** Figures done, of how many. */
    readonly measured: number;
    readonly figures: number;
  }[];
  /** What was measured of the speed. */
  readonly pace: Pace;
  /** Seconds of training and of measuring that are left; null where nobody knows the speed yet. */
  readonly seconds: { readonly train: number | null; readonly evaluate: number | null };
}

/**
 * Looks what is done and what is left, and how long that will take at the speed measured so far: in
 * the plan's folder, else by the recipe's own run. Computes nothing.
 *
 * @throws {InputError} If a folder holds the network of another plan, or a damaged file.
 * @throws {ModelError} If there are no towers.
 */
export async function ablationOutlook(ablation: OpenAblation): Promise<AblationOutlook> {
  const { plan, work, splits, recipeRun } = ablation;
  const towers = await networkTowers(work.networks);
  const noted = readPace(plan.out);
  let [stepsLeft, imagesLeft, measurementsLeft] = [0, 0, 0];
  const networks: AblationOutlook["networks"][number][] = [];
  for (const network of work.networks) {
    const steps = totalSteps(network.config);
    const trained = isTrained(network, towers) ? TrainedNetwork.find(network) : null;
    const done = trained === null ? Math.min(steps, stepsDone(network)) : steps;
    const all = work.measurements.get(network.variant)!;
    const left = trained === null
      ? splits.map((split) => ({ split, measurements: all }))
      : await unitsLeft([trained], work, splits);
    const figures = all.length * splits.length;
    stepsLeft += steps - done;
    for (const { split, measurements } of left) {
      imagesLeft += split.images;
      measurementsLeft += split.images * measurements.length;
    }
    const open = left.reduce((sum, { measurements }) => sum + measurements.length, 0);
    networks.push({ network, done, steps, measured: figures - open, figures });
  }
  const [{ config: { batch } }] = work.networks as readonly [Network];
  const logged = [...work.networks.map(({ config }) => config.out), recipeRun]
    .map((folder) => folder === null ? null : loggedPace(folder, batch));
  const pace = { ...noted, step: noted.step ?? logged.find((step) => step !== null) ?? null };
  const evaluate = pace.image === null || pace.measurement === null
    ? null
    : imagesLeft * pace.image + measurementsLeft * pace.measurement;
  return {
    networks,
    pace,
    seconds: {
      train: stepsLeft === 0 ? 0 : pace.step === null ? null : stepsLeft * pace.step,
      evaluate: measurementsLeft === 0 ? 0 : evaluate,
    },
  };
}

/** How {@linkcode runAblation} is started and watched. */
export interface RunAblationOptions {
  /** One part of the work alone; all where left out. */
  readonly only?: AblationPhase;
  /** Stops where the work can be gone on with. */
  readonly signal?: AbortSignal;
  /** Called as networks are trained. */
  readonly onTrain?: (progress: TrainNetworksProgress) => void;
  /** Called as they are measured. */
  readonly onEvaluate?: (progress: EvaluateNetworksProgress) => void;
  /** Told what a person may want to know, in a line. */
  readonly onNote?: (note: string) => void;
}

/** What an ablation leaves. */
export interface AblationOutcome {
  /** What was found. */
  readonly results: AblationResults;
  /** The report's path. */
  readonly report: string;
}

/**
 * Trains what isn't trained, measures what isn't measured, and writes the report. It may be killed at
 * any moment; called again, it goes on where it stood, and the files end with the same bytes.
 *
 * @param ablation The plan, opened.
 * @returns The results; null with `only: "train"` and `only: "evaluate"`.
 * @throws {InputError} If a folder holds the network of another plan, or a damaged file; with
 * `only: "evaluate"` also if no network is trained.
 * @throws {ModelError} If towers, a checkpoint or a model can't be used.
 * @throws {OutputError} If something can't be written.
 * @throws {TrainingError} If a loss is no number any more, or runs away.
 * @throws The signal's reason once it is aborted.
 */
export async function runAblation(
  ablation: OpenAblation,
  { only, signal, onTrain, onEvaluate, onNote }: RunAblationOptions = {},
): Promise<AblationOutcome | null> {
  const { plan: { out, evaluation }, work, splits, registry } = ablation;
  const { networks } = work;
  const does = (phase: AblationPhase) => only === undefined || only === phase;
  try {
    mkdirSync(out, { recursive: true });
  } catch (cause) {
    throw writeError(out, cause);
  }
  if (does("train")) {
    let speed: { network: string; secondsPerStep: number } | null = null;
    const note = () => speed !== null && notePace(out, { step: speed.secondsPerStep });
    try {
      await trainNetworks(networks, {
        signal,
        onNote,
        onProgress(progress) {
          if (speed !== null && speed.network !== progress.network) note();
          speed = progress;
          onTrain?.(progress);
        },
      });
    } finally {
      note();
    }
  }
  if (does("evaluate")) {
    const trained = await trainedOnes(networks, onNote);
    if (trained.length === 0) {
      throw new InputError(
        `${out}: no network is trained yet, so none can be measured; train first`,
      );
    }
    await using device = await acquireDevice("cpu", { threads: networks[0]!.config.threads });
    await evaluateNetworks(trained, work, splits, {
      device,
      registry,
      signal,
      onProgress: onEvaluate,
      onPace: (pace) => notePace(out, pace),
    });
  }
  if (!does("report")) return null;
  const results = await ablationResults(work, evaluation.dataset, splits);
  return { results, report: await writeAblationReport(out, results) };
}

/** The networks that can be measured; the others are named. */
async function trainedOnes(
  networks: readonly Network[],
  onNote: ((note: string) => void) | undefined,
): Promise<TrainedNetwork[]> {
  const towers = await networkTowers(networks);
  const found = networks.map((network) =>
    isTrained(network, towers) ? TrainedNetwork.find(network) : null
  );
  const missing = networks.filter((_, i) => found[i] === null).map(({ name }) => name);
  if (missing.length > 0) onNote?.(`not trained yet, and left out: ${missing.join(", ")}`);
  return found.filter((trained) => trained !== null);
}
