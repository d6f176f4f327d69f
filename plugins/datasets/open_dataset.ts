/**
 * Data sets by name.
 *
 * @module
 */
import type { Dataset } from "../../lib/data/dataset.ts";
import { OptionError } from "../../lib/errors.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import { openBenchmark } from "./benchmark.ts";
import { CocoPanoptic, cocoSplits } from "./coco_panoptic.ts";
import type { EmojiScenesOptions } from "./emoji_scenes/emoji_scenes_dataset.ts";
import { FolderDataset, folderSplits } from "./folder_dataset.ts";
import type { LabelledFolderOptions } from "./labelled_folder/labelled_folder.ts";
import { openPublicLayout, publicLayouts, splitsOf } from "./public_layouts.ts";

/** What a data set is opened with; {@linkcode DatasetKind} says which of it a kind takes. */
export interface OpenDatasetOptions
  extends Partial<LabelledFolderOptions>, Omit<EmojiScenesOptions, "split"> {
  /** Which part; the kind's first split where left out. */
  readonly split?: string;
}

/** A kind of data set. */
export interface DatasetKind {
  /** Its name. */
  readonly kind: string;
  /** What it is, in a few words. */
  readonly description: string;
  /** Its splits, the default first; empty where it has none. */
  readonly splits: readonly string[];
  /** The options that it needs. */
  readonly needs: readonly (keyof OpenDatasetOptions)[];
  /** The options that it takes besides, `split` apart. */
  readonly takes: readonly (keyof OpenDatasetOptions)[];
  /** Opens it, once the options are known to fit. */
  readonly open: (options: OpenDatasetOptions) => Promise<Dataset>;
}

const descriptions: Readonly<Record<typeof publicLayouts[number], string>> = {
  voc20: "PASCAL VOC 2012, 20 classes; background counts nowhere",
  voc21: "PASCAL VOC 2012, 20 classes and background",
  ade150: "ADE20K, 150 classes",
  ade847: "ADE20K, 847 classes, 16-bit labels",
  pc59: "PASCAL Context, 59 classes",
  pc459: "PASCAL Context, 459 classes, 16-bit labels",
  "coco-stuff171": "COCO-Stuff, 171 classes",
  cityscapes: "Cityscapes, 19 classes",
};

/** All kinds. */
export const datasetKinds: readonly DatasetKind[] = [
  ...publicLayouts.map((kind): DatasetKind => ({
    kind,
    description: descriptions[kind],
    splits: splitsOf(kind),
    needs: ["path"],
    takes: [],
    // deno-lint-ignore require-await
    open: async ({ path, split }) => openPublicLayout(kind, path!, split),
  })),
  {
    kind: "coco-panoptic",
    description: "COCO's panoptic JSON with its PNG files",
    splits: cocoSplits,
    needs: ["path"],
    takes: [],
    open: ({ path, split }) => CocoPanoptic.open(path!, split),
  },
  {
    kind: "folder",
    description: "a folder of images and label PNGs",
    splits: folderSplits,
    needs: ["path", "classes"],
    takes: ["ignoreLabel", "reduceZeroLabel", "imageSuffix", "labelSuffix"],
    open: ({ path, classes, split, ...options }) =>
      FolderDataset.open({ ...options, path: path!, classes: classes! }, split),
  },
  {
    kind: "emoji-scenes",
    description: "scenes of emoji that this package renders",
    splits: ["seen", "seen-held-out", "near", "near-held-out", "far", "far-held-out"],
    needs: [],
    takes: ["scenes", "size", "othersShare", "cacheDir"],
    async open(options) {
      // Its sprites need a native library; the others may do without.
      const { EmojiScenes } = await import("./emoji_scenes/emoji_scenes_dataset.ts");
      return new EmojiScenes(options);
    },
  },
  {
    kind: "benchmark",
    description: "a benchmark that ovs curate wrote",
    splits: [],
    needs: ["path"],
    takes: [],
    open: ({ path }) => openBenchmark(path!),
  },
];

/**
 * Opens a data set by its kind. It lists the images and reads none of them yet.
 *
 * @param kind Such as `ade150`; see {@linkcode datasetKinds} and `docs/datasets.md`.
 * @param options Where it is, and which part.
 * @param names What messages call the options, where people know them under other names, as flags;
 *   an option without a name is left out of them. Their own names where left out.
 * @throws {OptionError} If the kind is unknown, or an option is missing or not one of the kind's.
 * @throws {InputError} If the data set isn't there as its layout demands; names what is wrong.
 *
 * @example
 * ```ts
 * import { openDataset } from "@ovstage/ovstage/datasets";
 * const scenes = await openDataset("emoji-scenes", { split: "far", scenes: 3 });
 * console.log(scenes.length, scenes.id(2)); // 3 far-000002
 * ```
 */
export async function openDataset(
  kind: string,
  options: OpenDatasetOptions = {},
  names?: Readonly<Partial<Record<keyof OpenDatasetOptions, string>>>,
): Promise<Dataset> {
  const known = datasetKinds.find((entry) => entry.kind === kind);
  if (known === undefined) {
    const kinds = datasetKinds.map(({ kind }) => kind);
    throw new OptionError(`there is no data set "${kind}"; ${knownNames(kind, kinds)}`);
  }
  const namesOf = (options: readonly (keyof OpenDatasetOptions)[]) =>
    options.flatMap((option) => names === undefined ? option : names[option] ?? []).join(", ");
  for (const option of known.needs) {
    if (options[option] !== undefined) continue;
    throw new OptionError(`data set ${kind}: ${namesOf([option])} is missing; it is needed`);
  }
  const takes = [
    ...known.needs,
    ...known.takes,
    ...(known.splits.length > 0 ? ["split"] as const : []),
  ];
  for (const option of Object.keys(options) as (keyof OpenDatasetOptions)[]) {
    if (options[option] === undefined || takes.includes(option)) continue;
    throw new OptionError(
      `data set ${kind}: takes no ${namesOf([option])}; it takes ${namesOf(takes) || "no options"}`,
    );
  }
  return await known.open(options);
}
