/**
 * The built studio in Chromium, for tests that use it as a person would.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";
import { buildStudio, type BuiltScript } from "../../../scripts/build_studio.ts";
import { findDrivers } from "../../../scripts/drivers.ts";

const { chromium: executablePath } = await findDrivers();

/** Whether tests in Chromium are skipped: there is none, and none is required. */
export const ignore = executablePath === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1";

/** Nothing takes this long, even on a machine that has much else to do. */
const patience = 600_000;

/** A built studio that is removed afterwards. */
export interface BuiltStudio extends AsyncDisposable {
  readonly folder: string;
  readonly scripts: readonly BuiltScript[];
}

/** Builds the page with two small scenes. */
export async function build(): Promise<BuiltStudio> {
  const folder = await Deno.makeTempDir({ prefix: "ovs-studio-" });
  try {
    const scripts = await buildStudio({ out: folder, numScenes: 2, sceneSize: 128 });
    return {
      folder,
      scripts,
      [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
    };
  } finally {
    await esbuild.stop();
  }
}

/** Starts Chromium with a camera that shows a test picture; with WebGPU, if it is wanted. */
export async function launch(withGpu: boolean): Promise<Browser> {
  assert(executablePath, "OVS_REQUIRE_GPU is set, but there is no Chromium");
  return await chromium.launch({
    executablePath,
    timeout: patience,
    args: [
      // Its sandbox can't be set up by root in a container; the only page is ours.
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      ...(withGpu
        ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
        : ["--disable-gpu"]),
    ],
  });
}

/** The layout shifts that a page collects while it lives. */
const collectShifts = `
  globalThis.layoutShifts = [];
  new PerformanceObserver((list) => {
    for (const { value, sources } of list.getEntries()) {
      const of = sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
      layoutShifts.push({ value, of });
    }
  }).observe({ type: "layout-shift", buffered: true });
`;

/** A tab with the studio in it. */
export class StudioPage implements AsyncDisposable {
  readonly page: Page;
  /** What went wrong without anybody being told. */
  readonly errors: string[] = [];
  /** The WebAssembly files that were asked for. */
  readonly runtimes = new Set<string>();

  private constructor(page: Page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(error.stack ?? error.message));
    page.on("request", (request) => {
      const name = new URL(request.url()).pathname.split("/").at(-1)!;
      if (name.endsWith(".wasm")) this.runtimes.add(name);
    });
  }

  /** Opens a tab with storage of its own; `prepare` is run before the page is asked for. */
  static async open(
    browser: Browser,
    url: string,
    prepare: (page: Page) => Promise<void> = async () => {},
  ): Promise<StudioPage> {
    const context = await browser.newContext({
      viewport: { width: 1360, height: 940 },
      colorScheme: "light",
      acceptDownloads: true,
    });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], {
      origin: new URL(url).origin,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    page.setDefaultNavigationTimeout(patience);
    await page.addInitScript(collectShifts);
    await prepare(page);
    const studio = new StudioPage(page);
    await page.goto(url);
    return studio;
  }

  /** Waits until nothing is under way. */
  async settle(): Promise<void> {
    await this.page.locator('#main[aria-busy="false"]').waitFor();
  }

  /** The classes, as the chips name them. */
  async classes(): Promise<string[]> {
    return await this.page.locator("#chip-list li span").allTextContents();
  }

  /** The roles of the stages that the last change ran. */
  async stagesRun(): Promise<string[]> {
    return await this.page.locator("#stages tr:not(.kept) th").allTextContents();
  }

  /** Waits for a message that matches, closes it, and returns it. */
  async notice(pattern: RegExp): Promise<string> {
    const notice = this.page.locator(".notice").filter({ hasText: pattern });
    await notice.waitFor();
    const text = await notice.locator("p").textContent();
    await notice.getByLabel("Close the message").click();
    return text!;
  }

  /** Clicks something that saves a file, and reads the file. */
  async save(button: string): Promise<{ name: string; bytes: Buffer }> {
    const [download] = await Promise.all([
      this.page.waitForEvent("download"),
      this.page.locator(button).click(),
    ]);
    return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
  }

  /** Opens a file by the picker. */
  async choose(name: string, mimeType: string, bytes: Uint8Array): Promise<void> {
    await this.page.locator("#file").setInputFiles({
      name,
      mimeType,
      buffer: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    });
  }

  /** Ends the worker from within, as a crash would; no event tells of it. */
  async killWorker(): Promise<void> {
    await this.page.workers().at(-1)!.evaluate(() => globalThis.close());
  }

  /** What axe-core finds, in words. */
  async accessibilityViolations(): Promise<string[]> {
    const { page } = this;
    if (!await page.evaluate(() => "axe" in globalThis)) {
      const path = createRequire(import.meta.url).resolve("axe-core");
      await page.addScriptTag({ path: join(path, "../axe.min.js") });
    }
    return await page.evaluate(async () => {
      interface Axe {
        run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
      }
      const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run();
      return violations.map(({ id, nodes }) =>
        `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join("; ")}`
      );
    });
  }

  /** All layout shifts so far. */
  async layoutShifts(): Promise<unknown[]> {
    return await this.page.evaluate(() =>
      (globalThis as unknown as { layoutShifts: unknown[] }).layoutShifts
    );
  }

  /** Closes the tab; fails if an error went unnoticed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
    assert.deepEqual(this.errors, []);
  }
}
