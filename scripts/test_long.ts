/**
 * `deno task test:long [--seed N] [--cases N] [--mutations N]`: the laws of the kernels on many more
 * generated cases than `deno task test` takes, on all four WebGPU implementations and the CPU, and
 * the readers of weights and vocabularies on many more mutated inputs; two at a time. It ends with
 * the line `N passed, N failed, N skipped`.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { parseArgs } from "node:util";
import { denoTest } from "./deno_test.ts";
import { runSideBySide, webgpuImplementations } from "./implementations.ts";
import { type PortableRun, runInDeno } from "./portable.ts";
import { setUp } from "./setup.ts";

/** Cases of one round: what a round has computed is forgotten after it. */
const roundCases = 1000;
/** Tests that take OVS_FUZZ_CASES mutated inputs for each reader. */
const fuzzTests = ["test/lib/weights/fuzz_test.ts", "test/lib/text/clip_tokenizer_test.ts"];
/** Milliseconds that they may take. */
const fuzzTimeout = 3_600_000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    seed: { type: "string" },
    cases: { type: "string", default: "20000" },
    mutations: { type: "string", default: "100000" },
  },
});
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const cases = Number(values.cases);
const mutations = Number(values.mutations);
if (![seed, cases, mutations].every(Number.isInteger) || cases <= 0 || mutations <= 0) {
  console.error("--seed takes an integer, --cases and --mutations positive ones");
  Deno.exit(2);
}

const started = performance.now();
const drivers = await setUp();
const env: Record<string, string> = Deno.env.get("XDG_RUNTIME_DIR")
  ? {}
  : { XDG_RUNTIME_DIR: "/tmp" };
console.log(
  `seed ${seed}, ${cases} cases per law, ${mutations} mutated inputs per reader; repeat with ` +
    `--seed ${seed} --cases ${cases} --mutations ${mutations}`,
);

const passed = new Map<string, number>();
const failed = new Set<string>();
const skipped = new Set<string>();
/** Tests of readers, which are counted without their names. */
let readers = { passed: 0, failed: 0, skipped: 0 };

/** Runs the readers' tests. */
async function fuzz(): Promise<void> {
  const begin = performance.now();
  const fuzzing = { ...env, OVS_FUZZ_CASES: String(mutations), OVS_FUZZ_SEED: String(seed) };
  readers = await denoTest([], fuzzTests, fuzzing, fuzzTimeout);
  const took = ((performance.now() - begin) / 1000).toFixed(0);
  console.log(`readers: ${mutations} mutated inputs each, in ${took} s`);
}

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
tasks.push(fuzz);
await runSideBySide(tasks, 2);
await esbuild.stop();

for (const name of failed) passed.delete(name);
console.log(`\nall took ${((performance.now() - started) / 1000).toFixed(0)} s`);
const totals = {
  passed: passed.size + readers.passed,
  failed: failed.size + readers.failed,
  skipped: skipped.size + readers.skipped,
};
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
Deno.exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);
