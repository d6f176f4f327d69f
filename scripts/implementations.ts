/**
 * The WebGPU implementations that can be tested on this machine, and the engine of the CPU.
 *
 * @module
 */
import type { Drivers } from "./drivers.ts";
import { type PortableRun, runInChromium, runInDeno, runInNode } from "./portable.ts";

/** One runtime with its WebGPU. */
export interface WebGpuImplementation {
  /** For people. */
  readonly name: string;
  /** What keeps it from running here; null where nothing does. */
  readonly missing: string | null;
  /** Share of a law's cases that `deno task test` judges there. */
  readonly share: number;
  /** Runs the portable checks there, with arguments for `test/portable/main.ts`. */
  run(args: string[]): Promise<PortableRun>;
  /** Runs what needs no GPU where that one is missing; null where there is nothing to run. */
  readonly runWithoutGpu: ((args: string[]) => Promise<PortableRun>) | null;
}

/**
 * All of them: on Linux with the software drivers by name, elsewhere with what the system has. The
 * slowest come first.
 */
export function webgpuImplementations(
  { lavapipe, swiftshader, chromium }: Drivers,
  env: Record<string, string>,
): WebGpuImplementation[] {
  const lacks = (path: string | null, what: string) =>
    path ? null : `needs ${what}, which is not installed`;
  const icd = (path: string | null) => ({ ...env, VK_ICD_FILENAMES: path ?? "" });
  const noSwiftShader = lacks(swiftshader, "SwiftShader (Debian's chromium)");
  // Chromium, Node and Deno have SwiftShader in common, and a quarter of the cases each.
  const inChromium: WebGpuImplementation = {
    name: "Chromium (Dawn) on SwiftShader",
    share: 0.25,
    missing: lacks(chromium, "Chromium"),
    run: (args) => runInChromium(chromium!, args),
    runWithoutGpu: null,
  };
  if (Deno.build.os !== "linux") {
    return [
      inChromium,
      {
        name: "Node",
        share: 1,
        missing: null,
        run: (args) => runInNode(env, args),
        runWithoutGpu: null,
      },
      {
        name: "Deno",
        share: 1,
        missing: null,
        run: (args) => runInDeno(env, args),
        runWithoutGpu: null,
      },
    ];
  }
  return [
    inChromium,
    {
      name: "Node (Dawn) on SwiftShader",
      share: 0.25,
      missing: noSwiftShader,
      run: (args) => runInNode(icd(swiftshader), args),
      runWithoutGpu: (args) => runInNode(env, ["cpu", ...args]),
    },
    {
      name: "Deno (wgpu) on SwiftShader",
      share: 0.25,
      missing: noSwiftShader,
      run: (args) => runInDeno(icd(swiftshader), args),
      runWithoutGpu: null,
    },
    {
      name: "Deno (wgpu) on lavapipe",
      share: 1,
      missing: lacks(lavapipe, "lavapipe (Debian's mesa-vulkan-drivers)"),
      run: (args) => runInDeno(icd(lavapipe), args),
      runWithoutGpu: null,
    },
  ];
}

/** Runs tasks in their order, a few at a time. */
export async function runSideBySide(
  tasks: readonly (() => Promise<void>)[],
  atATime: number,
): Promise<void> {
  const left = [...tasks];
  const work = async () => {
    for (let task = left.shift(); task !== undefined; task = left.shift()) await task();
  };
  await Promise.all(Array.from({ length: atATime }, work));
}
