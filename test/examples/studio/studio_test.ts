import assert from "node:assert/strict";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readFile } from "node:fs/promises";
import { decode } from "fast-png";
import sharp from "sharp";
import { acquireDevice, modelsAt, toHex } from "@ovstage/ovstage";
import { Session } from "../../../examples/studio/session.ts";
import { renderSceneOnDemand } from "../../../plugins/datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../../../plugins/datasets/emoji_scenes/seeds.ts";
import { loadSplits } from "../../../plugins/datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../../../plugins/datasets/emoji_scenes/sprites.ts";
import { serveFolder } from "../../../scripts/serve_folder.ts";
import { hugePng } from "./image_files.ts";
import { build, ignore, launch, StudioPage } from "./studio_page.ts";

const tail = ["Fuser", "Classifier", "Segmenter"];
const alphabet = Array.from({ length: 26 }, (_, i) => `letter ${String.fromCharCode(97 + i)}`);
const inChromium = { sanitizeOps: false, sanitizeResources: false, ignore };

/** A scene as a PNG file, and its pixels. */
async function renderPng() {
  const { seen } = loadSplits();
  const options = { seed: firstUnseenSeed + 3, size: 112, categories: seen };
  const { width, height, rgb, segments } = await renderSceneOnDemand(
    options,
    SpriteStore.onDemand(),
  );
  const raw = { raw: { width, height, channels: 3 as const } };
  const names = [...new Set(segments.map(({ category }) => category))];
  return {
    picture: { key: 1, width, height, rgb: new Uint8Array(rgb) },
    names,
    png: new Uint8Array(await sharp(rgb, raw).png().toBuffer()),
  };
}

/** The colour in the middle of a region of a screenshot. */
async function colourAt(png: Uint8Array, x: number, y: number): Promise<string> {
  const area = { left: Math.round(x), top: Math.round(y), width: 1, height: 1 };
  const { data } = await sharp(png).removeAlpha().extract(area).raw().toBuffer({
    resolveWithObject: true,
  });
  return toHex([data[0]!, data[1]!, data[2]!]);
}

Deno.test({
  name: "the studio in Chromium",
  ...inChromium,
  async fn(t) {
    await using studio = await build();
    await using server = serveFolder(studio.folder, { isolated: false });
    await using isolatedServer = serveFolder(studio.folder);

    await t.step("its scripts and styles are less than 200 kB, compressed", async () => {
      const own = studio.scripts.filter(({ isRuntime }) => !isRuntime).map(({ path }) => path);
      assert.ok(own.includes("main.js") && own.includes("worker.js"));
      let total = 0;
      for (const path of [...own, "style.css", "index.html"]) {
        total += gzipSync(await readFile(join(studio.folder, path))).length;
      }
      assert.ok(total > 10_000 && total < 200_000, `${total} bytes`);
    });

    await t.step("without WebGPU", async (t) => {
      const browser = await launch(false);
      try {
        await withoutGpu(t, await StudioPage.open(browser, server.url));
        await t.step(
          "models missing or cut short; threads on a server that allows them",
          async () => {
            await brokenModels(
              await StudioPage.open(browser, isolatedServer.url, async (page) => {
                await page.route(
                  "**/mask_decoder.onnx*",
                  (route) => route.fulfill({ status: 404 }),
                );
              }),
            );
          },
        );
      } finally {
        await browser.close();
      }
    });

    await t.step("with WebGPU", async (t) => {
      const browser = await launch(true);
      try {
        await withGpu(t, await StudioPage.open(browser, server.url));
      } finally {
        await browser.close();
      }
    });
  },
});

/** Steps that each begin where the last one ended: after a failure the others would wait in vain. */
function inOrder(t: Deno.TestContext) {
  let isBroken = false;
  return async (name: string, fn: () => Promise<void>): Promise<void> => {
    const isDone = await t.step({ name, fn, ignore: isBroken });
    isBroken ||= !isDone;
  };
}

async function withoutGpu(t: Deno.TestContext, opened: StudioPage): Promise<void> {
  await using studio = opened;
  const { page } = studio;
  const step = inOrder(t);
  const input = page.locator("#class-input");
  const status = page.locator("#status");

  await step("shows a scene by itself, and says plainly that it is on the CPU", async () => {
    await studio.settle();
    assert.equal(await page.locator("#badge-text").textContent(), "On the CPU, no GPU");
    const text = await page.locator("#device-text").textContent();
    assert.match(text!, /^Fell back to the CPU: .*WebGPU.*one thread: the server does not send/);
    assert.match(await status.textContent() ?? "", /^\d+ of \d+ classes found$/);
    assert.match(
      await page.locator("#caption").textContent() ?? "",
      /^scene-\d+\.webp, 128 × 128$/,
    );
    assert.ok((await studio.classes()).length >= 4);
    assert.equal((await studio.stagesRun()).length, 7);
    assert.deepEqual(await page.locator("#stages td:nth-child(2)").allTextContents(), [
      ...Array<string>(7).fill("CPU"),
    ]);
    // The one with WebGPU is twice as large, and slower.
    assert.deepEqual([...studio.runtimes], ["ort-wasm-simd-threaded.wasm"]);
  });

  const { picture, names, png } = await renderPng();
  await step("takes a file, and classes that are typed and pasted", async () => {
    await page.locator("#clear").click();
    assert.equal(await status.textContent(), "Add a class to look for");
    assert.ok(await page.locator("#export-png").isDisabled());
    await page.getByRole("button", { name: "Close the message" }).click();
    await studio.choose("a scene.png", "image/png", png);
    await page.locator("#caption").filter({ hasText: "a scene.png, 112 × 112" }).waitFor();
    // A comma adds, and so does Enter.
    await input.pressSequentially(`${names[0]},${names[1]}`);
    await page.keyboard.press("Enter");
    assert.deepEqual(await studio.classes(), names.slice(0, 2));
    await page.evaluate((text) => navigator.clipboard.writeText(text), names.join("\n"));
    await input.focus();
    await page.keyboard.press("ControlOrMeta+V");
    await page.locator("#chip-list li").nth(names.length - 1).waitFor();
    assert.deepEqual(await studio.classes(), names);
    await studio.settle();
    assert.equal(await input.inputValue(), "");
    // Only the words are new.
    assert.deepEqual(await studio.stagesRun(), ["Text encoder", ...tail]);
  });

  await step("labels 99.9 % of the pixels as Deno does; exports agree on colours", async () => {
    await using device = await acquireDevice("cpu", { threads: 1 });
    const models = modelsAt(new URL("../../../models/", import.meta.url));
    const session = await Session.open(device, models);
    const settings = { names, fuser: "gfa", omega: 0.5, lambda: 10 } as const;
    const expected = await session.segment(picture, settings);
    await session.dispose();

    const labels = await studio.save("#export-labels");
    assert.equal(labels.name, "a scene.labels.png");
    const { data, width, palette } = decode(labels.bytes);
    assert.equal(width, picture.width);
    const same = expected.labels.filter((label, i) => (label < 0 ? 255 : label) === data[i]);
    assert.ok(same.length >= 0.999 * data.length, `${same.length} of ${data.length}`);

    const json = await studio.save("#export-json");
    assert.equal(json.name, "a scene.json");
    const document = JSON.parse(json.bytes.toString());
    assert.deepEqual(document.classes, names);
    assert.deepEqual(document.settings, { fuser: "gfa", omega: 0.5, lambda: 10 });
    const areas = new Map<number, number>();
    for (const label of data) areas.set(label, (areas.get(label) ?? 0) + 1);
    assert.equal(document.voidArea, areas.get(255) ?? 0);
    for (const { index, label, area, color } of document.segments) {
      assert.equal(label, names[index]);
      assert.equal(area, areas.get(index));
      assert.equal(color, toHex(palette![index] as [number, number, number]));
    }
    const overlay = await studio.save("#export-png");
    assert.equal(overlay.name, "a scene.overlay.png");
    assert.ok(decode(overlay.bytes).width >= 1000);
  });

  await step("a dragged slider changes what GFA and its followers compute", async () => {
    // While anything is under way there is nothing to save: files would contradict each other.
    await page.evaluate(() => {
      const main = document.getElementById("main")!;
      const button = document.getElementById("export-json") as HTMLButtonElement;
      const seen: boolean[] = [];
      Object.assign(globalThis, { seen });
      new MutationObserver(() => main.ariaBusy === "true" && seen.push(button.disabled))
        .observe(main, { attributes: true });
    });
    const slider = page.locator("#omega");
    const box = (await slider.boundingBox())!;
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + 0.1 * box.width, y);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.5 * box.width, y, { steps: 4 });
    await page.mouse.move(box.x + 0.8 * box.width, y, { steps: 2 });
    await page.mouse.up();
    await studio.settle();
    const value = Number(await slider.inputValue());
    assert.ok(value > 0.7 && value < 0.9, `ω is ${value}`);
    assert.equal(await page.locator("#omega-value").textContent(), value.toFixed(2));
    assert.deepEqual(await studio.stagesRun(), tail);
    const seen = await page.evaluate(() => (globalThis as unknown as { seen: boolean[] }).seen);
    assert.ok(seen.length > 0 && seen.every((isDisabled) => isDisabled), seen.join());
    // No draft is left standing: it could not be exported.
    assert.ok(await page.locator("#export-labels").isEnabled());
    await page.locator("#lambda").press("ArrowRight");
    await studio.settle();
    assert.deepEqual(await studio.stagesRun(), tail);
    await page.getByText("Mean", { exact: true }).click();
    await studio.settle();
    assert.deepEqual(await studio.stagesRun(), tail);
    assert.ok(await slider.isDisabled());
    await page.getByText("GFA", { exact: true }).click();
    await studio.settle();
    assert.ok(await slider.isEnabled());
  });

  await step("pointer and arrow keys tell a segment's name, score and runners-up", async () => {
    const largest = page.locator("#found button").first();
    const name = await largest.getAttribute("data-label");
    const viewer = (await page.locator("#viewer").boundingBox())!;
    const side = Math.min(viewer.width, viewer.height);
    const [left, top] = [
      viewer.x + (viewer.width - side) / 2,
      viewer.y + (viewer.height - side) / 2,
    ];
    const { bytes } = await studio.save("#export-labels");
    const index = names.indexOf(name!);
    const { data, width } = decode(bytes);
    // A pixel whose neighbours are the segment's as well, so that no outline is drawn there.
    const inside = (i: number) =>
      [0, 1, -1, 2, -2, width, -width, 2 * width, -2 * width].every((to) => data[i + to] === index);
    const at = data.findIndex((_, i) => i % width > 5 && i % width < width - 5 && inside(i));
    const scale = side / width;
    const [x, y] = [at % width + 0.5, Math.floor(at / width) + 0.5];
    await page.mouse.move(left + x * scale, top + y * scale, { steps: 3 });
    const tip = page.locator("#tip");
    await tip.locator("li").nth(3).waitFor();
    assert.equal(await tip.locator("b span").textContent(), name);
    assert.equal(await tip.locator("li span").first().textContent(), name);
    await page.mouse.move(5, 5);
    await tip.waitFor({ state: "hidden" });

    // Opaque colours look like the legend's.
    await page.locator("#opacity").press("End");
    await page.locator("#show-names").uncheck();
    const shot = await page.locator("#viewer").screenshot();
    const swatch = await largest.evaluate((button) => button.style.getPropertyValue("--colour"));
    assert.equal(
      await colourAt(shot, left - viewer.x + x * scale, top - viewer.y + y * scale),
      swatch,
    );
    await page.locator("#show-names").check();

    await page.locator("#viewer").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Shift+ArrowDown");
    const said = page.locator("#spoken").filter({ hasText: /, score [\d.]+; .+ [\d.]+/ });
    await said.waitFor();
    assert.ok(await page.locator("#cross").isVisible());
    await page.keyboard.press("Escape");
    assert.ok(await page.locator("#cross").isHidden());
  });

  await step("chips go by click and by Backspace, and Clear can be undone", async () => {
    await page.getByRole("button", { name: `Remove ${names[0]}`, exact: true }).click();
    assert.deepEqual(await studio.classes(), names.slice(1));
    await input.focus();
    await page.keyboard.press("Backspace");
    assert.deepEqual(await studio.classes(), names.slice(1, -1));
    // Whoever types goes on typing.
    await page.keyboard.type("unicorn");
    await page.keyboard.press("Enter");
    assert.deepEqual(await studio.classes(), [...names.slice(1, -1), "unicorn"]);
    await page.keyboard.press("Backspace");
    await page.locator("#clear").click();
    await page.getByRole("button", { name: "Undo" }).press("Enter");
    assert.deepEqual(await studio.classes(), names.slice(1, -1));
    assert.equal(await page.evaluate(() => document.activeElement?.id), "clear");
    await studio.settle();
  });

  await step(
    "text goes into the field, by the mouse or pasted, and never opens a picture",
    async () => {
      const isPrevented = (type: "drop" | "paste", text: string, hasPicture: boolean) =>
        input.evaluate((field, [type, text, hasPicture]) => {
          const data = new DataTransfer();
          data.setData("text", text as string);
          if (hasPicture) {
            data.items.add(new File(["no image"], "cells.png", { type: "image/png" }));
          }
          const options = { bubbles: true, cancelable: true };
          const event = type === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: data })
            : new ClipboardEvent("paste", { ...options, clipboardData: data });
          return !field.dispatchEvent(event);
        }, [type, text, hasPicture] as const);
      assert.equal(await isPrevented("drop", "horse", false), false);
      assert.equal(await isPrevented("drop", "horse", true), true);
      await studio.notice(/cells\.png is no image/);
      assert.equal(await isPrevented("paste", "horse", true), false);
      assert.equal(await isPrevented("paste", "horse\ncat", true), true);
      assert.deepEqual((await studio.classes()).slice(-2), ["horse", "cat"]);
      for (let i = 0; i < 2; i++) {
        await input.focus();
        await page.keyboard.press("Backspace");
      }
      assert.equal(await page.locator(".notice", { hasText: "cells.png" }).count(), 0);
      await studio.settle();
    },
  );

  await step(
    "above 24 classes legend, overlay and label map keep one set of colours",
    async () => {
      await page.evaluate((text) => navigator.clipboard.writeText(text), alphabet.join(", "));
      await input.focus();
      await page.keyboard.press("ControlOrMeta+V");
      await page.locator("#chip-list li").nth(names.length - 2 + alphabet.length - 1).waitFor();
      await studio.settle();
      const { palette } = decode((await studio.save("#export-labels")).bytes);
      const { segments } = JSON.parse((await studio.save("#export-json")).bytes.toString());
      const swatches = await page.locator("#found button").evaluateAll((buttons) =>
        buttons.map((button) => (button as HTMLElement).style.getPropertyValue("--colour"))
      );
      assert.deepEqual(segments.map(({ color }: { color: string }) => color), swatches);
      for (const { index, color } of segments) {
        assert.equal(toHex(palette![index] as [number, number, number]), color);
      }
    },
  );

  await step("what is no image, too large or damaged is refused; the rest stays", async () => {
    const before = await page.locator("#caption").textContent();
    const found = await page.locator("#found").textContent();
    await studio.choose("notes.txt", "text/plain", new TextEncoder().encode("no image, but text"));
    assert.match(await studio.notice(/notes\.txt/), /is no image that this browser can read/);
    await studio.choose("poster.png", "image/png", hugePng(12_500, 8000));
    assert.match(
      await studio.notice(/poster\.png/),
      /has 12500 × 8000 pixels \(100 megapixels\); the studio takes up to 64/,
    );
    await studio.choose("half.png", "image/png", png.subarray(0, 60));
    assert.match(await studio.notice(/half\.png/), /is damaged or cut short/);
    await studio.choose("nothing.png", "image/png", new Uint8Array());
    assert.match(await studio.notice(/nothing\.png/), /is empty/);
    assert.equal(await page.locator("#caption").textContent(), before);
    assert.equal(await page.locator("#found").textContent(), found);
  });

  await step("the camera gives a picture", async () => {
    await page.locator("#camera").click();
    await page.locator("#shoot:enabled").click();
    await page.locator("#caption").filter({ hasText: "camera.png" }).waitFor();
    await studio.settle();
    assert.ok(await page.locator("#export-png").isEnabled());
  });

  await step("a worker that dies is replaced, and the work goes on", async () => {
    const classes = await studio.classes();
    await studio.killWorker();
    await studio.notice(/The worker stopped .* your picture and classes are kept/);
    await studio.settle();
    assert.equal((await studio.stagesRun()).length, 7);
    assert.deepEqual(await studio.classes(), classes);
    assert.match(await page.locator("#caption").textContent() ?? "", /^camera\.png/);
    await studio.save("#export-labels");
  });

  await step("nothing shifted, and axe finds nothing, light, dark and on a phone", async () => {
    assert.deepEqual(await studio.layoutShifts(), []);
    assert.deepEqual(await studio.accessibilityViolations(), []);
    // Colours half-way from light to dark are nobody's.
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    assert.deepEqual(await studio.accessibilityViolations(), []);
    await page.setViewportSize({ width: 360, height: 740 });
    assert.deepEqual(await studio.accessibilityViolations(), []);
    await page.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await studio.accessibilityViolations(), []);
    const overhang = await page.evaluate(() =>
      document.documentElement.scrollWidth - document.documentElement.clientWidth
    );
    assert.ok(overhang <= 0, `the page is ${overhang} pixels wider than the phone`);
  });
}

async function brokenModels(opened: StudioPage): Promise<void> {
  await using studio = opened;
  const { page } = studio;
  const again = page.getByRole("button", { name: "Try again" });
  const notice = page.locator(".notice p");
  await again.waitFor();
  assert.match(
    await notice.textContent() ?? "",
    /model mask_decoder\.onnx is missing: the server answered 404/,
  );
  assert.equal(await page.locator("#badge-text").textContent(), "Stopped");
  // Without the message, too, the page says so, and whatever is changed tries again.
  await page.getByRole("button", { name: "Close the message" }).click();
  await page.locator("#status").filter({ hasText: /^Stopped: any change tries again$/ }).waitFor();
  await page.locator("#clear").click();
  await page.getByRole("button", { name: "Undo" }).click();
  await again.waitFor();

  await page.unroute("**/mask_decoder.onnx*");
  await page.route("**/mask_decoder.onnx*", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.body()).subarray(0, 1000) });
  });
  await again.click();
  await notice.filter({ hasText: /cut short/ }).waitFor();
  assert.match(await notice.textContent() ?? "", /has 1000 bytes; it must have \d+/);

  await page.unroute("**/mask_decoder.onnx*");
  // As long as it should be, but another file.
  await page.route("**/mask_decoder.onnx*", async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    body[1000]! ^= 1;
    await route.fulfill({ response, body });
  });
  await again.click();
  await notice.filter({ hasText: /has the SHA-256 .*it was damaged on the way/ }).waitFor();

  await page.unroute("**/mask_decoder.onnx*");
  await again.click();
  await studio.settle();
  assert.match(await page.locator("#status").textContent() ?? "", /classes found/);
  assert.match(
    await page.locator("#device-text").textContent() ?? "",
    navigator.hardwareConcurrency > 1 ? /Networks have [2-4] threads\./ : /have one thread\./,
  );
}

async function withGpu(t: Deno.TestContext, opened: StudioPage): Promise<void> {
  await using studio = opened;
  const { page } = studio;
  const step = inOrder(t);
  const labels = async () => decode((await studio.save("#export-labels")).bytes).data;

  await studio.settle();
  const onCpu = await labels();

  await step("runs the kernels on the GPU that is asked for", async () => {
    await page.locator("#device").selectOption("webgpu");
    await page.locator("#badge.gpu").waitFor();
    await studio.settle();
    assert.equal(await page.locator("#badge-text").textContent(), "On the GPU");
    assert.deepEqual(await page.locator("#stages td:nth-child(2)").allTextContents(), [
      "CPU",
      "CPU",
      "CPU",
      "GPU",
      "GPU",
      "GPU",
      "GPU",
    ]);
    const onGpu = await labels();
    const same = onGpu.filter((label, i) => label === onCpu[i]);
    assert.ok(same.length >= 0.999 * onCpu.length, `${same.length} of ${onCpu.length}`);
  });

  await step("a lost GPU is opened again, and the work goes on", async () => {
    const before = await labels();
    const session = await page.context().browser()!.newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess");
    await studio.notice(/The GPU was lost .* your picture and classes are kept/);
    await page.locator("#badge.gpu").waitFor();
    await studio.settle();
    assert.deepEqual(await labels(), before);
    assert.deepEqual(await studio.layoutShifts(), []);
  });
}
