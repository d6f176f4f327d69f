/**
 * `ovs segment`: an image file and class names in, overlay, labels and JSON out.
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
import { formatTable, swatch } from "../../lib/cli/table.ts";
import { OptionError } from "../../lib/errors.ts";
import { readImage } from "../codecs/read_image.ts";
import { parseClasses, readClassesFile } from "./class_list.ts";
import { formatDevice, openPlanned, pipelineFlags, planPipeline } from "./plan_pipeline.ts";
import { OutputFolder } from "./output_folder.ts";
import {
  formatShare,
  type SegmentationDocument,
  type SegmentedImage,
  segmentImage,
  writeSegmentation,
} from "./segment_file.ts";

/** The command line of `ovs segment`. */
export const segmentSpec = {
  name: "ovs segment",
  description: "Labels every pixel of an image with one of the classes that you name. Writes " +
    "NAME.overlay.png (a picture with a legend), NAME.labels.png (pixel values are class indices " +
    "from 0, the highest value is void) and NAME.json (one entry per class that is there, with " +
    "its mask in COCO's run-length encoding), where NAME is that of the image.",
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
    ...pipelineFlags,
    out: { value: "DIR", description: 'Where the files go; "out" where left out.' },
    json: { description: "Print the JSON and nothing else." },
  },
  examples: [
    'ovs segment street.jpg --classes "dog, guitar, slice of pizza"',
    "ovs segment street.jpg --classes-file names.txt --fuser gfa --omega 0.3 --out results",
  ],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

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
  const planned = await planPipeline(flags);
  const folder = await OutputFolder.open(flags.out ?? "out");
  try {
    const image = await readImage(file);
    const { pipeline, device } = await openPlanned(planned);
    try {
      const segmented = await withProgress(
        flags.json,
        (onProgress) => segmentImage(pipeline, image, names, onProgress),
      );
      const document = await writeSegmentation(segmented, file, formatDevice(device), folder);
      await writeText(
        process.stdout,
        flags.json ? JSON.stringify(document, null, 2) + "\n" : report(segmented, document, folder),
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
  work: (onProgress: (done: number, total: number, stage: string) => void) => Promise<T>,
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

/** What is printed for a person. */
export function report(
  { segments, colours, image, milliseconds }: SegmentedImage,
  document: SegmentationDocument,
  folder: OutputFolder,
): string {
  const { width, height } = image;
  const isTerminal = process.stdout.isTTY === true;
  const rows = segments.map(({ label, score, area }) => [
    label,
    score.toFixed(3),
    formatShare(area, width * height),
  ]);
  const prefixes = segments.map(({ index }) => swatch(colours[index]!, isTerminal));
  if (document.voidArea > 0) {
    rows.push(["(none of them)", "", formatShare(document.voidArea, width * height)]);
  }
  const table = formatTable(
    [{ title: "class" }, { title: "score", align: "right" }, { title: "area", align: "right" }],
    rows,
    isTerminal ? prefixes : [],
  );
  return [
    table,
    `${document.image.file}: ${width}×${height} pixels, ${document.classes.length} classes, ` +
    `${Math.round(milliseconds)} ms`,
    `device: ${document.device}`,
    `wrote ${Object.values(document.files).join(", ")} to ${folder.path}`,
    "",
  ].join("\n");
}
