/**
 * `deno task test`: sets up, runs every suite, and ends with the line `N passed, N failed,
 * N skipped`. A GPU test without a GPU is skipped, but fails with OVS_REQUIRE_GPU=1 or CI=true.
 *
 * @module
 */
import { join } from "node:path";
import * as esbuild from "esbuild";
import type { Drivers } from "./drivers.ts";
import { listChecks, type PortableRun, runInChromium, runInDeno, runInNode } from "./portable.ts";
import { runProcess } from "./process.ts";
import { root, setUp } from "./setup.ts";

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
const requireGpu = Deno.env.get("OVS_REQUIRE_GPU") === "1" ||
  ["true", "1"].includes(Deno.env.get("CI") ?? "");
const started = performance.now();

function format({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** Runs one suite, adds to the totals and prints how it went. */
async function suite(name: string, run: () => Promise<Totals>): Promise<void> {
  const begin = performance.now();
  console.log(`\n${name}`);
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
  console.log(`  ${format(result)} in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
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

/** Runs `deno test` and counts what its report tells. */
async function denoTest(
  args: readonly string[],
  candidates: readonly string[],
  env: Record<string, string>,
): Promise<Totals> {
  const paths = await existing(candidates);
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  const { code, output } = await runProcess(
    Deno.execPath(),
    ["test", "-A", ...args, `--junit-path=${report}`, ...paths],
    {
      cwd: root,
      timeout: 1_200_000,
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

/** Counts portable checks; names that the runtime left out are skipped. */
function countPortable(run: PortableRun, left: number): Totals {
  for (const { name, error } of run.failed) {
    console.log(`  FAILED ${name}\n    ${error.replaceAll("\n", "\n    ")}`);
  }
  return { passed: run.passed.length, failed: run.failed.length, skipped: left };
}

async function portable(
  name: string,
  missing: string | null,
  run: () => Promise<PortableRun>,
  fallback: { left: number; run: () => Promise<PortableRun> },
): Promise<void> {
  await suite(`portable checks: ${name}`, async () => {
    if (!missing) return countPortable(await run(), 0);
    console.log(`  ${missing}`);
    const rest = countPortable(await fallback.run(), fallback.left);
    return requireGpu ? { ...rest, failed: rest.failed + rest.skipped, skipped: 0 } : rest;
  });
}

async function portableSuites(drivers: Drivers, env: Record<string, string>): Promise<void> {
  const names = await listChecks();
  const cpuNames = await listChecks(["cpu"]);
  const nothing = () => Promise.resolve({ passed: [], failed: [] });
  const none = { left: names.length, run: nothing };
  const icd = (path: string | null) => ({ ...env, VK_ICD_FILENAMES: path ?? "" });
  if (Deno.build.os !== "linux") {
    await portable("Deno", null, () => runInDeno(env), none);
    await portable("Node", null, () => runInNode(env), none);
  } else {
    const lacks = (what: string) => `needs ${what}, which is not installed`;
    const { lavapipe, swiftshader } = drivers;
    const noSwiftShader = swiftshader ? null : lacks("SwiftShader (Debian's chromium)");
    await portable(
      "Deno (wgpu) on lavapipe",
      lavapipe ? null : lacks("lavapipe (Debian's mesa-vulkan-drivers)"),
      () => runInDeno(icd(lavapipe)),
      none,
    );
    await portable(
      "Deno (wgpu) on SwiftShader",
      noSwiftShader,
      () => runInDeno(icd(swiftshader)),
      none,
    );
    await portable(
      "Node (Dawn) on SwiftShader",
      noSwiftShader,
      () => runInNode(icd(swiftshader)),
      { left: names.length - cpuNames.length, run: () => runInNode(env, ["cpu"]) },
    );
  }
  await portable(
    "Chromium (Dawn) on SwiftShader",
    drivers.chromium ? null : "needs Chromium, which is not installed",
    () => runInChromium(drivers.chromium!),
    none,
  );
}

const drivers = await setUp();
const env: Record<string, string> = {
  ...(requireGpu ? { OVS_REQUIRE_GPU: "1" } : {}),
  // Without it Mesa prints errors about a desktop.
  ...(Deno.env.get("XDG_RUNTIME_DIR") ? {} : { XDG_RUNTIME_DIR: "/tmp" }),
};
await suite("tests in Deno", () => denoTest([], ["test", "examples"], env));
await suite("examples in doc comments and documents", () => {
  const documented = ["mod.ts", "lib", "kernels", "plugins", "README.md", "docs"];
  return denoTest(["--doc"], documented, env);
});
await portableSuites(drivers, env);
await esbuild.stop();

console.log(`\nall suites took ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(format(totals));
Deno.exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);
