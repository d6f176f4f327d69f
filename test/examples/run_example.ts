/**
 * The examples as their readers run them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { renderSceneOnDemand } from "../../plugins/datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../../plugins/datasets/emoji_scenes/seeds.ts";
import { loadSplits } from "../../plugins/datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../../plugins/datasets/emoji_scenes/sprites.ts";
import { runProcess } from "../../scripts/process.ts";
import { root } from "../../scripts/setup.ts";

/** A folder for one test. */
export class Folder implements Disposable {
  /** Its path. */
  readonly path = mkdtempSync(join(tmpdir(), "ovs-example-"));

  /** The path of a file in it. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A rendered scene as an image file. */
export interface SceneFile {
  readonly path: string;
  readonly width: number;
  readonly height: number;
  /** What is in it. */
  readonly names: readonly string[];
}

/** Renders a scene that no training has seen. */
export async function writeScene(folder: Folder): Promise<SceneFile> {
  const { width, height, rgb, segments } = await renderSceneOnDemand(
    { seed: firstUnseenSeed, categories: loadSplits().seen },
    SpriteStore.onDemand(),
  );
  const path = folder.at("scene.png");
  await sharp(rgb, { raw: { width, height, channels: 3 } }).png().toFile(path);
  return { path, width, height, names: [...new Set(segments.map(({ category }) => category))] };
}

/** Runs a program of examples/ to its end. */
export async function runExample(name: string, ...args: string[]) {
  return await runProcess(Deno.execPath(), ["run", "-A", "--quiet", `examples/${name}`, ...args], {
    cwd: root,
    timeout: 600_000,
    env: { NO_COLOR: "1" },
  });
}

/** The lines that a program prints if all goes well. */
export async function linesOf(name: string, ...args: string[]): Promise<string[]> {
  const { code, output } = await runExample(name, ...args);
  assert.equal(code, 0, output);
  return output.split("\n").filter((line) => line !== "");
}

/** Without its arguments, a program says what they are. */
export async function explainsItself(name: string, ...args: string[]): Promise<void> {
  const { code, output } = await runExample(name, ...args);
  assert.equal(code, 2, output);
  assert.match(output, new RegExp(`^usage: deno run -A examples/${name} `, "m"));
}
