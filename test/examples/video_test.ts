/**
 * The page in headless Chromium, whose camera shows a rendered scene; needs Chromium, and its
 * software WebGPU for one of the tests.
 *
 * @module
 */
import assert from "node:assert/strict";
import sharp from "sharp";
import { type Browser, chromium, type Page } from "playwright-core";
import { findDrivers } from "../../scripts/drivers.ts";
import { root } from "../../scripts/setup.ts";
import { Folder, type SceneFile, writeScene } from "./run_example.ts";

const executablePath = (await findDrivers()).chromium;
const ignore = executablePath === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1";
const timeout = 900_000;

/** The page as `build.ts` builds and serves it. */
class Served {
  readonly #child: Deno.ChildProcess;

  constructor(folder: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "examples/video/build.ts", folder, "0"],
      cwd: root,
      stdin: "null",
      stdout: "piped",
    }).spawn();
  }

  async url(): Promise<string> {
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value = "" } = await lines.read();
    assert.match(value, /^http:\/\/localhost:\d+\/\n$/);
    return value.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#child.stdout.cancel().catch(() => {});
  }
}

/** Chromium with a camera that shows the scene again and again. */
async function launch(folder: Folder, { path }: SceneFile): Promise<Browser> {
  const film = folder.at("camera.mjpeg");
  await sharp(path).jpeg({ quality: 95 }).toFile(film);
  return await chromium.launch({
    executablePath: executablePath!,
    args: [
      // Its sandbox can't be set up by root in a container; the only page is ours.
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      `--use-file-for-fake-video-capture=${film}`,
    ],
  });
}

/** Counts the frames that are on their way to the worker and back. */
function countFrames(): void {
  const counts = { now: 0, most: 0, sent: 0 };
  Object.assign(globalThis, { counts });
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message: object, transfer?: unknown) {
    if ("bitmap" in message) {
      counts.sent++;
      counts.most = Math.max(counts.most, ++counts.now);
    } else {
      this.addEventListener("message", ({ data }) => {
        if (data.kind !== "ready") counts.now--;
      });
    }
    Reflect.apply(post, this, [message, transfer]);
  };
}

const statusOf = (page: Page) => page.locator("#status").textContent();
const waitForStatus = async (page: Page, pattern: RegExp): Promise<RegExpExecArray> => {
  await page.waitForFunction(
    (source) => new RegExp(source).test(document.getElementById("status")!.textContent!),
    pattern.source,
    { timeout },
  );
  return pattern.exec((await statusOf(page))!)!;
};
const shownOf = async (page: Page) =>
  Number(/ (\d+) shown,/.exec((await statusOf(page)) ?? "")?.[1] ?? 0);
/** Waits for so many frames more, and returns the number of GPU buffers after the last. */
async function waitForFrames(page: Page, count: number): Promise<number> {
  const from = await shownOf(page);
  await page.waitForFunction(
    (least) =>
      Number(/ (\d+) shown,/.exec(document.getElementById("status")!.textContent!)?.[1]) >= least,
    from + count,
    { timeout },
  );
  return Number(/ (\d+) GPU buffers$/.exec((await statusOf(page))!)![1]);
}

async function legendOf(page: Page): Promise<Map<string, number>> {
  const items = await page.locator("#legend li").allTextContents();
  return new Map(items.map((item) => {
    const [, label, share] = /^(.+): ([\d.]+) %$/.exec(item)!;
    return [label!, Number(share)] as const;
  }));
}

/** Whatever holds on any device. */
async function judge(page: Page, url: string, device: string, names: readonly string[]) {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.addInitScript(countFrames);
  await page.goto(`${url}?device=${device}`);
  await page.locator("#classes").fill(names.join(", "));
  await waitForStatus(page, /^Ready on .+\. Choose the camera or a file\.$/);
  await page.locator("#camera").click();
  await waitForFrames(page, 2);

  const legend = await legendOf(page);
  assert.ok(legend.size > 0);
  for (const label of legend.keys()) assert.ok(names.includes(label), label);
  const covered = [...legend.values()].reduce((a, b) => a + b);
  assert.ok(covered > 0 && covered < 100.5, `${covered} %`);
  return { asked, faults };
}

Deno.test({
  name: "examples/video/ segments the camera, and loads everything once",
  ignore,
  async fn() {
    using folder = new Folder();
    const scene = await writeScene(folder);
    await using served = new Served(folder.at("page"));
    const url = await served.url();
    const browser = await launch(folder, scene);
    try {
      const page = await browser.newPage();
      const { asked, faults } = await judge(page, url, "cpu", scene.names);

      // Other words: other labels, and nothing is loaded anew.
      await page.locator("#classes").fill("teapot, violin");
      await page.waitForFunction(
        () =>
          [...document.querySelectorAll("#legend li")].every((item) =>
            /^(teapot|violin): /.test(item.textContent!)
          ),
        null,
        { timeout },
      );
      const models = asked.filter((path) => path.startsWith("/models/"));
      assert.deepEqual(models.sort(), [
        "/models/image_encoder.onnx",
        "/models/mask_decoder.onnx",
        "/models/ovsnet.json",
        "/models/text_encoder.onnx",
        "/models/tokenizer.json",
      ]);
      assert.equal(asked.filter((path) => path.endsWith(".wasm")).length, 1);

      // Words that can't be used are named, and the loop goes on when they are mended.
      await page.locator("#classes").fill("violin, violin");
      await waitForStatus(page, /^class "violin" is there twice/);
      await page.locator("#classes").fill("violin");
      await waitForFrames(page, 1);

      // One frame at a time, whatever the camera's rate.
      const counts = await page.evaluate(() =>
        (globalThis as unknown as {
          counts: { most: number; sent: number };
        }).counts
      );
      assert.ok(counts.sent > 3);
      assert.equal(counts.most, 1);

      await page.evaluate(() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error("Permission denied"));
        document.querySelector("video")!.pause();
      });
      const arrived = () => (globalThis as unknown as { counts: { now: number } }).counts.now === 0;
      await page.waitForFunction(arrived, null, { timeout });
      await page.locator("#camera").click();
      await waitForStatus(page, /^No camera: Permission denied\. Allow it, or choose a file\.$/);
      assert.deepEqual(faults, []);
    } finally {
      await browser.close();
    }
  },
});

Deno.test({
  name: "examples/video/ on WebGPU leaves no more buffers behind with every frame",
  ignore,
  async fn() {
    using folder = new Folder();
    const scene = await writeScene(folder);
    await using served = new Served(folder.at("page"));
    const url = await served.url();
    const browser = await launch(folder, scene);
    try {
      const page = await browser.newPage();
      const { faults } = await judge(page, url, "webgpu", scene.names);
      assert.match((await statusOf(page))!, /on WebGPU/);
      const before = await waitForFrames(page, 1);
      assert.ok(before > 0);
      assert.equal(await waitForFrames(page, 3), before);
      assert.deepEqual(faults, []);
    } finally {
      await browser.close();
    }
  },
});
