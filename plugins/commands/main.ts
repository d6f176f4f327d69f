/**
 * `ovs`: the command line of this package.
 *
 * @module
 */
import process from "node:process";
import { runCommand, writeText } from "../../lib/cli/run_command.ts";
import { OptionError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import config from "../../deno.json" with { type: "json" };

/** The commands; each loads its modules when it runs. */
const commands: Readonly<
  Record<string, { about: string; run: (args: readonly string[]) => Promise<void> }>
> = {
  segment: {
    about: "label every pixel of an image with one of the classes that you name",
    run: async (args) => await (await import("./segment.ts")).segment(args),
  },
  train: {
    about: "train a network as a config says",
    run: async (args) => await (await import("./train.ts")).train(args),
  },
  similarity: {
    about: "measure how far a test vocabulary is from a training vocabulary",
    run: async (args) => await (await import("./similarity.ts")).similarity(args),
  },
  eval: {
    about: "measure a pipeline on a data set",
    run: async (args) => await (await import("./eval.ts")).evaluateCommand(args),
  },
  "eval-merge": {
    about: "put the shards of an evaluation together",
    run: async (args) => await (await import("./eval_merge.ts")).evalMerge(args),
  },
  "eval-report": {
    about: "write the report of an evaluation anew",
    run: async (args) => await (await import("./eval_report.ts")).evalReport(args),
  },
  curate: {
    about: "make a benchmark of categories far from a training vocabulary",
    run: async (args) => await (await import("./curate.ts")).curateCommand(args),
  },
  demo: {
    about: "render a scene, segment it and compare with the truth",
    run: async (args) => await (await import("./demo.ts")).demo(args),
  },
};

function help(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  return [
    "Usage: ovs COMMAND [ARGUMENTS]",
    "",
    "Open-vocabulary segmentation: you name the classes, it labels the pixels.",
    "",
    "Commands:",
    ...Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`),
    "",
    "ovs COMMAND --help says more; ovs --version prints the version.",
    "",
  ].join("\n");
}

/**
 * Runs a command line.
 *
 * @param args What was typed after `ovs`.
 * @throws {OvsError} For whatever is the caller's to mend.
 */
export async function ovs(args: readonly string[]): Promise<void> {
  const [name, ...rest] = args;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    return await writeText(process.stdout, help());
  }
  if (name === "--version") return await writeText(process.stdout, `${config.version}\n`);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new OptionError(`unknown command "${name}"; ${knownNames(name, Object.keys(commands))}`);
  }
  await command.run(rest);
}

if (import.meta.main) process.exit(await runCommand(() => ovs(process.argv.slice(2))));
