/**
 * The program that every runtime runs: all portable checks, one line of output for each.
 * Arguments (of the command line, or of the page's address): `list` only names the checks, `cpu`
 * leaves out those that need a GPU, `laws=webgpu` and `laws=cpu` take nothing but the kernels' laws on
 * that engine, `match=WORD` those whose name holds a word, `cases=N` sets the generated cases for each
 * law and `seed=N` where they come from.
 *
 * @module
 */
import type { AcquireOptions } from "../../plugins/runtimes/mod.ts";
import { agreementChecks } from "./agreement_checks.ts";
import { type Check, runChecks } from "./check.ts";
import { kernelChecks } from "./kernel_checks.ts";
import { kitChecks } from "./kit_checks.ts";
import { cpuChecks, gpuChecks } from "./runtime_checks.ts";

const { process, location } = globalThis as {
  process?: { argv: string[] };
  location?: { search: string; href: string };
};
const inBrowser = !process;
const args = inBrowser ? (location?.search ?? "").slice(1).split("&") : process.argv.slice(2);

function given(name: string): string | undefined {
  return args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
}

const seed = Number(given("seed") ?? 20250701);
const cases = Number(given("cases") ?? 8);
const only = given("laws") as "webgpu" | "cpu" | undefined;
const options: AcquireOptions = inBrowser ? { wasmPaths: "/onnxruntime-web/" } : {};
const checks: Check[] = only ? kernelChecks(only, options, seed, cases) : [
  ...cpuChecks(options, seed),
  ...kitChecks(seed),
  // Only a page has a server that tells what Deno sees.
  ...(inBrowser ? agreementChecks(options, location!.href) : []),
  ...(args.includes("cpu")
    ? []
    : [...gpuChecks(options, seed), ...kernelChecks("webgpu", options, seed, cases)]),
];

function report(line: Record<string, unknown>): void {
  console.log(`ovstage-check ${JSON.stringify(line)}`);
}

if (args.includes("list")) {
  for (const { name } of checks) report({ name });
} else {
  const word = given("match") ?? "";
  const chosen = checks.filter(({ name }) => name.includes(word));
  for await (const result of runChecks(chosen)) report({ ...result });
}
report({ done: true });
