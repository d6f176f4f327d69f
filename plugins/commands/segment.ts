/**
 * `ovs segment`: an image file and class names in; overlay, labels, segments or objects, and JSON out.
 *
 * @module
 */
import process from "node:process";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../../lib/cli/arguments.ts";
import { openProgress } from "../../lib/cli/progress.ts";
import { writeText } from "../../lib/cli/run_command.ts";
import { type Column, formatTable, swatch } from "../../lib/cli/table.ts";
import { OptionError, PipelineError } from "../../lib/errors.ts";
import type { Image } from "../../lib/image/image.ts";
import type { Rgb } from "../../lib/image/palette.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { readImage } from "../codecs/read_image.ts";
import type { Task } from "../methods/ovsnet.ts";
import { parseClasses, readClassesFile } from "./class_list.ts";
import {
  formatDevice,
  openPlanned,
  pipelineFlags,
  planPipeline,
  taskFlags,
} from "./plan_pipeline.ts";
import { OutputFolder } from "./output_folder.ts";
import type { OnProgress, RunTimes } from "./run_task.ts";
import {
  formatShare,
  type SegmentedImage,
  segmentImage,
  writeSegmentation,
} from "./segment_file.ts";
import { type InstancesImage, instancesImage, writeInstances } from "./segment_instances.ts";
import { type PanopticImage, panopticImage, writePanoptic } from "./segment_panoptic.ts";
import { readThings, thingFlags } from "./thing_flags.ts";

const DEFAULT_MIN_SCORE = 0.5;

/** The command line of `ovs segment`. */
export const segmentSpec = {
  name: "ovs segment",
  description: "Segments an image by the classes that you name. Writes NAME.overlay.png (a " +
    "picture with a legend), NAME.json and what the task asks for, where NAME is that of the " +
    "image. --task semantic: NAME.labels.png (pixel values are class indices from 0, the highest " +
    "value is void); the JSON has one entry per class that is there, with its mask in COCO's " +
    "run-length encoding. --task panoptic: NAME.panoptic.png (a segment's id is R + 256 G + " +
    "65536 B of its colour, black is void); the JSON is COCO's panoptic format, with scores. " +
    "--task instance: NAME.results.json (COCO's results, with run-length masks); the JSON is " +
    "COCO's format of annotations, with scores. Category ids count from 1 in the order of the " +
    "classes.",
  positionals: ["IMAGE"],
  flags: {
    classes: {
      value: '"A, B, C"',
      description: "The classes, between commas; any words in any script.",
    },
    "classes-file": {
      value: "FILE",
      description: "The classes, one a line, or as a JSON array.",
    },
    ...taskFlags,
    ...thingFlags,
    "min-score": {
      value: "NUMBER",
      description: "instance: the score, from 0 to 1, below which objects are left out of " +
        `picture and table, not of the JSON files; ${DEFAULT_MIN_SCORE}.`,
    },
    ...pipelineFlags,
    out: { value: "DIR", description: 'Where the files go; "out" where left out.' },
    json: { description: "Print the JSON and nothing else." },
  },
  examples: [
    'ovs segment street.jpg --classes "dog, guitar, slice of pizza"',
    "ovs segment street.jpg --classes-file names.txt --fuser gfa --omega 0.3 --out results",
    'ovs segment street.jpg --classes "dog, car, sky" --task panoptic --stuff "sky"',
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

/** What a task has made of an image. */
interface Outcome {
  /** What NAME.json says. */
  document: unknown;
  /** What is printed for a person. */
  report: string;
}

/**
 * Runs `ovs segment`. Everything that can be refused is refused before anything is computed.
 *
 * @param args What was typed after `ovs segment`.
 * @throws {OvsError} For whatever is wrong with the command line, the files or the device.
 */
export async function segment(args: readonly string[]): Promise<void> {
  const { positionals: [file], flags, help } = parseArguments(segmentSpec, args);
  if (help || file === undefined) return await writeText(process.stdout, formatHelp(segmentSpec));
  const names = await readClasses(flags.classes, flags["classes-file"]);
  const isThing = readThings(names, flags);
  const minScore = readMinScore(flags["min-score"]);
  const planned = await planPipeline(flags);
  const { task } = planned;
  if (task === null) {
    throw new PipelineError("this pipeline gives no segmentation; end it with a segmenter");
  }
  refuseForeignFlags(task, flags);
  const words = vocabulary(names, isThing === undefined ? {} : { isThing });
  const folder = await OutputFolder.open(flags.out ?? "out");
  try {
    const image = await readImage(file);
    const { pipeline, device } = await openPlanned(planned);
    try {
      const on = formatDevice(device);
      const { document, report } = await withProgress(flags.json, async (onProgress) => {
        const run = [pipeline, image, words] as const;
        switch (task) {
          case "panoptic":
            return await panoptic(await panopticImage(...run, onProgress), file, on, folder);
          case "instance":
            return await instance(
              await instancesImage(...run, minScore, onProgress),
              file,
              on,
              folder,
            );
          default:
            return await semantic(
              await segmentImage(pipeline, image, names, onProgress),
              file,
              on,
              folder,
            );
        }
      });
      await writeText(
        process.stdout,
        flags.json ? JSON.stringify(document, null, 2) + "\n" : report,
      );
    } finally {
      await pipeline.dispose();
      await device.dispose();
    }
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

function readMinScore(text: string | undefined): number {
  if (text === undefined) return DEFAULT_MIN_SCORE;
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value >= 0 && value <= 1)) {
    throw new OptionError(`--min-score ${text}: it must be a number from 0 to 1`);
  }
  return value;
}

/** A flag that would change nothing is a misunderstanding. */
function refuseForeignFlags(
  task: Task,
  flags: Readonly<Record<"things" | "stuff" | "min-score", string | undefined>>,
): void {
  for (const flag of ["things", "stuff"] as const) {
    if (flags[flag] === undefined || task !== "semantic") continue;
    throw new OptionError(
      `--${flag}: ${task} segmentation has no things and stuff; add --task panoptic or instance`,
    );
  }
  if (flags["min-score"] !== undefined && task !== "instance") {
    throw new OptionError(`--min-score: ${task} segmentation has none; add --task instance`);
  }
}

async function readClasses(text: string | undefined, file: string | undefined): Promise<string[]> {
  if (text !== undefined && file !== undefined) {
    throw new OptionError("--classes and --classes-file are both given; give one of them");
  }
  if (file !== undefined) return await readClassesFile(file);
  if (text !== undefined) return parseClasses(text);
  throw new OptionError(
    'no classes; name them with --classes "dog, guitar" or --classes-file FILE',
  );
}

/** Shows progress once the work has taken a moment: most images are done before. */
async function withProgress<T>(
  silent: boolean,
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const progress = await openProgress({
    title: "segmenting",
    total: 1,
    silent: silent || !process.stderr.isTTY,
  });
  try {
    return await work((done, total, stage) => progress.update(done / total, stage));
  } finally {
    progress.stop();
  }
}

/** What all reports end with. */
function footer(
  { image, milliseconds }: RunTimes & { image: Image },
  file: string,
  numClasses: number,
  device: string,
  files: Readonly<Record<string, string>>,
  folder: OutputFolder,
): string {
  return [
    `${file}: ${image.width}×${image.height} pixels, ` +
    `${numClasses} ${numClasses === 1 ? "class" : "classes"}, ` +
    `${Math.round(milliseconds)} ms`,
    `device: ${device}`,
    `wrote ${Object.values(files).join(", ")} to ${folder.path}`,
    "",
  ].join("\n");
}

/** Lays out the findings, with their colours where somebody sees them. */
function table(columns: readonly Column[], rows: readonly string[][], colours: readonly Rgb[]) {
  const isTerminal = process.stdout.isTTY === true;
  return formatTable(
    columns,
    rows,
    isTerminal ? colours.map((colour) => swatch(colour, isTerminal)) : [],
  ) + "\n";
}

const right = "right" as const;

async function semantic(
  segmented: SegmentedImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<Outcome> {
  const { segments, colours, image } = segmented;
  const total = image.width * image.height;
  const document = await writeSegmentation(segmented, file, device, folder);
  const rows = segments.map(({ label, score, area }) => [
    label,
    score.toFixed(3),
    formatShare(area, total),
  ]);
  if (document.voidArea > 0) {
    rows.push(["(none of them)", "", formatShare(document.voidArea, total)]);
  }
  const report = table(
    [{ title: "class" }, { title: "score", align: right }, { title: "area", align: right }],
    rows,
    segments.map(({ index }) => colours[index]!),
  );
  const { classes, files } = document;
  return {
    document,
    report: report + footer(segmented, file, classes.length, device, files, folder),
  };
}

async function panoptic(
  found: PanopticImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<Outcome> {
  const { image, entries, vocabulary } = found;
  const total = image.width * image.height;
  const document = await writePanoptic(found, file, device, folder);
  const rows = entries.map(({ name, isThing, score, area }) => [
    name,
    isThing ? "thing" : "stuff",
    score.toFixed(3),
    formatShare(area, total),
  ]);
  const nothing = total - entries.reduce((sum, { area }) => sum + area, 0);
  if (nothing > 0) rows.push(["(none of them)", "", "", formatShare(nothing, total)]);
  const report = table(
    [
      { title: "segment" },
      { title: "kind" },
      { title: "score", align: right },
      { title: "area", align: right },
    ],
    rows,
    entries.map(({ colour }) => colour),
  );
  const { length } = vocabulary.names;
  return {
    document,
    report: report + footer(found, file, length, device, document.info.files, folder),
  };
}

async function instance(
  found: InstancesImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<Outcome> {
  const { image, instances, shown, vocabulary } = found;
  const total = image.width * image.height;
  const document = await writeInstances(found, file, device, folder);
  const report = table(
    [{ title: "object" }, { title: "score", align: right }, { title: "area", align: right }],
    shown.map(({ name, score, area }) => [name, score.toFixed(3), formatShare(area, total)]),
    shown.map(({ colour }) => colour),
  );
  const hidden = instances.length - shown.length;
  const rest = hidden === 0 ? "" : `${hidden} more with lower scores are in the JSON files\n`;
  const { length } = vocabulary.names;
  return {
    document,
    report: report + rest + footer(found, file, length, device, document.info.files, folder),
  };
}
