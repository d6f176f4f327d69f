/**
 * `deno task test`: sets up, runs every suite, and ends with the line `N passed, N failed,
 * N skipped`. A GPU test without a GPU is skipped, but fails with OVS_REQUIRE_GPU=1 or CI=true.
 * OVS_KERNEL_CASES sets how many generated cases judge each of the kernels' laws, in place of 1000;
 * the three on SwiftShader, which have the driver in common, judge a quarter of them each.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { denoTest, type Totals } from "./deno_test.ts";
import type { Drivers } from "./drivers.ts";
import { runSideBySide, webgpuImplementations } from "./implementations.ts";
import { listChecks, type PortableRun, runInDeno } from "./portable.ts";
import { setUp } from "./setup.ts";

const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
const requireGpu = Deno.env.get("OVS_REQUIRE_GPU") === "1" ||
  ["true", "1"].includes(Deno.env.get("CI") ?? "");
const firstSeed = 20250701;
const started = performance.now();

function format({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** Runs one suite, adds to the totals and prints how it went. */
async function suite(name: string, run: () => Promise<Totals>): Promise<void> {
  const begin = performance.now();
  let result: Totals;
  try {
    result = await run();
  } catch (error) {
    console.log(`  ${error instanceof Error ? error.message : error}`);
    result = { passed: 0, failed: 1, skipped: 0 };
  }
  totals.passed += result.passed;
  totals.failed += result.failed;
  totals.skipped += result.skipped;
  console.log(`${name}: ${format(result)} in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
}

/** Counts portable checks; `left` more are skipped because the runtime has no GPU. */
function countPortable({ passed, failed, skipped }: PortableRun, left: number): Totals {
  for (const { name, error } of failed) {
    console.log(`  FAILED ${name}\n    ${error.replaceAll("\n", "\n    ")}`);
  }
  for (const { name, reason } of skipped) console.log(`  skipped ${name}: ${reason}`);
  return { passed: passed.length, failed: failed.length, skipped: skipped.length + left };
}

/** The portable checks of every implementation, and the laws of the kernels on the CPU. */
async function portableSuites(drivers: Drivers, env: Record<string, string>): Promise<void> {
  const cases = Number(Deno.env.get("OVS_KERNEL_CASES") ?? 1000);
  const all = (await listChecks()).length;
  const withoutGpu = (await listChecks(["cpu"])).length;
  const suites = webgpuImplementations(drivers, env).map((implementation, index) => () =>
    suite(`portable checks: ${implementation.name}`, async () => {
      const { missing, share, run, runWithoutGpu } = implementation;
      // Every implementation judges cases of its own.
      const args = [`cases=${Math.ceil(share * cases)}`, `seed=${firstSeed + index}`];
      if (missing === null) return countPortable(await run(args), 0);
      console.log(`  ${missing}`);
      const rest = runWithoutGpu
        ? countPortable(await runWithoutGpu(args), all - withoutGpu)
        : { passed: 0, failed: 0, skipped: all };
      return requireGpu ? { ...rest, failed: rest.failed + rest.skipped, skipped: 0 } : rest;
    })
  );
  suites.push(() =>
    suite(
      "kernels on the CPU",
      async () => countPortable(await runInDeno(env, ["laws=cpu", `cases=${cases}`]), 0),
    )
  );
  // Small kernels keep one core each.
  await runSideBySide(suites, 2);
}

const drivers = await setUp();
const env: Record<string, string> = {
  ...(requireGpu ? { OVS_REQUIRE_GPU: "1" } : {}),
  // Without it Mesa prints errors about a desktop.
  ...(Deno.env.get("XDG_RUNTIME_DIR") ? {} : { XDG_RUNTIME_DIR: "/tmp" }),
};
console.log("\ntests in Deno");
await suite("tests in Deno", () => denoTest([], ["test", "examples"], env));
console.log("\nexamples in doc comments and documents");
await suite("examples in doc comments and documents", () => {
  const documented = ["mod.ts", "lib", "kernels", "plugins", "README.md", "docs"];
  return denoTest(["--doc"], documented, env);
});
console.log("\nportable checks, two implementations at a time");
await portableSuites(drivers, env);
await esbuild.stop();

console.log(`\nall suites took ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(format(totals));
Deno.exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);
