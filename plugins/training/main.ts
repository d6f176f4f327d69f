/**
 * `deno task train`: makes the shipped model, stage by stage, from the configs in `models/recipes`. A
 * run that was cut off goes on when the same command is given again.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import process from "node:process";
import { runCommand } from "../../lib/cli/run_command.ts";
import { ModelError } from "../../lib/errors.ts";
import { firstUnseenSeed } from "../datasets/emoji_scenes/seeds.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { heldOutStyle, styles, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { ovsnetDocument } from "../methods/ovsnet.ts";
import { openPipeline } from "../methods/open_pipeline.ts";
import { acquireDevice } from "../runtimes/mod.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import { train } from "../commands/train.ts";
import { CheckpointFolder } from "./checkpoint.ts";
import { evaluateScenes, zeroShotAccuracy } from "./evaluate.ts";
import { exportFiles, exportOvsnet, towerFiles } from "./ovsnet.ts";
import { openTowers } from "./towers.ts";

const clipDir = "runs/clip";
const clipTextDir = "runs/clip-text";
const clipImageDir = "runs/clip-image";
const ovsnetDir = "runs/ovsnet";
const models = new URL("../../models/", import.meta.url);

/** Trains, or goes on training, by a recipe. */
const recipe = (name: string) => () => train([`models/recipes/${name}.json`, "--resume"]);

/** Writes towers and decoder to `models/`. */
async function exportModels(): Promise<void> {
  mkdirSync(models, { recursive: true });
  const ovsnet = await exportOvsnet(ovsnetDir);
  const files = { ...towerFiles(ovsnet.towers), ...exportFiles(ovsnet.models) };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(new URL(name, models), content);
    console.log(`${name}: ${content.length} bytes`);
  }
}

/** Of the towers after each of CLIP's stages, as far as they are there. */
async function evaluateClip(): Promise<void> {
  const trained = [clipDir, clipTextDir, clipImageDir].filter((dir) =>
    new CheckpointFolder(dir).steps().length > 0
  );
  if (trained.length === 0) {
    throw new ModelError(`${clipDir}: there is no checkpoint; train first: deno task train clip`);
  }
  const engine = await ortNodeEngine();
  const sprites = await SpriteStore.open();
  for (const dir of trained) {
    const towers = await openTowers(dir);
    for (const style of styles) {
      const share = await zeroShotAccuracy(towers, engine, sprites, style);
      const note = style === heldOutStyle ? " (held out)" : "";
      console.log(`${dir}: zero-shot top-1 in ${style}${note}: ${(100 * share).toFixed(1)} %`);
    }
  }
}

async function evaluateOvsnet(): Promise<void> {
  const device = await acquireDevice("cpu");
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  for (const fuser of ["gfa", "mean", "clip", "query"]) {
    const pipeline = await openPipeline(ovsnetDocument({ fuser }), { device });
    const matrix = await evaluateScenes(pipeline, sprites, {
      scenes: 100,
      firstSeed: firstUnseenSeed,
    });
    console.log(`${fuser}: mIoU ${(100 * matrix.meanIou()).toFixed(1)} over 100 unseen scenes`);
    await pipeline.dispose();
  }
  await device.dispose();
}

const stages: Record<string, () => Promise<void> | void> = {
  clip: recipe("clip"),
  "clip-text": recipe("clip_text"),
  "clip-image": recipe("clip_image"),
  "clip-evaluate": evaluateClip,
  ovsnet: recipe("ovsnet"),
  export: exportModels,
  evaluate: evaluateOvsnet,
};

const stage = stages[process.argv[2] ?? ""];
if (stage === undefined) {
  console.error(`usage: deno task train ${Object.keys(stages).join("|")}`);
  process.exit(2);
}
process.exit(await runCommand(async () => await stage()));
