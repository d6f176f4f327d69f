/**
 * `ovs eval-report`: an evaluation as one HTML file.
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
import { writeText } from "../../lib/cli/run_command.ts";

/** The command line of `ovs eval-report`. */
export const evalReportSpec = {
  name: "ovs eval-report",
  description: "Writes report.html into the folder of a finished evaluation: one file with " +
    "everything in it, to be read in a browser or printed. ovs eval does the same at its end.",
  positionals: ["DIR"],
  flags: {},
  examples: ["ovs eval-report out/eval/far"],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/**
 * Runs `ovs eval-report`.
 *
 * @param args What was typed after `ovs eval-report`.
 * @throws {OvsError} For whatever is wrong with the command line or the folder.
 */
export async function evalReport(args: readonly string[]): Promise<void> {
  const { positionals: [path], help } = parseArguments(evalReportSpec, args);
  if (help || path === undefined) {
    return await writeText(process.stdout, formatHelp(evalReportSpec));
  }
  const { writeReport } = await import("../evaluation/report.ts");
  await writeText(process.stdout, `wrote ${await writeReport(path)}\n`);
}
