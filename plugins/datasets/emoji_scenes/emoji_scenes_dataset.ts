/**
 * EmojiScenes to evaluate on.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Dataset,
  type DatasetClass,
  type DatasetReadOptions,
  type DatasetSample,
  fingerprintDataset,
} from "../../../lib/data/dataset.ts";
import { InputError, OptionError } from "../../../lib/errors.ts";
import { Image } from "../../../lib/image/image.ts";
import { knownNames } from "../../../lib/stages/suggest.ts";
import { checkIndex } from "../file_dataset.ts";
import {
  renderScene,
  renderSceneOnDemand,
  type Scene,
  type SceneOptions,
  sceneVocabulary,
} from "./scene.ts";
import { firstUnseenSeed } from "./seeds.ts";
import { loadSplits } from "./splits.ts";
import { defaultSpriteSize, SpriteStore } from "./sprites.ts";
import { heldOutStyle, type Style, trainingStyles } from "./universe.ts";

const categorySplits = ["seen", "near", "far"] as const;
const heldOutSuffix = "-held-out";

/**
 * The splits: categories that the decoder was trained on, and unseen ones near to and far from
 * them; each in the styles of the training and in the one that was held out of it.
 */
export const emojiScenesSplits: readonly string[] = categorySplits.flatMap(
  (split) => [split, split + heldOutSuffix],
);

/** Scenes of a split, unless asked otherwise. */
export const defaultScenes = 500;

/** Seeds that each split has to itself; those of training's validation begin later. */
const seedsPerSplit = 2 ** 24;

/** Scenes that are drawn with single sprites before all of them are rasterised. */
const scenesOnDemand = 32;

/** Options of {@linkcode EmojiScenes}. */
export interface EmojiScenesOptions {
  /** One of {@linkcode emojiScenesSplits}; `seen` where left out. */
  readonly split?: string;
  /** How many scenes; {@linkcode defaultScenes} where left out. A prefix of a longer list. */
  readonly scenes?: number;
  /** Side of a scene in pixels; 128 where left out. */
  readonly size?: number;
  /** Share of objects that are none of the classes and labelled "others"; 0.15 where left out. */
  readonly othersShare?: number;
  /** Folder of rasterised sprites; `.cache/sprites` where left out. */
  readonly cacheDir?: string;
}

/**
 * Scenes that no training shows, rendered as they are read: the same index gives the same bytes
 * everywhere. The classes are the split's things, then the twelve textures, then "others", which
 * some objects of every split are. A split and its held-out twin lay out the same scenes.
 *
 * @example
 * ```ts
 * import { EmojiScenes } from "./emoji_scenes_dataset.ts";
 * const scenes = new EmojiScenes({ split: "seen", scenes: 2 });
 * console.log(scenes.classes.length, scenes.othersIndex); // 172 171
 * ```
 */
export class EmojiScenes implements Dataset {
  readonly name: string;
  readonly classes: readonly DatasetClass[];
  readonly othersIndex: number;
  readonly hasSegments = true;
  readonly length: number;
  readonly #split: string;
  readonly #options: Omit<SceneOptions, "seed"> & { readonly styles: readonly Style[] };
  readonly #firstSeed: number;
  readonly #cacheDir: string;
  readonly #onDemand = SpriteStore.onDemand();
  #rendered = 0;
  #sprites: Promise<SpriteStore> | null = null;

  /**
   * @param options Which scenes.
   * @throws {InputError} If there is no such split.
   * @throws {OptionError} If an option is outside its domain.
   */
  constructor(options: EmojiScenesOptions = {}) {
    const { split = "seen", scenes = defaultScenes, size = 128, othersShare = 0.15 } = options;
    const kind = categorySplits.findIndex((name) =>
      split === name || split === name + heldOutSuffix
    );
    if (kind < 0) {
      throw new InputError(
        `emoji-scenes: there is no split "${split}"; ${knownNames(split, emojiScenesSplits)}`,
      );
    }
    if (!Number.isInteger(scenes) || scenes < 1 || scenes > seedsPerSplit) {
      throw new OptionError(
        `emoji-scenes: ${scenes} scenes; it must be a whole number from 1 to ${seedsPerSplit}`,
      );
    }
    const splits = loadSplits();
    const categories = splits[categorySplits[kind]!];
    const names = sceneVocabulary(categories);
    this.name = `emoji-scenes ${split}`;
    this.othersIndex = names.length - 1;
    this.classes = names.map((name, c) => ({
      name,
      synonyms: [name],
      isThing: c < categories.length || c === this.othersIndex,
    }));
    this.length = scenes;
    this.#split = split;
    this.#options = {
      size,
      categories,
      others: splits.others,
      othersShare,
      styles: split.endsWith(heldOutSuffix) ? [heldOutStyle] : trainingStyles,
    };
    this.#firstSeed = firstUnseenSeed + kind * seedsPerSplit;
    this.#cacheDir = options.cacheDir ?? join(".cache", "sprites");
  }

  id(index: number): string {
    checkIndex(this, index);
    return `${this.#split}-${String(index).padStart(6, "0")}`;
  }

  /** As {@linkcode fingerprintDataset}, over the scenes' options too. */
  fingerprint(): Promise<string> {
    const { size, othersShare } = this.#options;
    const { classes, othersIndex, hasSegments, length } = this;
    const id = (index: number) => `${this.id(index)} ${size} ${othersShare}`;
    return fingerprintDataset({ classes, othersIndex, hasSegments, length, id });
  }

  async read(index: number, { signal }: DatasetReadOptions = {}): Promise<DatasetSample> {
    const id = this.id(index);
    signal?.throwIfAborted();
    const { width, height, rgb, labels, segmentIds, segments } = await this.#render(index);
    signal?.throwIfAborted();
    return {
      id,
      image: new Image(width, height, rgb),
      labels,
      segments: {
        ids: Int32Array.from(segmentIds),
        segments: segments.map(({ id, label, kind, area }) => ({
          id,
          label,
          isThing: kind !== "stuff",
          isCrowd: false,
          area,
        })),
      },
    };
  }

  /** A few scenes need few sprites; rasterising the whole universe for them would take longer. */
  async #render(index: number): Promise<Scene> {
    const options = { ...this.#options, seed: this.#firstSeed + index };
    const { styles } = options;
    const cached = styles.every((style) =>
      existsSync(join(this.#cacheDir, `${style}-${defaultSpriteSize}.sprites`))
    );
    if (this.#sprites === null && !cached && this.#rendered++ < scenesOnDemand) {
      return await renderSceneOnDemand(options, this.#onDemand);
    }
    this.#sprites ??= SpriteStore.open({ styles, cacheDir: this.#cacheDir });
    return renderScene({ ...options, sprites: await this.#sprites });
  }
}
