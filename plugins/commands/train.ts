/**
 * `ovs train`: a config in, a trained network out.
 *
 * @module
 */
import process from "node:process";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../lib/cli/arguments.ts";
import { openProgress } from "../../lib/cli/progress.ts";
import { writeText } from "../../lib/cli/run_command.ts";
import { StopSignals } from "../../lib/cli/stop_signals.ts";
import { OptionError } from "../../lib/errors.ts";
import type { TrainProgress } from "../training/trainer.ts";
import { readUserText } from "./read_user_file.ts";

/** The command line of `ovs train`. */
export const trainSpec = {
  name: "ovs train",
  description: "Trains as a config says: see docs/training.md for its fields, and models/recipes " +
    "for the runs that made the models of this package. Checkpoints, metrics.jsonl, plot.svg and, " +
    "at the end, the models go to the config's folder. SIGINT and SIGTERM save a checkpoint first.",
  positionals: ["CONFIG"],
  flags: {
    resume: { description: "Go on from the folder's newest checkpoint, bit for bit." },
    out: { value: "DIR", description: "Another folder than the config's." },
    kernels: {
      value: "KIND",
      description: "cpu, webgpu or auto, in place of the config's: where mask pooling and GFA " +
        "compute forward and gradient.",
    },
    schema: { description: "Print the config's JSON Schema and stop; CONFIG may be anything." },
  },
  examples: [
    "ovs train models/recipes/clip.json",
    "ovs train my_run.json --out runs/second --resume",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/** A duration as people say it: `41 s`, `12 min`, `3 h 05 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** What is shown beside the bar, or on a line of its own. */
function describe({ loss, samplesPerSecond, secondsLeft }: TrainProgress): string {
  return `loss ${loss.toFixed(4)} · ${samplesPerSecond.toPrecision(3)} samples/s · ` +
    `${formatDuration(secondsLeft)} left`;
}

/**
 * Runs `ovs train`.
 *
 * @param args What was typed after `ovs train`.
 * @throws {OvsError} For whatever is wrong with the command line, the config, the data or the disk.
 */
export async function train(args: readonly string[]): Promise<void> {
  const wantsSchema = args.includes("--schema") && !args.includes("--help");
  const { parseTrainConfig, trainJsonSchema } = await import("../training/train_config.ts");
  if (wantsSchema) {
    return await writeText(process.stdout, JSON.stringify(trainJsonSchema(), null, 2) + "\n");
  }
  const { positionals: [file], flags, help } = parseArguments(trainSpec, args);
  if (help || file === undefined) return await writeText(process.stdout, formatHelp(trainSpec));
  const given = parseTrainConfig(await readUserText(file, "name a config in it"), file);
  const { kernels } = flags;
  if (kernels !== undefined && given.stage !== "ovsnet") {
    throw new OptionError(`--kernels: the stage "${given.stage}" has no kernels; leave it out`);
  }
  if (kernels !== undefined && !["cpu", "webgpu", "auto"].includes(kernels)) {
    throw new OptionError(`--kernels "${kernels}" is unknown; it must be cpu, webgpu or auto`);
  }
  const config = {
    ...given,
    ...(flags.out === undefined ? {} : { out: flags.out }),
    ...(kernels === undefined ? {} : { kernels }),
  } as typeof given;
  const { runTraining } = await import("../training/run_training.ts");

  using stop = new StopSignals();
  const isTerminal = process.stderr.isTTY === true;
  const note = (line: string) => process.stderr.write(`${line}\n`);
  const notes: string[] = [];
  let bar: Awaited<ReturnType<typeof openProgress>> | null = null;
  try {
    const { schedule } = config;
    const total = schedule.reduce((sum, { steps }) => sum + steps, 0);
    if (isTerminal) bar = await openProgress({ title: config.stage, total });
    const result = await runTraining(config, {
      resume: flags.resume,
      signal: stop.signal,
      onNote: (line) => void (isTerminal ? notes.push(line) : note(line)),
      onProgress(progress) {
        if (bar !== null) bar.update(progress.step, describe(progress));
        else if (progress.record !== null) {
          note(`${config.stage} ${progress.step}/${progress.steps} · ${describe(progress)}`);
        }
      },
    });
    bar?.stop();
    bar = null;
    const lines = [
      ...notes,
      result.finished
        ? `done: ${result.step} steps; the models are in ${config.out}/models`
        : `stopped after step ${result.step}; go on with --resume`,
      `checkpoint: ${result.checkpoint}`,
    ];
    await writeText(process.stdout, lines.join("\n") + "\n");
    if (!result.finished) stop.exitIfAsked();
  } finally {
    bar?.stop();
  }
}
