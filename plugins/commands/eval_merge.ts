/**
 * `ovs eval-merge`: shards in, the figures of the whole out.
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
import { formatEvaluation } from "./eval_table.ts";

/** The command line of `ovs eval-merge`. */
export const evalMergeSpec = {
  name: "ovs eval-merge",
  description: "Puts the shards of an evaluation together: the figures are exactly those that " +
    "the undivided run would have given. DIR are the folders of all shards, in any order.",
  positionals: ["DIR…"],
  flags: {
    out: { value: "DIR", description: 'Where the whole goes; "out/eval/merged" where left out.' },
    json: { description: "Print result.json and nothing else." },
  },
  examples: ["ovs eval-merge out/ade/0 out/ade/1 out/ade/2 --out out/ade/all"],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/**
 * Runs `ovs eval-merge`.
 *
 * @param args What was typed after `ovs eval-merge`.
 * @throws {OvsError} For whatever is wrong with the command line or the shards.
 */
export async function evalMerge(args: readonly string[]): Promise<void> {
  const { positionals, flags, help } = parseArguments(evalMergeSpec, args);
  if (help) return await writeText(process.stdout, formatHelp(evalMergeSpec));
  const [{ mergeEvaluations }, { writeReport }] = await Promise.all([
    import("../evaluation/merge.ts"),
    import("../evaluation/report.ts"),
  ]);
  const out = flags.out ?? "out/eval/merged";
  const result = await mergeEvaluations(positionals, out);
  await writeReport(out);
  const remarks = { timing: null, notes: [`${positionals.length} shards`], out };
  await writeText(
    process.stdout,
    flags.json ? JSON.stringify(result, null, 2) + "\n" : formatEvaluation(result, remarks),
  );
}
