/**
 * How long people wait in the studio: for the first segmentation, for a change of ω while they slide,
 * and until it is whole once they rest.
 *
 * @module
 */
import { join } from "node:path";
import * as esbuild from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import { DeviceError } from "../../lib/errors.ts";
import { buildStudio } from "../build_studio.ts";
import { findDrivers, installCommand } from "../drivers.ts";
import { serveFolder } from "../serve_folder.ts";
import { root } from "../setup.ts";

/** One figure. */
export interface StudioRow {
  /** What is waited for. */
  readonly wait: string;
  /** What the page runs on, in its own words. */
  readonly device: string;
  /** Median milliseconds. */
  readonly ms: number;
  /** The longest. */
  readonly slowestMs: number;
  /** How often it was measured. */
  readonly rounds: number;
  /** The browser. */
  readonly browser: string;
}

/** Options of {@linkcode benchStudio}. */
export interface StudioBenchOptions {
  /** Fewer rounds. */
  readonly quick: boolean;
  /** Called with each figure. */
  report(row: StudioRow): void;
}

const timeout = 600_000;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Opens the page and waits for its first result; milliseconds since the navigation began. */
async function open(page: Page, url: string): Promise<number> {
  await page.goto(url);
  await page.locator('#main[aria-busy="false"]').waitFor();
  return await page.evaluate(() => performance.getEntriesByName("studio:shown")[0]!.startTime);
}

/**
 * Milliseconds from a change of ω until a frame shows it, for each of some changes in a row.
 *
 * @param until The next frame with a result, as somebody slides; or that with the whole one, at rest.
 */
async function changes(page: Page, rounds: number, until: "shown" | "whole"): Promise<number[]> {
  return await page.evaluate(async ({ rounds, until }) => {
    const slider = document.querySelector<HTMLInputElement>("#omega")!;
    const main = document.querySelector("#main")!;
    const total = document.querySelector("#total")!;
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const seen = new Promise<void>((resolve) => {
        const observer = new MutationObserver(() => {
          if (until === "whole" && main.ariaBusy === "true") return;
          observer.disconnect();
          requestAnimationFrame(() => resolve());
        });
        if (until === "whole") observer.observe(main, { attributeFilter: ["aria-busy"] });
        else observer.observe(total, { childList: true });
      });
      const start = performance.now();
      slider.valueAsNumber = 0.1 + 0.8 * i / rounds;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      await seen;
      times.push(performance.now() - start);
    }
    return times;
  }, { rounds, until });
}

async function measure(
  browser: Browser,
  url: string,
  device: "auto" | "webgpu",
  { quick, report }: StudioBenchOptions,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 940 } });
  context.setDefaultTimeout(timeout);
  const row = (wait: string, device: string, times: readonly number[]): StudioRow => ({
    wait,
    device,
    ms: median(times),
    slowestMs: Math.max(...times),
    rounds: times.length,
    browser: `Chromium ${browser.version()}`,
  });
  const page = await context.newPage();
  // Fills the caches.
  await open(page, url);
  if (device === "auto") {
    const times: number[] = [];
    for (let i = 0; i < (quick ? 2 : 7); i++) times.push(await open(page, url));
    const words = await page.locator("#badge-text").textContent();
    report(row("first segmentation, 512×512, warm cache", words!, times));
  } else {
    await page.locator("#device").selectOption(device);
    await page.locator("#badge.gpu").waitFor();
    await page.locator('#main[aria-busy="false"]').waitFor();
  }
  await changes(page, 3, "shown");
  const words = await page.locator("#badge-text").textContent();
  report(row("ω slides, 512×512", words!, await changes(page, quick ? 5 : 30, "shown")));
  await page.locator('#main[aria-busy="false"]').waitFor();
  report(
    row("ω changed, whole again, 512×512", words!, await changes(page, quick ? 3 : 10, "whole")),
  );
  await context.close();
}

/**
 * Builds the page and measures it in headless Chromium, on the CPU and with the kernels on its
 * software GPU.
 *
 * @throws {DeviceError} If there is no Chromium.
 */
export async function benchStudio(options: StudioBenchOptions): Promise<void> {
  const { chromium: executablePath } = await findDrivers();
  if (executablePath === null) {
    throw new DeviceError(`there is no Chromium; to install it, run: ${installCommand}`);
  }
  const out = join(root, ".cache/bench-studio");
  await buildStudio({ out });
  await esbuild.stop();
  await using server = serveFolder(out);
  const browser = await chromium.launch({
    executablePath,
    timeout,
    args: [
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
    ],
  });
  try {
    await measure(browser, server.url, "auto", options);
    await measure(browser, server.url, "webgpu", options);
  } finally {
    await browser.close();
  }
}
