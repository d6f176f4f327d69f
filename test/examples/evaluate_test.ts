import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import { encodeLabelPng } from "@ovstage/ovstage";
import { openDataset } from "@ovstage/ovstage/datasets";
import { explainsItself, Folder, linesOf } from "./run_example.ts";

/** The classes of a few scenes, as a folder of images and labels. */
async function writeFolder(folder: Folder, count: number): Promise<string> {
  const scenes = await openDataset("emoji-scenes", { split: "seen", scenes: count });
  for (const kind of ["images", "annotations"]) {
    mkdirSync(folder.at("scenes", kind, "val"), { recursive: true });
  }
  for (let i = 0; i < count; i++) {
    const { image: { width, height, rgb }, labels } = await scenes.read(i);
    await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png().toFile(folder.at("scenes/images/val", `${i}.png`));
    const colours = scenes.classes.map((_, c) => [c, c, c] as const);
    writeFileSync(
      folder.at("scenes/annotations/val", `${i}.png`),
      await encodeLabelPng(labels, width, height, colours),
    );
  }
  writeFileSync(folder.at("scenes/classes.txt"), scenes.classes.map(({ name }) => name).join("\n"));
  return folder.at("scenes");
}

/** Figures that were printed, by name. */
function figuresOf(lines: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, name, value] = /^([\w -]+): ([\d.]+) %$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, Number(value)]];
    }),
  );
}

Deno.test("examples/evaluate.ts scores a folder, writes a report and goes on where it stood", async () => {
  using folder = new Folder();
  const [scenes, out] = [await writeFolder(folder, 2), folder.at("out")];
  const first = await linesOf("evaluate.ts", scenes, "--out", out);
  assert.ok(first.some((line) => line.startsWith("2 of 2: mIoU ")));
  const result = JSON.parse(readFileSync(folder.at("out/result.json"), "utf8"));
  assert.equal(result.images, 2);
  const figures = figuresOf(first);
  assert.equal(figures["mIoU"], Number(result.mIoU.toFixed(1)));
  assert.equal(figures["pixel accuracy"], Number(result.pixelAccuracy.toFixed(1)));
  assert.match(readFileSync(folder.at("out/report.html"), "utf8"), /<table/);
  assert.ok(existsSync(folder.at("out/pictures")));

  // Nothing is left to do, and the same models are the same wherever they are named.
  const second = await linesOf("evaluate.ts", scenes, "--out", out, "--models", "models");
  assert.deepEqual(figuresOf(second), figures);
  assert.ok(!second.some((line) => line.includes(" of 2: ")));
});

Deno.test("examples/evaluate.ts renders scenes of its own where it is given no folder", async () => {
  using folder = new Folder();
  const lines = await linesOf("evaluate.ts", "--limit", "1", "--out", folder.at("out"));
  assert.ok("mIoU" in figuresOf(lines));
  assert.match(lines.at(-1)!, /report\.html$/);
});

Deno.test("examples/evaluate.ts says what it takes", async () => {
  await explainsItself("evaluate.ts", "--models");
});
