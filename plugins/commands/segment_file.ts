/**
 * An image file and words in, labelled pixels out: what `ovs segment` and the demo both do.
 *
 * @module
 */
import { basename, extname } from "node:path";
import { readAll } from "../../kernels/dispatch/read_all.ts";
import type { Image } from "../../lib/image/image.ts";
import { encodeLabelPng, voidValue } from "../../lib/image/indexed_png.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { classColours, type Rgb, toHex } from "../../lib/image/palette.ts";
import { type LabelMap, type Segment, segments } from "../../lib/image/segments.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { renderFigure } from "../codecs/figure.ts";
import { readImage } from "../codecs/read_image.ts";
import type { OpenPipeline } from "./plan_pipeline.ts";
import type { OutputFolder } from "./output_folder.ts";
import { formatTimes, type OnProgress, runTask, type RunTimes } from "./run_task.ts";

/** A segmented image, in memory. */
export interface SegmentedImage extends RunTimes {
  /** The image as it was decoded. */
  image: Image;
  /** The classes, in the user's order. */
  names: readonly string[];
  /** Labels and scores, at the image's own size. */
  map: LabelMap;
  /** One entry per class that is there, largest first. */
  segments: Segment[];
  /** A colour for each class. */
  colours: Rgb[];
}

/**
 * Runs an open pipeline on an image.
 *
 * @param pipeline The pipeline; it stays open.
 * @param image The image.
 * @param names The classes, checked.
 * @param onProgress Told the stage under way and how many of how many are done.
 */
export async function segmentImage(
  pipeline: OpenPipeline,
  image: Image,
  names: readonly string[],
  onProgress?: OnProgress,
): Promise<SegmentedImage> {
  const { width, height } = image;
  const { value: map, ...times } = await runTask(
    pipeline,
    image,
    vocabulary(names),
    "segmentation",
    async (slot): Promise<LabelMap> => {
      const [labels, scores] = await readAll([slot.labels, slot.scores]);
      return { width, height, labels, scores };
    },
    onProgress,
  );
  const found = segments(map, names);
  const colours = classColours(names.length, found.map(({ index }) => index));
  return { image, names, map, segments: found, colours, ...times };
}

/** The file NAME.json; `--json` prints the same. */
export interface SegmentationDocument {
  /** The image, its path as it was given. */
  image: { file: string; width: number; height: number };
  /** The classes; label values and `index` count into them from 0. */
  classes: readonly string[];
  /** What the label file says where no class was found. */
  voidValue: number;
  /** Number of pixels where no class was found. */
  voidArea: number;
  /** One entry per class that is there, largest first. */
  segments: (Segment & { color: string })[];
  /** The files that lie beside this one. */
  files: { overlay: string; labels: string; json: string };
  /** What computed it. */
  device: string;
  /** Wall time of the pipeline, and of each of its stages. */
  milliseconds: { pipeline: number; stages: Record<string, number> };
}

/** A share of the image in percent with one decimal, as legends and tables print it. */
export function formatShare(area: number, total: number): string {
  const percent = (100 * area) / total;
  return percent > 0 && percent < 0.05 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
}

/**
 * Writes NAME.overlay.png, NAME.labels.png and NAME.json.
 *
 * @param segmented The result.
 * @param file The image's path; NAME is its last part without the extension.
 * @param device What computed it.
 * @param folder Where the files go.
 * @returns The document, as it was written.
 * @throws {OutputError} If a file can't be written; none is left behind then.
 */
export async function writeSegmentation(
  segmented: SegmentedImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<SegmentationDocument> {
  const { image, names, map, colours } = segmented;
  const { width, height } = image;
  const name = basename(file, extname(file));
  const files = {
    overlay: `${name}.overlay.png`,
    labels: `${name}.labels.png`,
    json: `${name}.json`,
  };
  const [picture, labels] = await Promise.all([
    renderFigure({
      panels: [{ image: overlay(image, map.labels, colours) }],
      legend: segmented.segments.map(({ label, index, area }) => ({
        label,
        index,
        colour: colours[index]!,
        note: formatShare(area, width * height),
      })),
    }),
    encodeLabelPng(map.labels, width, height, colours),
  ]);
  const found = segmented.segments.reduce((sum, { area }) => sum + area, 0);
  const document: SegmentationDocument = {
    image: { file, width, height },
    classes: names,
    voidValue: voidValue(names.length),
    voidArea: width * height - found,
    segments: segmented.segments.map((segment) => ({
      ...segment,
      color: toHex(colours[segment.index]!),
    })),
    files,
    device,
    milliseconds: formatTimes(segmented),
  };
  await folder.write(
    new Map([
      [files.overlay, picture],
      [files.labels, labels],
      [files.json, new TextEncoder().encode(JSON.stringify(document, null, 2) + "\n")],
    ]),
  );
  return document;
}

/** Reads an image file, runs the pipeline on it and writes the results; see the parts. */
export async function segmentFile(
  pipeline: OpenPipeline,
  device: string,
  file: string,
  names: readonly string[],
  folder: OutputFolder,
): Promise<{ segmented: SegmentedImage; document: SegmentationDocument }> {
  const segmented = await segmentImage(pipeline, await readImage(file), names);
  return { segmented, document: await writeSegmentation(segmented, file, device, folder) };
}
