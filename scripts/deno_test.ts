/**
 * `deno test`, run and counted.
 *
 * @module
 */
import { join } from "node:path";
import { runProcess } from "./process.ts";
import { root } from "./setup.ts";

/** How many tests went which way. */
export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    try {
      await Deno.stat(join(root, path));
      found.push(path);
    } catch {
      // Nothing there.
    }
  }
  return found;
}

/**
 * Runs `deno test` and counts what its report tells. Failures are printed.
 *
 * @param args Options of `deno test`.
 * @param candidates Files and folders; those that don't exist are left out.
 * @param env Environment on top of this process's own.
 * @param timeout Milliseconds until it is killed, which counts as a failure.
 */
export async function denoTest(
  args: readonly string[],
  candidates: readonly string[],
  env: Record<string, string>,
  timeout = 1_200_000,
): Promise<Totals> {
  const paths = await existing(candidates);
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  const { code, output } = await runProcess(
    Deno.execPath(),
    ["test", "-A", ...args, `--junit-path=${report}`, ...paths],
    {
      cwd: root,
      timeout,
      env: { ...env, NO_COLOR: "1" },
      onLine(line) {
        if (/^running [1-9]\d* tests? from /.test(line)) console.log(`  ${line}`);
      },
    },
  );
  const xml = await Deno.readTextFile(report);
  await Deno.remove(report);
  const count = (pattern: RegExp) => xml.match(pattern)?.length ?? 0;
  const all = count(/<testcase /g);
  const skipped = count(/<skipped\/>/g);
  let failed = count(/<(failure|error)[ >]/g);
  if (code !== 0) {
    const errors = output.lastIndexOf("\n ERRORS \n");
    console.log(errors < 0 ? output : output.slice(errors));
    // Nothing but a count of zero tells of a file that doesn't compile.
    failed = Math.max(failed, 1);
  }
  return { passed: Math.max(0, all - skipped - failed), failed, skipped };
}
