/**
 * Instance segmentation of an image file: overlay, COCO's results and a COCO document.
 *
 * @module
 */
import { basename, extname } from "node:path";
import { type CocoRle, decodeRle } from "../../lib/image/coco_rle.ts";
import type { Image } from "../../lib/image/image.ts";
import { labelPlaces } from "../../lib/image/label_places.ts";
import { overlay } from "../../lib/image/overlay.ts";
import { palette, type Rgb } from "../../lib/image/palette.ts";
import type { Instance, VocabularySlot } from "../../lib/stages/slots.ts";
import { renderFigure } from "../codecs/figure.ts";
import { categoryId, type CocoHead, cocoHead, type CocoSubject } from "./coco_document.ts";
import { numberedNames } from "./numbered_names.ts";
import type { OutputFolder } from "./output_folder.ts";
import type { OpenPipeline } from "./plan_pipeline.ts";
import { type OnProgress, runTask } from "./run_task.ts";

/** An object that is shown. */
export interface ShownInstance extends Instance {
  /** Its class, numbered where there are several of it. */
  readonly name: string;
  /** Its colour. */
  readonly colour: Rgb;
}

/** The objects of an image, in memory. */
export interface InstancesImage extends CocoSubject {
  /** All objects, best first. */
  instances: readonly Instance[];
  /** Those that are sure enough for people to see, best first. */
  shown: ShownInstance[];
}

/**
 * Runs an open pipeline on an image; see {@linkcode runTask}.
 *
 * @param minScore Objects with a lower score are not shown.
 */
export async function instancesImage(
  pipeline: OpenPipeline,
  image: Image,
  vocabulary: VocabularySlot,
  minScore: number,
  onProgress?: OnProgress,
): Promise<InstancesImage> {
  const { value: instances, ...times } = await runTask(
    pipeline,
    image,
    vocabulary,
    "instances",
    ({ instances }) => instances,
    onProgress,
  );
  const sure = instances.filter(({ score }) => score >= minScore);
  const names = numberedNames(sure.map(({ label }) => label), vocabulary.names);
  const colours = palette(sure.length);
  const shown = sure.map((instance, index) => ({
    ...instance,
    name: names[index]!,
    colour: colours[index]!,
  }));
  return { image, vocabulary, instances, shown, ...times };
}

/** One line of COCO's results; the format has an array of them. */
export interface CocoResult {
  /** The image. */
  image_id: 1;
  /** The class, from 1. */
  category_id: number;
  /** The mask, in run lengths. */
  segmentation: CocoRle;
  /** Left, top, width, height. */
  bbox: readonly [x: number, y: number, width: number, height: number];
  /** How sure it is. */
  score: number;
}

/** The file NAME.json, in COCO's format of annotations; `--json` prints the same. */
export interface InstancesDocument extends CocoHead {
  /** The objects, best first. */
  annotations: (CocoResult & { id: number; area: number; iscrowd: 0 })[];
}

/**
 * Writes NAME.overlay.png, NAME.results.json and NAME.json.
 *
 * @param found The result.
 * @param file The image's path; NAME is its last part without the extension.
 * @param device What computed it.
 * @param folder Where the files go.
 * @returns The document, as it was written.
 * @throws {OutputError} If a file can't be written; none is left behind then.
 */
export async function writeInstances(
  found: InstancesImage,
  file: string,
  device: string,
  folder: OutputFolder,
): Promise<InstancesDocument> {
  const { image, instances, shown } = found;
  const { width, height } = image;
  const name = basename(file, extname(file));
  const files = {
    overlay: `${name}.overlay.png`,
    results: `${name}.results.json`,
    json: `${name}.json`,
  };
  // Where masks overlap, the best object lies on top.
  const top = new Int32Array(width * height).fill(-1);
  for (const [index, { mask }] of [...shown.entries()].reverse()) {
    decodeRle(mask).forEach((inside, i) => {
      if (inside) top[i] = index;
    });
  }
  const places = labelPlaces(top, width, height, shown.length);
  const picture = await renderFigure({
    panels: [{
      image: overlay(image, top, shown.map(({ colour }) => colour)),
      marks: shown.flatMap(({ name, label }, index) => {
        const place = places[index];
        return place ? [{ ...place, label: name, index: label }] : [];
      }),
    }],
    legend: shown.map(({ name, label, colour, score }) => ({
      label: name,
      index: label,
      colour,
      note: score.toFixed(2),
    })),
  });
  const results = instances.map(({ label, mask, box, score }): CocoResult => ({
    image_id: 1,
    category_id: categoryId(label),
    segmentation: mask,
    bbox: box,
    score,
  }));
  const document: InstancesDocument = {
    ...cocoHead(found, "instance", file, device, files),
    annotations: results.map((result, index) => ({
      id: index + 1,
      ...result,
      area: instances[index]!.area,
      iscrowd: 0,
    })),
  };
  const encode = (value: unknown) =>
    new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n");
  await folder.write(
    new Map([
      [files.overlay, picture],
      [files.results, encode(results)],
      [files.json, encode(document)],
    ]),
  );
  return document;
}
