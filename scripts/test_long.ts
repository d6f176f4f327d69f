/**
 * `deno task test:long [--seed N] [--cases N] [--mutations N] [--segmentations N]`: the laws of the
 * kernels on many more generated cases than `deno task test` takes, on all four WebGPU implementations
 * and the CPU, and the readers of weights and vocabularies on many more mutated inputs; two at a time.
 * Before that, alone, since memory is measured: 1,000 segmentations in one process, on the CPU, with
 * the kernels and with the networks too on WebGPU, which have to level off; and the package for npm as
 * npm installs it. It ends with the line `N passed, N failed, N skipped`.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { parseArgs } from "node:util";
import { denoTest, type Totals } from "./deno_test.ts";
import { runSideBySide, webgpuImplementations } from "./implementations.ts";
import { type PortableRun, runInDeno } from "./portable.ts";
import { runProcess } from "./process.ts";
import { root, setUp } from "./setup.ts";

/** Cases of one round: what a round has computed is forgotten after it. */
const roundCases = 1000;
/** Tests that take OVS_FUZZ_CASES mutated inputs for each reader. */
const fuzzTests = ["test/lib/weights/fuzz_test.ts", "test/lib/text/clip_tokenizer_test.ts"];
/** Milliseconds that they may take, and each of the others that are run once. */
const longTimeout = 3_600_000;
/** Where many segmentations run. */
interface Place {
  /** Arguments of `test/endurance/segment_often.ts`. */
  readonly args: readonly string[];
  /** The Vulkan driver that Linux needs. */
  readonly driver?: "lavapipe" | "swiftshader";
}
const often: Readonly<Record<string, Place>> = {
  "the CPU": { args: ["--device", "cpu"] },
  "WebGPU, networks on the CPU": { args: ["--device", "webgpu"], driver: "lavapipe" },
  // Not on lavapipe, which compiles some of the networks' shaders anew each time and keeps them all.
  "WebGPU, networks too": {
    args: ["--device", "webgpu", "--networks", "webgpu"],
    driver: "swiftshader",
  },
};

const { values } = parseArgs({
  args: Deno.args,
  options: {
    seed: { type: "string" },
    cases: { type: "string", default: "20000" },
    mutations: { type: "string", default: "100000" },
    segmentations: { type: "string", default: "1000" },
  },
});
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const cases = Number(values.cases);
const mutations = Number(values.mutations);
const segmentations = Number(values.segmentations);
const counts = [cases, mutations, segmentations];
if (![seed, ...counts].every(Number.isInteger) || counts.some((count) => count <= 0)) {
  console.error("--seed takes an integer; --cases, --mutations and --segmentations positive ones");
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
/** Tests of readers and of the package for npm, which are counted without their names. */
const unnamed: Totals = { passed: 0, failed: 0, skipped: 0 };

function add(more: Totals): void {
  for (const kind of ["passed", "failed", "skipped"] as const) unnamed[kind] += more[kind];
}

/** Segments many times in a process of its own, which says whether it levels off. */
async function segmentOften(where: string, { args, driver }: Place): Promise<void> {
  const name = `${segmentations} segmentations on ${where}`;
  const path = driver === undefined ? null : drivers[driver];
  if (driver !== undefined && path === null && Deno.build.os === "linux") {
    console.log(`${name}: skipped, needs ${driver}`);
    skipped.add(name);
    return;
  }
  const program = "test/endurance/segment_often.ts";
  const { code, output } = await runProcess(
    Deno.execPath(),
    ["run", "-A", "--v8-flags=--expose-gc", program, "--runs", String(segmentations), ...args],
    { cwd: root, timeout: longTimeout, env: { ...env, ...(path && { VK_ICD_FILENAMES: path }) } },
  );
  console.log(output.trimEnd());
  if (code === 0) passed.set(name, 0);
  else {
    failed.add(name);
    console.log(`FAILED ${name}`);
  }
}

/** The package for npm, its dependencies installed by npm. */
async function installFromNpm(): Promise<void> {
  const begin = performance.now();
  add(await denoTest([], ["test/npm"], { ...env, OVS_NPM_INSTALL: "1" }, longTimeout));
  console.log(`npm install of the tarball: ${((performance.now() - begin) / 1000).toFixed(0)} s`);
}

/** Runs the readers' tests. */
async function fuzz(): Promise<void> {
  const begin = performance.now();
  const fuzzing = { ...env, OVS_FUZZ_CASES: String(mutations), OVS_FUZZ_SEED: String(seed) };
  add(await denoTest([], fuzzTests, fuzzing, longTimeout));
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

for (const [where, place] of Object.entries(often)) await segmentOften(where, place);
await installFromNpm();
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
  passed: passed.size + unnamed.passed,
  failed: failed.size + unnamed.failed,
  skipped: skipped.size + unnamed.skipped,
};
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
Deno.exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);
