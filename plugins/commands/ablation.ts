/**
 * `deno task ablation`: a plan in, trained networks, figures and a report out.
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
import { openProgress, type Progress } from "../../lib/cli/progress.ts";
import { runCommand, writeText } from "../../lib/cli/run_command.ts";
import { StopSignals } from "../../lib/cli/stop_signals.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { OptionError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import type {
  AblationOutlook,
  AblationPhase,
  OpenAblation,
} from "../evaluation/ablation/run_ablation.ts";
import { readUserText } from "./read_user_file.ts";
import { formatDuration } from "./train.ts";

const defaultPlan = "models/recipes/ablation.json";

/** The command line of `deno task ablation`. */
export const ablationSpec = {
  name: "deno task ablation",
  description: "Trains the networks of a plan with every seed, measures each in every way that " +
    "the plan asks for, and writes results.json, report.md, report.html and charts. Killed at any " +
    "moment, it goes on where it stood when it is called again. docs/ablation.md lists the plan's " +
    "fields.",
  positionals: [],
  flags: {
    plan: { value: "FILE", description: `The plan; ${defaultPlan} where left out.` },
    out: { value: "DIR", description: "Another folder than the plan's." },
    only: { value: "PHASE", description: "One part of the work alone: train, evaluate or report." },
    seeds: { value: "LIST", description: "Other seeds than the plan's: 1,2,3." },
    limit: { value: "N", description: "The first N images of every split." },
    "dry-run": {
      description:
        "Print what would be trained and measured, and how long that would take at the " +
        "speed measured so far; compute nothing.",
    },
    json: { description: "Print results.json and nothing else." },
    schema: { description: "Print the plan's JSON Schema and stop." },
  },
  examples: [
    "deno task ablation --dry-run",
    "deno task ablation --seeds 1 --only train",
    "deno task ablation --plan mine.json --out runs/mine --limit 20",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

type AblationFlags = ReturnType<typeof parseArguments<typeof ablationSpec.flags>>["flags"];

function readInteger(flag: string, text: string, least: number, greatest: number): number {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
  if (value >= least && value <= greatest) return value;
  throw new OptionError(
    `--${flag} ${text}: it must be a whole number from ${least} to ${greatest}`,
  );
}

/** Reads and checks the plan and all that it names. */
async function openFromFlags(flags: AblationFlags): Promise<OpenAblation> {
  const [{ parseAblationPlan, parseJson }, { openAblation }] = await Promise.all([
    import("../evaluation/ablation/ablation_plan.ts"),
    import("../evaluation/ablation/run_ablation.ts"),
  ]);
  const { plan: file = defaultPlan, out, seeds, limit } = flags;
  const given = parseAblationPlan(await readUserText(file, "name a plan in it"), file);
  const listed = seeds?.split(",").map((text) => readInteger("seeds", text, 0, 2 ** 32 - 1));
  if (listed !== undefined && new Set(listed).size < listed.length) {
    throw new OptionError(`--seeds ${seeds}: has a seed twice; once is right`);
  }
  const plan = { ...given, out: out ?? given.out, seeds: listed ?? given.seeds };
  const recipe = parseJson(await readUserText(plan.recipe, "name a recipe in it"), plan.recipe);
  return await openAblation(plan, recipe, {
    where: file,
    ...(limit === undefined ? {} : { limit: readInteger("limit", limit, 1, 2 ** 31 - 1) }),
  });
}

function readPhase(text: string, phases: readonly AblationPhase[]): AblationPhase {
  const phase = phases.find((name) => name === text);
  if (phase !== undefined) return phase;
  throw new OptionError(`--only "${text}" is unknown; ${knownNames(text, phases)}`);
}

const orUnknown = (seconds: number | null) =>
  seconds === null ? "nobody knows yet" : formatDuration(seconds);

/** What is done and what is left, for a person. */
export function formatOutlook({ networks, seconds, pace }: AblationOutlook): string {
  const { train, evaluate } = seconds;
  const whole = train === null || evaluate === null ? null : train + evaluate;
  const speeds = [
    ...(pace.step === null ? [] : [`${pace.step.toPrecision(2)} s a step`]),
    ...(pace.image === null || pace.measurement === null ? [] : [
      `${Math.ceil(1000 * pace.image)} ms an image and ` +
      `${Math.ceil(1000 * pace.measurement)} ms a measurement of it`,
    ]),
  ];
  return [
    formatTable(
      [
        { title: "network" },
        { title: "steps done", align: "right" },
        { title: "of", align: "right" },
        { title: "figures", align: "right" },
        { title: "of", align: "right" },
      ],
      networks.map(({ network, done, steps, measured, figures }) => [
        network.name,
        ...[done, steps, measured, figures].map(String),
      ]),
    ),
    `training left: ${orUnknown(train)}`,
    `measuring left: ${orUnknown(evaluate)}`,
    `together: ${orUnknown(whole)}`,
    speeds.length === 0
      ? "no speed was measured yet; start it, and ask again after a minute"
      : `by the speed measured last: ${speeds.join(", ")}`,
    "",
  ].join("\n");
}

/** Shows one bar after another. */
class Bars {
  readonly #silent: boolean;
  #title = "";
  #bar: Promise<Progress> | null = null;

  constructor(silent: boolean) {
    this.#silent = silent;
  }

  update(title: string, done: number, total: number, what: string): void {
    if (title !== this.#title) {
      this.#title = title;
      const before = this.#bar;
      this.#bar = (async () => {
        (await before)?.stop();
        return await openProgress({ title, total, silent: this.#silent });
      })();
    }
    this.#bar!.then((bar) => bar.update(done, what));
  }

  async stop(): Promise<void> {
    (await this.#bar)?.stop();
    this.#bar = null;
    this.#title = "";
  }
}

/**
 * Runs `deno task ablation`.
 *
 * @param args What was typed after it.
 * @throws {OvsError} For whatever is wrong with the command line, the plan, the data or the disk.
 */
export async function ablation(args: readonly string[]): Promise<void> {
  const { flags, help } = parseArguments(ablationSpec, args);
  if (help) return await writeText(process.stdout, formatHelp(ablationSpec));
  if (flags.schema) {
    const { ablationJsonSchema } = await import("../evaluation/ablation/ablation_plan.ts");
    return await writeText(process.stdout, JSON.stringify(ablationJsonSchema(), null, 2) + "\n");
  }
  const { ablationOutlook, ablationPhases, runAblation } = await import(
    "../evaluation/ablation/run_ablation.ts"
  );
  const only = flags.only === undefined ? undefined : readPhase(flags.only, ablationPhases);
  const opened = await openFromFlags(flags);
  if (flags["dry-run"]) {
    return await writeText(process.stdout, formatOutlook(await ablationOutlook(opened)));
  }
  using stop = new StopSignals();
  const bars = new Bars(flags.json && !process.stderr.isTTY);
  const notes: string[] = [];
  try {
    const outcome = await runAblation(opened, {
      ...(only === undefined ? {} : { only }),
      signal: stop.signal,
      onNote: (note) => void notes.push(note),
      onTrain({ network, done, total, loss, secondsPerStep }) {
        const left = formatDuration((total - done) * secondsPerStep);
        bars.update(
          "training",
          done,
          total,
          `${network} · loss ${loss.toFixed(3)} · ${secondsPerStep.toPrecision(2)} s a step · ` +
            `${left} left`,
        );
      },
      onEvaluate({ what, done, total, secondsLeft }) {
        bars.update("measuring", done, total, `${what} · ${formatDuration(secondsLeft)} left`);
      },
    });
    await bars.stop();
    if (flags.json && outcome !== null) {
      return await writeText(process.stdout, JSON.stringify(outcome.results, null, 2) + "\n");
    }
    const last = outcome !== null
      ? `report: ${outcome.report}`
      : only === "train"
      ? `all networks are trained: ${opened.plan.out}`
      : `all networks that are trained are measured: ${opened.plan.out}`;
    await writeText(process.stdout, [...notes, last, ""].join("\n"));
  } catch (error) {
    await bars.stop();
    if (!stop.isAsked || !stop.signal.aborted) throw error;
    await writeText(process.stderr, `stopped; call it again and it goes on: ${opened.plan.out}\n`);
    stop.exitIfAsked();
  }
}

if (import.meta.main) process.exit(await runCommand(() => ablation(process.argv.slice(2))));
