/**
 * Panoptic segmentation of an image file: overlay, panoptic PNG and COCO's panoptic JSON.
 *
 * @module
 */
import { basename, extname } from "node:path";
import type { Image } from "../../lib/image/image.ts";
import { labelPlaces } from "../../lib/image/label_places.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { palette, type Rgb } from "../../lib/image/palette.ts";
import { colourToId, encodePanopticPng } from "../../lib/image/panoptic_png.ts";
import type { PanopticSegment, VocabularySlot } from "../../lib/stages/slots.ts";
import { renderFigure } from "../codecs/figure.ts";
import { categoryId, type CocoHead, cocoHead, type CocoSubject } from "./coco_document.ts";
import { numberedNames } from "./numbered_names.ts";
import type { OutputFolder } from "./output_folder.ts";
import type { OpenPipeline } from "./plan_pipeline.ts";
import { type OnProgress, runTask } from "./run_task.ts";
import { formatShare } from "./segment_file.ts";

/** A segment with what is written about it. */
export interface PanopticEntry extends PanopticSegment {
  /** Its class, numbered where there are several of it. */
  readonly name: string;
  /** Its colour, which stands for its id in the files. */
  readonly colour: Rgb;
  /** The smallest box around it: left, top, width, height. */
  readonly box: [x: number, y: number, width: number, height: number];
}

/** An image in segments, in memory. */
export interface PanopticImage extends CocoSubject {
  /** height × width; the index of each pixel's segment in `entries`, −1 for void. */
  segmentOf: Int32Array;
  /** The segments, largest first. */
  entries: PanopticEntry[];
}

/** Runs an open pipeline on an image; see {@linkcode runTask}. */
export async function panopticImage(
  pipeline: OpenPipeline,
  image: Image,
  vocabulary: VocabularySlot,
  onProgress?: OnProgress,
): Promise<PanopticImage> {
  const { value, ...times } = await runTask(
    pipeline,
    image,
    vocabulary,
    "panoptic",
    async ({ ids, segments }) => ({ segmentOf: (await ids.read()).slice(), segments }),
    onProgress,
  );
  const { segmentOf } = value;
  const segments = value.segments.toSorted((a, b) => b.area - a.area);
  const indexOf = new Map(segments.map(({ id }, index) => [id, index]));
  for (let i = 0; i < segmentOf.length; i++) segmentOf[i] = indexOf.get(segmentOf[i]!) ?? -1;
  const names = numberedNames(segments.map(({ label }) => label), vocabulary.names);
  const colours = palette(segments.length);
  const boxes = boxesOf(segmentOf, image.width, segments.length);
  const entries = segments.map((segment, index) => ({
    ...segment,
    name: names[index]!,
    colour: colours[index]!,
    box: boxes[index]!,
  }));
  return { image, vocabulary, segmentOf, entries, ...times };
}

/** The smallest box around each segment. */
function boxesOf(segmentOf: Int32Array, width: number, count: number): PanopticEntry["box"][] {
  const ends = Array.from({ length: count }, () => [Infinity, Infinity, -1, -1]);
  for (let i = 0, x = 0, y = 0; i < segmentOf.length; i++) {
    const end = ends[segmentOf[i]!];
    if (end !== undefined) {
      if (x < end[0]!) end[0] = x;
      if (y < end[1]!) end[1] = y;
      if (x > end[2]!) end[2] = x;
      end[3] = y;
    }
    if (++x === width) [x, y] = [0, y + 1];
  }
  return ends.map(([left, top, right, bottom]) => [
    left!,
    top!,
    right! - left! + 1,
    bottom! - top! + 1,
  ]);
}

/** The file NAME.json, in COCO's panoptic format; `--json` prints the same. */
export interface PanopticDocument extends CocoHead {
  /** The image's segments. */
  annotations: [{
    image_id: 1;
    /** The panoptic PNG. */
    file_name: string;
    segments_info: {
      id: number;
      category_id: number;
      area: number;
      bbox: [x: number, y: number, width: number, height: number];
      iscrowd: 0;
      score: number;
    }[];
  }];
}

/**
 * Writes NAME.overlay.png, NAME.panoptic.png and NAME.json.
 *
 * @param found The result.
 * @param file The image's path; NAME is its last part without the extension.
 * @param device What computed it.
 * @param folder Where the files go.
 * @returns The document, as it was written.
 * @throws {OutputError} If a file can't be written; none is left behind then.
 */
export async function writePanoptic(
  found: PanopticImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<PanopticDocument> {
  const { image, segmentOf, entries } = found;
  const { width, height } = image;
  const name = basename(file, extname(file));
  const files = {
    overlay: `${name}.overlay.png`,
    panoptic: `${name}.panoptic.png`,
    json: `${name}.json`,
  };
  const colours = entries.map(({ colour }) => colour);
  const ids = colours.map(colourToId);
  const places = labelPlaces(segmentOf, width, height, entries.length);
  const [picture, panoptic] = await Promise.all([
    renderFigure({
      panels: [{
        image: overlay(image, segmentOf, colours),
        marks: entries.flatMap(({ name, label }, index) => {
          const place = places[index];
          return place ? [{ ...place, label: name, index: label }] : [];
        }),
      }],
      legend: entries.map(({ name, label, colour, area }) => ({
        label: name,
        index: label,
        colour,
        note: formatShare(area, width * height),
      })),
    }),
    encodePanopticPng(segmentOf, width, height, ids),
  ]);
  const document: PanopticDocument = {
    ...cocoHead(found, "panoptic", file, device, files),
    annotations: [{
      image_id: 1,
      file_name: files.panoptic,
      segments_info: entries.map(({ label, area, box, score }, index) => ({
        id: ids[index]!,
        category_id: categoryId(label),
        area,
        bbox: box,
        iscrowd: 0,
        score,
      })),
    }],
  };
  await folder.write(
    new Map([
      [files.overlay, picture],
      [files.panoptic, panoptic],
      [files.json, new TextEncoder().encode(JSON.stringify(document, null, 2) + "\n")],
    ]),
  );
  return document;
}
