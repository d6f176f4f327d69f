/**
 * The layouts of public benchmarks with an image file and a label file each; `docs/datasets.md`
 * shows them as trees.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import { builtinVocabulary } from "../vocabularies/builtin_vocabularies.ts";
import { FileDataset } from "./file_dataset.ts";
import { LabelTable } from "./label_table.ts";
import { isFolder, type LabelledFolders, listedFiles, pairFiles } from "./list_files.ts";

/** One way in which a benchmark's files may lie. */
interface Tree extends LabelledFolders {
  /** Folders from the one that is named to the one that `images` and `labels` start from. */
  readonly roots: readonly string[];
  /** The file that lists the images, if one does. `{}` in a path stands for the split. */
  readonly list?: string;
  /** What the split is called in paths. */
  readonly splits: Readonly<Record<string, string>>;
  /** From the benchmark's number of a class to its label value. */
  readonly valueOf: (id: number) => number;
  /** Label values that count nowhere. */
  readonly ignored: readonly number[];
  /** Whether labels must have 16 bits. */
  readonly wide?: boolean;
}

/** A public benchmark. */
interface Layout {
  /** Its built-in vocabulary. */
  readonly vocabulary: string;
  /** Its trees; the first one that is there counts. */
  readonly trees: readonly Tree[];
}

const [same, minusOne] = [(id: number) => id, (id: number) => id - 1];
const valTrain = { val: "val", train: "train", trainval: "trainval" };
const validationTraining = { val: "validation", train: "training" };

const voc: Omit<Tree, "ignored"> = {
  roots: ["", "VOC2012", "VOCdevkit/VOC2012"],
  images: "JPEGImages",
  labels: "SegmentationClass",
  list: "ImageSets/Segmentation/{}.txt",
  imageSuffixes: [".jpg"],
  labelSuffixes: [".png"],
  splits: valTrain,
  valueOf: same,
};

/** What detectron2's preparation scripts write for PASCAL Context. */
const context = (labels: string): Omit<Tree, "ignored"> => ({
  roots: ["", "pascal_ctx_d2"],
  images: "images/{}",
  labels: `${labels}/{}`,
  imageSuffixes: [".jpg"],
  labelSuffixes: [".png"],
  splits: validationTraining,
  valueOf: minusOne,
});

const cocoStuff = {
  imageSuffixes: [".jpg"],
  labelSuffixes: [".png"],
  splits: { val: "val2017", train: "train2017" },
  valueOf: minusOne,
  ignored: [255],
};

const wideFiles = { labelSuffixes: [".tif", ".tiff", ".png"], ignored: [65535], wide: true };

const layouts = {
  voc20: { vocabulary: "voc20", trees: [{ ...voc, ignored: [0, 255] }] },
  voc21: { vocabulary: "voc21", trees: [{ ...voc, ignored: [255] }] },
  ade150: {
    vocabulary: "ade150",
    trees: [{
      roots: ["", "ADEChallengeData2016"],
      images: "images/{}",
      labels: "annotations/{}",
      imageSuffixes: [".jpg"],
      labelSuffixes: [".png"],
      splits: validationTraining,
      valueOf: same,
      ignored: [0],
    }],
  },
  ade847: {
    vocabulary: "ade847",
    trees: [{
      roots: ["", "ADE20K_2021_17_01"],
      images: "images_detectron2/{}",
      labels: "annotations_detectron2/{}",
      imageSuffixes: [".jpg"],
      splits: validationTraining,
      valueOf: same,
      ...wideFiles,
    }],
  },
  pc59: {
    vocabulary: "pc59",
    trees: [
      { ...context("annotations_ctx59"), ignored: [255] },
      // What mmsegmentation's converter writes.
      {
        roots: ["", "VOC2010", "VOCdevkit/VOC2010"],
        images: "JPEGImages",
        labels: "SegmentationClassContext",
        list: "ImageSets/SegmentationContext/{}.txt",
        imageSuffixes: [".jpg"],
        labelSuffixes: [".png"],
        splits: valTrain,
        valueOf: same,
        ignored: [0],
      },
    ],
  },
  pc459: {
    vocabulary: "pc459",
    trees: [{ ...context("annotations_ctx459"), ...wideFiles }],
  },
  "coco-stuff171": {
    vocabulary: "coco-stuff171",
    trees: [
      { ...cocoStuff, roots: ["", "coco"], images: "{}", labels: "stuffthingmaps/{}" },
      {
        ...cocoStuff,
        roots: ["", "coco_stuff164k", "dataset"],
        images: "images/{}",
        labels: "annotations/{}",
        // mmsegmentation's converter writes its own labels beside the original ones.
        otherSuffixes: ["_labelTrainIds.png"],
      },
    ],
  },
  cityscapes: {
    vocabulary: "cityscapes19",
    trees: [{
      roots: ["", "cityscapes"],
      images: "leftImg8bit/{}",
      labels: "gtFine/{}",
      imageSuffixes: ["_leftImg8bit.png"],
      labelSuffixes: ["_gtFine_labelIds.png"],
      splits: { val: "val", train: "train" },
      valueOf: same,
      // All of Cityscapes' numbers that have no training number.
      ignored: [...Array(7).keys(), 9, 10, 14, 15, 16, 18, 29, 30],
    }],
  },
} satisfies Record<string, Layout>;

/** The name of a public benchmark with label files. */
export type PublicLayout = keyof typeof layouts;

/** Their names. */
export const publicLayouts = Object.keys(layouts) as readonly PublicLayout[];

/** Splits of a benchmark, the default first. */
export function splitsOf(kind: PublicLayout): string[] {
  const layout: Layout = layouts[kind];
  return [...new Set(layout.trees.flatMap((tree) => Object.keys(tree.splits)))];
}

/**
 * Opens a public benchmark: finds its folders below the one that is named, and pairs its files.
 *
 * @param kind Which benchmark.
 * @param path Its folder, or one above it.
 * @param split Which part; `val` where left out.
 * @throws {InputError} If the folder hasn't the benchmark's layout, the split is unknown, or an
 *   image and its labels are not both there.
 */
export function openPublicLayout(kind: PublicLayout, path: string, split = "val"): FileDataset {
  const layout: Layout = layouts[kind];
  const known = splitsOf(kind);
  if (!known.includes(split)) {
    throw new InputError(`${kind}: there is no split "${split}"; ${knownNames(split, known)}`);
  }
  if (!isFolder(path)) throw new InputError(`${path}: no such folder; it must hold ${kind}`);
  const trees = layout.trees.filter((tree) => tree.splits[split] !== undefined);
  const found = findTree(trees, path, split);
  if (found === undefined) {
    const wanted = trees.map((tree) => {
      const [images, labels] = [fill(tree, split, "images"), fill(tree, split, "labels")];
      return `${images}/ and ${labels}/${tree.list ? ` and ${fill(tree, split, "list")}` : ""}`;
    });
    throw new InputError(
      `${path}: does not hold ${kind}; there must be ${[...new Set(wanted)].join(", or ")}`,
    );
  }
  const { tree, root } = found;
  const folders: LabelledFolders = {
    images: join(root, fill(tree, split, "images")),
    labels: join(root, fill(tree, split, "labels")),
    imageSuffixes: tree.imageSuffixes,
    labelSuffixes: tree.labelSuffixes,
    otherSuffixes: tree.otherSuffixes ?? [],
  };
  const classes = builtinVocabulary(layout.vocabulary);
  const { ignored, wide = false } = tree;
  return new FileDataset({
    name: kind,
    classes,
    files: tree.list === undefined
      ? pairFiles(folders)
      : listedFiles(join(root, fill(tree, split, "list")), folders),
    table: new LabelTable(classes.map(({ id }) => tree.valueOf(id)), { ignored, wide }),
  });
}

function fill(tree: Tree, split: string, part: "images" | "labels" | "list"): string {
  return (tree[part] ?? "").replaceAll("{}", tree.splits[split]!);
}

/** The first tree of which anything is there: what is missing in it can then be said by name. */
function findTree(
  trees: readonly Tree[],
  path: string,
  split: string,
): { tree: Tree; root: string } | undefined {
  for (const part of ["labels", "images"] as const) {
    for (const tree of trees) {
      for (const folder of tree.roots) {
        const root = join(path, folder);
        if (existsSync(join(root, fill(tree, split, part)))) return { tree, root };
      }
    }
  }
  return undefined;
}
