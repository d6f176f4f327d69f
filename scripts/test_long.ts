/**
 * `deno task test:long [--seed N] [--cases N]`: the laws of the kernels on many more generated cases
 * than `deno task test` takes, on all four WebGPU implementations and the CPU, two at a time. It
 * ends with the line `N passed, N failed, N skipped`.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { parseArgs } from "node:util";
import { runSideBySide, webgpuImplementations } from "./implementations.ts";
import { type PortableRun, runInDeno } from "./portable.ts";
import { setUp } from "./setup.ts";

/** Cases of one round: what a round has computed is forgotten after it. */
const roundCases = 1000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    seed: { type: "string" },
    cases: { type: "string", default: "20000" },
  },
});
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const cases = Number(values.cases);
if (!(Number.isInteger(seed) && Number.isInteger(cases) && cases > 0)) {
  console.error("--seed takes an integer, --cases a positive one");
  Deno.exit(2);
}

const started = performance.now();
const drivers = await setUp();
const env: Record<string, string> = Deno.env.get("XDG_RUNTIME_DIR")
  ? {}
  : { XDG_RUNTIME_DIR: "/tmp" };
console.log(`seed ${seed}, ${cases} cases per law; repeat with --seed ${seed} --cases ${cases}`);

const passed = new Map<string, number>();
const failed = new Set<string>();
const skipped = new Set<string>();

/** Runs the laws in rounds, each with a seed of its own. */
async function judge(on: string, run: (args: string[]) => Promise<PortableRun>): Promise<void> {
  for (let done = 0, round = 0; done < cases; done += roundCases, round++) {
    const count = Math.min(roundCases, cases - done);
    const begin = performance.now();
    const result = await run([`seed=${(seed + round) % 2 ** 31}`, `cases=${count}`]);
    for (const { name, seconds } of result.passed) {
      passed.set(`${on}: ${name}`, (passed.get(`${on}: ${name}`) ?? 0) + seconds);
    }
    for (const { name } of result.skipped) skipped.add(`${on}: ${name}`);
    for (const { name, error } of result.failed) {
      failed.add(`${on}: ${name}`);
      console.log(`FAILED ${on}: ${name}\n  ${error.replaceAll("\n", "\n  ")}`);
    }
    const took = ((performance.now() - begin) / 1000).toFixed(0);
    console.log(`${on}: ${done + count} of ${cases} cases per law, the last ${count} in ${took} s`);
  }
}

const tasks = webgpuImplementations(drivers, env).map(({ name, missing, run }) => () => {
  if (missing === null) return judge(name, (args) => run(["laws=webgpu", ...args]));
  console.log(`${name}: skipped, ${missing}`);
  skipped.add(name);
  return Promise.resolve();
});
tasks.push(() => judge("CPU", (args) => runInDeno(env, ["laws=cpu", ...args])));
await runSideBySide(tasks, 2);
await esbuild.stop();

for (const name of failed) passed.delete(name);
console.log(`\nall took ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(`${passed.size} passed, ${failed.size} failed, ${skipped.size} skipped`);
Deno.exit(failed.size === 0 && passed.size > 0 ? 0 : 1);
