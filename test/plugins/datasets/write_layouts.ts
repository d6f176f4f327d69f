import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { encode } from "fast-png";
import sharp from "sharp";
import { encodeLabelPng } from "../../../lib/image/indexed_png.ts";
import { encodeBenchmarkLabels } from "../../../plugins/datasets/benchmark.ts";

/** An image's truth: class indices, −1 where a pixel counts nowhere. */
export interface Truth {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly labels: Int32Array;
}

/** What a layout's own tools call an image. */
export type FileName = (i: number) => string;

/** How a test writes a layout, and what it knows about it by heart. */
export interface WrittenLayout {
  readonly classes: number;
  readonly id: FileName;
  /** Whether void can be written at all. */
  readonly hasVoid: boolean;
  /** Writes the samples, and gives the folder that `openDataset` is to be told. */
  write(root: string, samples: readonly Truth[]): Promise<string>;
}

export function writeBytes(path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

const jpegs = new Map<string, Uint8Array>();

export async function writeJpeg(path: string, width: number, height: number): Promise<void> {
  const create = { width, height, channels: 3, background: "#7f3f1f" } as const;
  const key = `${width}×${height}`;
  if (!jpegs.has(key)) jpegs.set(key, await sharp({ create }).jpeg().toBuffer());
  writeBytes(path, jpegs.get(key)!);
}

export const greyPng = (width: number, height: number, values: ArrayLike<number>, depth: 8 | 16) =>
  encode({
    width,
    height,
    depth,
    channels: 1,
    data: depth === 8 ? Uint8Array.from(values) : Uint16Array.from(values),
  });

export async function greyTiff(
  width: number,
  height: number,
  values: ArrayLike<number>,
  compression: "none" | "lzw" | "deflate" | "packbits" = "lzw",
): Promise<Uint8Array> {
  const raw = { width, height, channels: 1 } as const;
  return await sharp(Uint16Array.from(values), { raw }).toColourspace("grey16")
    .tiff({ compression }).toBuffer();
}

const palette = Array.from({ length: 255 }, (_, i) => [i, 255 - i, 7] as [number, number, number]);

/** Two folders with a file of each image. */
function folders(
  options: {
    classes: number;
    images: string;
    labels: string;
    id?: FileName;
    imageSuffix?: string;
    labelSuffix?: string;
    value: (label: number) => number;
    encode?: (width: number, height: number, values: number[]) => Promise<Uint8Array> | Uint8Array;
    list?: string;
  },
): WrittenLayout {
  const { id = (i) => `image_${i}`, imageSuffix = ".jpg", labelSuffix = ".png" } = options;
  const encode = options.encode ?? ((w, h, values) => greyPng(w, h, values, 8));
  return {
    classes: options.classes,
    id,
    hasVoid: true,
    async write(root, samples) {
      for (const { id, width, height, labels } of samples) {
        await writeJpeg(join(root, options.images, id + imageSuffix), width, height);
        const values = Array.from(labels, options.value);
        const bytes = await encode(width, height, values);
        writeBytes(join(root, options.labels, id + labelSuffix), bytes);
      }
      if (options.list !== undefined) {
        writeBytes(join(root, options.list), samples.map(({ id }) => `${id}\n`).join(""));
      }
      return root;
    },
  };
}

const voc = {
  id: (i: number) => `2007_00000${i}`,
  images: "VOCdevkit/VOC2012/JPEGImages",
  labels: "VOCdevkit/VOC2012/SegmentationClass",
  list: "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
  encode: (width: number, height: number, values: number[]) =>
    encodeLabelPng(
      Int32Array.from(values, (value) => value === 255 ? -1 : value),
      width,
      height,
      palette,
    ),
};

const wide = (width: number, height: number, values: number[]) =>
  greyPng(width, height, values, 16);

/** COCO's numbers that no class has. */
const cocoGaps = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91];
const cocoIds = Array.from({ length: 182 }, (_, i) => i + 1).filter((id) => !cocoGaps.includes(id));
const cityscapesIds = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33];

/** Every layout by the kind of its data set and, after a space, what else is special about it. */
export const writtenLayouts: Readonly<Record<string, WrittenLayout>> = {
  voc20: folders({ ...voc, classes: 20, value: (c) => c < 0 ? 0 : c + 1 }),
  "voc20 border": folders({ ...voc, classes: 20, value: (c) => c < 0 ? 255 : c + 1 }),
  voc21: folders({ ...voc, classes: 21, value: (c) => c < 0 ? 255 : c }),
  ade150: folders({
    classes: 150,
    id: (i) => `ADE_val_0000000${i}`,
    images: "images/validation",
    labels: "annotations/validation",
    value: (c) => c + 1,
  }),
  ade847: folders({
    classes: 847,
    images: "ADE20K_2021_17_01/images_detectron2/validation",
    labels: "ADE20K_2021_17_01/annotations_detectron2/validation",
    labelSuffix: ".tif",
    value: (c) => c < 0 ? 65535 : c,
    encode: greyTiff,
  }),
  "ade847 PNG": folders({
    classes: 847,
    images: "images_detectron2/validation",
    labels: "annotations_detectron2/validation",
    value: (c) => c < 0 ? 65535 : c,
    encode: wide,
  }),
  pc59: folders({
    classes: 59,
    images: "pascal_ctx_d2/images/validation",
    labels: "pascal_ctx_d2/annotations_ctx59/validation",
    value: (c) => c < 0 ? 255 : c,
  }),
  "pc59 mmsegmentation": folders({
    classes: 59,
    images: "VOC2010/JPEGImages",
    labels: "VOC2010/SegmentationClassContext",
    list: "VOC2010/ImageSets/SegmentationContext/val.txt",
    value: (c) => c + 1,
  }),
  pc459: folders({
    classes: 459,
    images: "images/validation",
    labels: "annotations_ctx459/validation",
    labelSuffix: ".tif",
    value: (c) => c < 0 ? 65535 : c,
    encode: (w, h, values) => greyTiff(w, h, values, "deflate"),
  }),
  "coco-stuff171": folders({
    classes: 171,
    id: (i) => `00000000000${i}`,
    images: "val2017",
    labels: "stuffthingmaps/val2017",
    value: (c) => c < 0 ? 255 : cocoIds[c]! - 1,
  }),
  "coco-stuff171 mmsegmentation": folders({
    classes: 171,
    images: "coco_stuff164k/images/val2017",
    labels: "coco_stuff164k/annotations/val2017",
    value: (c) => c < 0 ? 255 : cocoIds[c]! - 1,
  }),
  cityscapes: folders({
    classes: 19,
    id: (i) => `munster/munster_00000${i}_000019`,
    images: "leftImg8bit/val",
    labels: "gtFine/val",
    imageSuffix: "_leftImg8bit.png",
    labelSuffix: "_gtFine_labelIds.png",
    value: (c) => c < 0 ? 4 : cityscapesIds[c]!,
  }),
  benchmark: {
    classes: 300,
    id: (i) => `far away/${i}`,
    hasVoid: true,
    async write(root, samples) {
      const files = await Promise.all(samples.map(async ({ id, width, height, labels }, i) => {
        await writeJpeg(join(root, `images/${i}.jpg`), width, height);
        const bytes = encodeBenchmarkLabels(labels, width, height);
        writeBytes(join(root, `labels/${i}.png`), bytes);
        return { id, image: `images/${i}.jpg`, labels: `labels/${i}.png` };
      }));
      const classes = Array.from({ length: 300 }, (_, c) => (
        { name: `class ${c}`, synonyms: [`class ${c}`], isThing: null }
      ));
      writeBytes(
        join(root, "benchmark.json"),
        JSON.stringify({
          format: "ovstage-benchmark",
          version: 1,
          name: "tiny",
          classes,
          othersIndex: 299,
          samples: files,
        }),
      );
      return root;
    },
  },
};

/** A segment of {@linkcode writeCocoPanoptic}. */
export interface WrittenSegment {
  readonly id: number;
  readonly category: number;
  readonly crowd?: boolean;
}

export const cocoCategories = [
  { id: 1, name: "person", isthing: 1 },
  { id: 44, name: "bottle", isthing: 1 },
  { id: 187, name: "sky-other-merged", isthing: 0 },
];

/** Writes COCO's panoptic format; `change` may spoil the document. */
export async function writeCocoPanoptic(
  root: string,
  samples: readonly {
    readonly id: string;
    readonly width: number;
    readonly height: number;
    readonly ids: Int32Array;
    readonly segments: readonly WrittenSegment[];
  }[],
  // deno-lint-ignore no-explicit-any
  change: (document: any) => void = () => {},
): Promise<void> {
  const document = {
    info: { description: "tiny" },
    images: samples.map(({ id, width, height }, i) => ({
      id: 100 + i,
      file_name: `${id}.jpg`,
      width,
      height,
    })),
    annotations: samples.map(({ id, segments }, i) => ({
      image_id: 100 + i,
      file_name: `${id}.png`,
      segments_info: segments.map(({ id, category, crowd }) => ({
        id,
        category_id: category,
        iscrowd: crowd ? 1 : 0,
        area: 0,
        bbox: [0, 0, 0, 0],
      })),
    })),
    categories: cocoCategories.map((category) => ({ ...category, color: [1, 2, 3] })),
  };
  change(document);
  for (const { id, width, height, ids } of samples) {
    await writeJpeg(join(root, `val2017/${id}.jpg`), width, height);
    const data = Uint8Array.from([...ids].flatMap((id) => [id & 255, (id >> 8) & 255, id >> 16]));
    writeBytes(
      join(root, `annotations/panoptic_val2017/${id}.png`),
      encode({ width, height, channels: 3, depth: 8, data }),
    );
  }
  writeBytes(join(root, "annotations/panoptic_val2017.json"), JSON.stringify(document));
}
