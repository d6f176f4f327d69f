/**
 * Sets a fresh clone up: `deno task setup`. The other tasks do it by themselves.
 *
 * @module
 */
import { type Drivers, provideDrivers } from "./drivers.ts";
import { runProcess } from "./process.ts";

/** The repository's root. */
export const root = new URL("..", import.meta.url).pathname;

/**
 * Installs the npm packages into node_modules/, and for the GPU tests a software Vulkan driver and
 * Chromium.
 *
 * @throws {Error} If the packages can't be installed.
 */
export async function setUp(): Promise<Drivers> {
  console.log("set-up: npm packages");
  const { code, output } = await runProcess(Deno.execPath(), ["install", "--quiet"], {
    cwd: root,
    timeout: 600_000,
  });
  if (code !== 0) throw new Error(`deno install failed:\n${output}`);
  const drivers = await provideDrivers();
  for (const [name, path] of Object.entries(drivers)) {
    console.log(`set-up: ${name}: ${path ?? "not found"}`);
  }
  return drivers;
}

if (import.meta.main) await setUp();
