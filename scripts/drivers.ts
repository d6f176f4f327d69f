/**
 * Finds, and where it may installs, what the GPU tests need: a software Vulkan driver and Chromium.
 *
 * @module
 */
import { dirname, join } from "node:path";

/** What was found; null where something is missing. */
export interface Drivers {
  /** The manifest of Mesa's software Vulkan driver. */
  readonly lavapipe: string | null;
  /** The manifest of SwiftShader, which ships with Chromium. */
  readonly swiftshader: string | null;
  /** The Chromium executable. */
  readonly chromium: string | null;
}

const chromiums = [
  "/usr/bin/chromium",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const swiftshaders = [
  "/usr/lib/chromium/vk_swiftshader_icd.json",
  "/opt/google/chrome/vk_swiftshader_icd.json",
];
const packages = ["mesa-vulkan-drivers", "chromium"];

/** The one command that installs what is missing. */
export const installCommand =
  `sudo apt-get update && sudo apt-get install --yes --no-install-recommends ${packages.join(" ")}`;

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

async function firstOf(paths: readonly string[]): Promise<string | null> {
  for (const path of paths) if (await exists(path)) return path;
  return null;
}

async function findLavapipe(): Promise<string | null> {
  const folder = "/usr/share/vulkan/icd.d";
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (/^lvp_icd\..*json$/.test(name)) return join(folder, name);
    }
  } catch {
    // No Vulkan at all.
  }
  return null;
}

/** Looks for drivers. OVS_CHROMIUM may name another Chromium. */
export async function findDrivers(): Promise<Drivers> {
  const named = Deno.env.get("OVS_CHROMIUM");
  const chromium = await firstOf(named ? [named] : chromiums);
  const beside = chromium ? [join(dirname(chromium), "vk_swiftshader_icd.json")] : [];
  return {
    lavapipe: await findLavapipe(),
    swiftshader: await firstOf([...beside, ...swiftshaders]),
    chromium,
  };
}

async function apt(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("apt-get", {
    args,
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const lines = new TextDecoder().decode(stderr).trim().split("\n");
  throw new Error(`apt-get ${args[0]} failed: ${lines.at(-1)}`);
}

/**
 * Finds the drivers, and installs what is missing where this is root on Debian or Ubuntu; elsewhere
 * it prints the command to run.
 */
export async function provideDrivers(): Promise<Drivers> {
  const found = await findDrivers();
  if (found.lavapipe && found.swiftshader && found.chromium) return found;
  if (Deno.build.os !== "linux") return found;
  if (Deno.uid() !== 0 || !await exists("/usr/bin/apt-get")) {
    console.log(`GPU tests need ${packages.join(" and ")}; to install them, run:`);
    console.log(`  ${installCommand}`);
    return found;
  }
  console.log(`set-up: installing ${packages.join(" and ")}, which takes a minute or two`);
  try {
    await apt("update");
    await apt("install", "--yes", "--no-install-recommends", ...packages);
  } catch (error) {
    console.log(`set-up: ${error instanceof Error ? error.message : error}`);
  }
  return await findDrivers();
}
