/**
 * The demo: a scene that no training has shown, as a file, segmented like any other file.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../lib/cli/arguments.ts";
import { runCommand, writeText } from "../../lib/cli/run_command.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { OptionError, OutputError } from "../../lib/errors.ts";
import { Image } from "../../lib/image/image.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { classColours } from "../../lib/image/palette.ts";
import { ConfusionMatrix } from "../../lib/metrics/confusion_matrix.ts";
import { renderFigure } from "../codecs/figure.ts";
import { importSharp } from "../codecs/import_sharp.ts";
import type { Scene } from "../datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../datasets/emoji_scenes/seeds.ts";
import { formatDevice, openPlanned, pipelineFlags, planPipeline } from "./plan_pipeline.ts";
import { OutputFolder } from "./output_folder.ts";
import { formatShare, type SegmentedImage, segmentFile } from "./segment_file.ts";

const LAST_SEED = 2 ** 32 - 1;
const DEFAULT_SEED = firstUnseenSeed + 7;
const DEFAULT_SIZE = 384;

const spec = {
  name: "ovs demo",
  description:
    "Renders an EmojiScenes scene that no training has shown, writes it as a PNG file, " +
    "segments that file with the 171 categories that the decoder knows, and draws what was found " +
    "beside the truth.",
  positionals: [],
  flags: {
    seed: {
      value: "NUMBER",
      description:
        `Which scene: ${firstUnseenSeed} (2³¹) to ${LAST_SEED}; training uses those below.`,
    },
    size: {
      value: "PIXELS",
      description: `Side of the scene, 32 to 2048; ${DEFAULT_SIZE} by default.`,
    },
    ...pipelineFlags,
    out: { value: "DIR", description: 'Where the files go; "out/demo" where left out.' },
  },
  examples: ["ovs demo", `ovs demo --seed ${firstUnseenSeed + 42} --fuser mean`],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

function readInteger(
  flag: string,
  text: string | undefined,
  low: number,
  high: number,
  otherwise: number,
): number {
  if (text === undefined) return otherwise;
  const value = text.trim() === "" ? NaN : Number(text);
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new OptionError(`--${flag} ${text}: it must be a whole number from ${low} to ${high}`);
  }
  return value;
}

/**
 * Runs the demo.
 *
 * @param args What was typed after `ovs demo`.
 * @throws {OvsError} For whatever is the caller's to mend.
 */
export async function demo(args: readonly string[]): Promise<void> {
  const { flags, help } = parseArguments(spec, args);
  if (help) return await writeText(process.stdout, formatHelp(spec));
  const seed = readInteger("seed", flags.seed, firstUnseenSeed, LAST_SEED, DEFAULT_SEED);
  const size = readInteger("size", flags.size, 32, 2048, DEFAULT_SIZE);
  const planned = await planPipeline(flags);
  const folder = await OutputFolder.open(flags.out ?? join("out", "demo"));

  const { scene, names } = await renderUnseenScene(seed, size);
  const sharp = await importSharp();
  const png = await sharp(scene.rgb, {
    raw: { width: scene.width, height: scene.height, channels: 3 },
  }).png().toBuffer();
  const [file] = await folder.write(new Map([["scene.png", new Uint8Array(png)]]));
  if (file === undefined) throw new OutputError(`${folder.path}: the scene was not written`);

  const { pipeline, device } = await openPlanned(planned);
  try {
    const { segmented, document } = await segmentFile(
      pipeline,
      formatDevice(device),
      file,
      names,
      folder,
    );
    const { map, milliseconds } = segmented;
    const matrix = new ConfusionMatrix(names.length);
    matrix.add(scene.labels, map.labels);
    const comparison = "scene.comparison.png";
    await folder.write(new Map([[comparison, await compare(scene, segmented, matrix)]]));
    await writeText(
      process.stdout,
      [
        formatScores(matrix, names, scene.width * scene.height),
        `scene ${seed}: ${scene.width}×${scene.height} pixels, ${names.length} classes`,
        `device: ${document.device}`,
        `wrote scene.png, ${
          Object.values(document.files).join(", ")
        }, ${comparison} to ${folder.path}`,
        `mIoU ${(100 * matrix.meanIou()).toFixed(1)} over ${matrix.numScored} classes, ` +
        `${Math.round(milliseconds)} ms`,
        "",
      ].join("\n"),
    );
  } finally {
    await pipeline.dispose();
    await device.dispose();
  }
}

/** The scene of a seed in the 171 categories, and their names. */
async function renderUnseenScene(
  seed: number,
  size: number,
): Promise<{ scene: Scene; names: string[] }> {
  const [{ loadSplits, seenNames }, { renderSceneOnDemand }, { SpriteStore }] = await Promise.all([
    import("../datasets/emoji_scenes/splits.ts"),
    import("../datasets/emoji_scenes/scene.ts"),
    import("../datasets/emoji_scenes/sprites.ts"),
  ]);
  const splits = loadSplits();
  // Sprites as large as the largest object: enlarged ones look soft.
  const store = SpriteStore.onDemand({ size: Math.min(512, Math.max(72, Math.ceil(size / 2))) });
  const scene = await renderSceneOnDemand({ seed, size, categories: splits.seen }, store);
  return { scene, names: seenNames(splits) };
}

/** Scene, truth and result side by side. */
async function compare(
  scene: Scene,
  { names, map, image, milliseconds }: SegmentedImage,
  matrix: ConfusionMatrix,
): Promise<Uint8Array> {
  const areas = new Map<number, number>();
  // Classes of the truth come first; those that were only found, wrongly, last.
  for (const label of scene.labels) areas.set(label, (areas.get(label) ?? 0) + 1);
  const truth = [...areas].sort(([, a], [, b]) => b - a).map(([label]) => label);
  const wrong = new Set([...map.labels].filter((label) => label >= 0 && !areas.has(label)));
  const shown = [...truth, ...wrong];
  const colours = classColours(names.length, shown);
  const iou = matrix.iou();
  return await renderFigure({
    panels: [
      { image, title: "scene" },
      {
        image: overlay(new Image(scene.width, scene.height, scene.rgb), scene.labels, colours),
        title: "truth",
      },
      {
        image: overlay(image, map.labels, colours),
        title: `found: mIoU ${(100 * matrix.meanIou()).toFixed(1)}, ${Math.round(milliseconds)} ms`,
      },
    ],
    legend: shown.map((index) => ({
      index,
      label: names[index]!,
      colour: colours[index]!,
      note: wrong.has(index) ? "not there" : `IoU ${(100 * iou[index]!).toFixed(0)}`,
    })),
  });
}

/** IoU of each class that the scene or the result has. */
function formatScores(matrix: ConfusionMatrix, names: readonly string[], pixels: number): string {
  const rows: { area: number; row: string[] }[] = [];
  matrix.iou().forEach((iou, index) => {
    if (Number.isNaN(iou)) return;
    let truth = 0;
    let found = 0;
    for (let other = -1; other < names.length; other++) {
      truth += matrix.pixels(index, other);
      found += matrix.pixels(other, index);
    }
    rows.push({
      area: truth,
      row: [
        names[index]!,
        (100 * iou).toFixed(1),
        formatShare(truth, pixels),
        formatShare(found, pixels),
      ],
    });
  });
  return formatTable(
    [
      { title: "class" },
      { title: "IoU", align: "right" },
      { title: "truth", align: "right" },
      { title: "found", align: "right" },
    ],
    rows.sort((a, b) => b.area - a.area).map(({ row }) => row),
  );
}

if (import.meta.main) process.exit(await runCommand(() => demo(process.argv.slice(2))));
