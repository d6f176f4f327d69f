/**
 * EmojiScenes as training data of the mask decoder.
 *
 * @module
 */
import { Image } from "../../lib/image/image.ts";
import type { Rng } from "../../lib/rng.ts";
import { renderScene, type SceneOptions } from "../datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../datasets/emoji_scenes/seeds.ts";
import { loadSplits, seenNames } from "../datasets/emoji_scenes/splits.ts";
import { type SpriteSource, SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { writePlanes } from "./pixel_planes.ts";
import {
  addTargets,
  emptyBatch,
  type SegmentBatch,
  type SegmentData,
  type SegmentSizes,
} from "./segment_batches.ts";
import type { EmojiScenesConfig } from "./train_config.ts";

/** Seeds of validation's scenes start here: neither training nor evaluation gets so far. */
const firstValidationSeed = firstUnseenSeed + 2 ** 30;

/** What scenes show: universe indices of the things that have a class, and of those that don't. */
type SceneThings = Pick<SceneOptions, "categories" | "others" | "othersShare">;

/**
 * Renders a batch of scenes of the training categories, with things among them that have no class:
 * what nobody names is to be found all the same.
 *
 * @param rng Gives the scenes their seeds, all below `firstUnseenSeed`.
 * @param scenes B.
 */
export function sceneBatch(
  rng: Rng,
  scenes: number,
  things: SceneThings,
  sizes: SegmentSizes,
  sprites: SpriteSource,
): SegmentBatch {
  const batch = emptyBatch(scenes, sizes, false);
  const { size } = sizes;
  for (let b = 0; b < scenes; b++) {
    const scene = renderScene({ seed: rng.next() >>> 1, size, ...things, sprites });
    writePlanes(scene.rgb, batch.images, b);
    const segments = scene.segments.map(({ id, kind, label, area }) => ({
      id,
      label: kind === "others" ? -1 : label,
      area,
    }));
    addTargets(batch, b, scene.segmentIds, segments, sizes);
  }
  return batch;
}

/** Opens EmojiScenes: scenes of the 171 categories in the training styles. */
export async function openSceneData(config: EmojiScenesConfig): Promise<SegmentData> {
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const { seen, others } = loadSplits();
  const names = seenNames();
  const { size, maxSegments, othersShare } = config;
  const things: SceneThings = { categories: seen, others, othersShare };
  const sizes = { size, maxSegments, numClasses: names.length };
  return {
    names,
    fingerprint: "emoji-scenes",
    hasIgnored: false,
    validationImages: Infinity,
    batch: (rng, scenes) => sceneBatch(rng, scenes, things, sizes, sprites),
    validationImage(index) {
      const seed = firstValidationSeed + index;
      const { width, height, rgb, labels } = renderScene({ seed, size, ...things, sprites });
      const named = labels.map((label) => label < names.length ? label : -1);
      return { image: new Image(width, height, rgb), labels: named };
    },
  };
}
