/**
 * COCO's panoptic format: a JSON document, and PNG files whose colours are segment ids.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  type Dataset,
  type DatasetClass,
  type DatasetReadOptions,
  type DatasetSample,
  type DatasetSegment,
  fingerprintDataset,
} from "../../lib/data/dataset.ts";
import { InputError } from "../../lib/errors.ts";
import { readImage } from "../codecs/read_image.ts";
import { configErrors } from "../training/config_errors.ts";
import { checkIndex, checkSizes } from "./file_dataset.ts";
import { readDatasetFile } from "./label_file.ts";
import { decodePng } from "./labelled_folder/label_png.ts";
import { isFolder } from "./list_files.ts";

const id = z.int().min(0);
const documentSchema = z.object({
  images: z.array(z.object({ id: z.union([z.int(), z.string()]), file_name: z.string().min(1) })),
  annotations: z.array(z.object({
    image_id: z.union([z.int(), z.string()]),
    file_name: z.string().min(1),
    segments_info: z.array(z.object({
      id: id.max(0xffffff),
      category_id: id,
      iscrowd: z.union([z.literal(0), z.literal(1), z.boolean()]).default(0),
    })),
  })),
  categories: z.array(z.object({
    id,
    name: z.string().min(1),
    isthing: z.union([z.literal(0), z.literal(1), z.boolean()]),
  })).min(1),
});

type PanopticDocument = z.infer<typeof documentSchema>;
type SegmentInfo = PanopticDocument["annotations"][number]["segments_info"][number];

interface Entry {
  readonly id: string;
  readonly image: string;
  readonly labels: string;
  readonly segments: readonly SegmentInfo[];
}

async function readDocument(path: string): Promise<PanopticDocument> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const why = cause instanceof SyntaxError ? "is no valid JSON: " : "can't be read: ";
    throw new InputError(`${path}: ${why}${(cause as Error).message}`, { cause });
  }
  const parsed = documentSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const schema = z.toJSONSchema(documentSchema, { io: "input" }) as Record<string, unknown>;
  throw new InputError(`${path}: ${configErrors(parsed.error.issues, json, schema)[0]}`);
}

/** Where the JSON document is, and the folders of its images and PNG files. */
export interface CocoPanopticFiles {
  /** The document, such as `annotations/panoptic_val2017.json`. */
  readonly json: string;
  /** The folder of the images, such as `val2017`. */
  readonly images: string;
  /** The folder of the PNG files, such as `annotations/panoptic_val2017`. */
  readonly labels: string;
}

const splits: Readonly<Record<string, string>> = { val: "val2017", train: "train2017" };

/** Splits of COCO, the default first. */
export const cocoSplits: readonly string[] = Object.keys(splits);

/** Finds COCO's files below a folder. */
function findFiles(path: string, split: string): CocoPanopticFiles {
  const name = splits[split];
  if (name === undefined) {
    throw new InputError(
      `coco-panoptic: there is no split "${split}"; known: ${cocoSplits.join(", ")}`,
    );
  }
  for (const root of [path, join(path, "coco")]) {
    const json = join(root, "annotations", `panoptic_${name}.json`);
    if (!existsSync(json)) continue;
    // The archive inside the archive unpacks beside the document; detectron2 has it beside images.
    const places = [join(root, "annotations"), root].map((at) => join(at, `panoptic_${name}`));
    const labels = places.find(isFolder);
    if (labels === undefined) {
      throw new InputError(`${places[0]}: no such folder; it must hold the PNG files of ${json}`);
    }
    const images = [join(root, name), join(root, "images", name)].find(isFolder);
    if (images === undefined) {
      throw new InputError(
        `${join(root, name)}: no such folder; it must hold the images of ${json}`,
      );
    }
    return { json, images, labels };
  }
  throw new InputError(
    `${path}: does not hold coco-panoptic; there must be annotations/panoptic_${name}.json`,
  );
}

/** Segment ids of a PNG: red + 256·green + 65,536·blue. */
function decodeIds(bytes: Uint8Array, name: string): {
  width: number;
  height: number;
  ids: Int32Array;
} {
  const { width, height, depth, channels, data, palette } = decodePng(bytes, name);
  if (depth !== 8 || channels !== 3 || palette !== undefined) {
    throw new InputError(
      `${name}: has ${channels} channels of ${depth} bits; a panoptic PNG has red, green and blue ` +
        "of 8",
    );
  }
  const ids = new Int32Array(width * height);
  for (let i = 0, at = 0; i < ids.length; i++, at += 3) {
    ids[i] = data[at]! + 256 * data[at + 1]! + 65536 * data[at + 2]!;
  }
  return { width, height, ids };
}

/** COCO's panoptic data set, or one in its format. */
export class CocoPanoptic implements Dataset {
  readonly name = "coco-panoptic";
  readonly classes: readonly DatasetClass[];
  readonly othersIndex = null;
  readonly hasSegments = true;
  readonly #entries: readonly Entry[];
  readonly #indexOf: ReadonlyMap<number, number>;

  private constructor(
    classes: readonly DatasetClass[],
    entries: readonly Entry[],
    indexOf: ReadonlyMap<number, number>,
  ) {
    this.classes = classes;
    this.#entries = entries;
    this.#indexOf = indexOf;
  }

  /**
   * Opens it: reads the document, and checks that every image has its annotation and its files.
   *
   * @param path COCO's folder, or one above it.
   * @param split `val` where left out.
   * @throws {InputError} If something is missing, there twice, or not in the format; names it.
   */
  static open(path: string, split = "val"): Promise<CocoPanoptic> {
    return CocoPanoptic.openFiles(findFiles(path, split));
  }

  /** As {@linkcode CocoPanoptic.open}, of files that lie anywhere. */
  static async openFiles({ json, images, labels }: CocoPanopticFiles): Promise<CocoPanoptic> {
    const document = await readDocument(json);
    const indexOf = new Map<number, number>();
    const names = new Set<string>();
    document.categories.forEach(({ id, name }, index) => {
      if (indexOf.has(id)) throw new InputError(`${json}: two categories have the id ${id}`);
      if (names.has(name)) throw new InputError(`${json}: two categories are called "${name}"`);
      indexOf.set(id, index);
      names.add(name);
    });
    const files = new Map<string | number, string>();
    for (const { id, file_name } of document.images) {
      if (files.has(id)) throw new InputError(`${json}: two images have the id ${id}`);
      files.set(id, file_name);
    }
    const annotated = new Set<string | number>();
    const entries = document.annotations.map(({ image_id, file_name, segments_info }): Entry => {
      const image = files.get(image_id);
      if (image === undefined) {
        throw new InputError(`${json}: the annotation ${file_name} is of no image in the document`);
      }
      if (annotated.has(image_id)) throw new InputError(`${json}: ${image} has two annotations`);
      annotated.add(image_id);
      for (const { id, category_id } of segments_info) {
        if (indexOf.has(category_id)) continue;
        throw new InputError(
          `${json}: segment ${id} of ${file_name} has the category ${category_id}, which the ` +
            `document's ${document.categories.length} categories lack`,
        );
      }
      const entry = {
        id: file_name.replace(/\.png$/i, ""),
        image: join(images, image),
        labels: join(labels, file_name),
        segments: segments_info,
      };
      if (!existsSync(entry.labels)) {
        throw new InputError(`${entry.image}: has no labels; there is no ${entry.labels}`);
      }
      if (!existsSync(entry.image)) {
        throw new InputError(`${entry.labels}: has no image; there is no ${entry.image}`);
      }
      return entry;
    });
    for (const [id, file] of files) {
      if (!annotated.has(id)) throw new InputError(`${json}: the image ${file} has no annotation`);
    }
    if (entries.length === 0) throw new InputError(`${json}: has no images`);
    const ids = new Set(entries.map(({ id }) => id));
    if (ids.size < entries.length) {
      throw new InputError(`${json}: two annotations share a PNG file`);
    }
    const classes = document.categories.map(({ name, isthing }) => ({
      name,
      synonyms: [name],
      isThing: Boolean(isthing),
    }));
    return new CocoPanoptic(classes, entries, indexOf);
  }

  get length(): number {
    return this.#entries.length;
  }

  id(index: number): string {
    checkIndex(this, index);
    return this.#entries[index]!.id;
  }

  fingerprint(): Promise<string> {
    return fingerprintDataset(this);
  }

  async read(index: number, { signal }: DatasetReadOptions = {}): Promise<DatasetSample> {
    checkIndex(this, index);
    signal?.throwIfAborted();
    const entry = this.#entries[index]!;
    const [image, bytes] = await Promise.all([
      readImage(entry.image),
      readDatasetFile(entry.labels),
    ]);
    signal?.throwIfAborted();
    const { width, height, ids } = decodeIds(bytes, entry.labels);
    checkSizes(entry, image, { width, height });

    const areas = new Map<number, number>();
    for (const id of ids) areas.set(id, (areas.get(id) ?? 0) + 1);
    const labelOf = new Map([[0, -1]]);
    const segments = entry.segments.map(({ id, category_id, iscrowd }): DatasetSegment => {
      const label = this.#indexOf.get(category_id)!;
      const area = areas.get(id);
      if (id === 0 || area === undefined) {
        throw new InputError(`${entry.labels}: has no pixel of segment ${id} of its annotation`);
      }
      if (labelOf.has(id)) {
        throw new InputError(`${entry.labels}: its annotation has the segment ${id} twice`);
      }
      labelOf.set(id, label);
      const isThing = this.classes[label]!.isThing!;
      return { id, label, isThing, isCrowd: Boolean(iscrowd), area };
    });
    const labels = new Int32Array(ids.length);
    for (let i = 0; i < ids.length; i++) {
      const label = labelOf.get(ids[i]!);
      if (label === undefined) {
        throw new InputError(
          `${entry.labels}: has the segment ${ids[i]} at row ${Math.floor(i / width)}, column ` +
            `${i % width}, which its annotation lacks`,
        );
      }
      labels[i] = label;
    }
    return { id: entry.id, image, labels, segments: { ids, segments } };
  }
}
