/**
 * Batches for the mask decoder: EmojiScenes with the masks and classes of their segments.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { renderScene, type Scene } from "../datasets/emoji_scenes/scene.ts";
import type { SpriteSource } from "../datasets/emoji_scenes/sprites.ts";
import { writePlanes } from "./pixel_planes.ts";

/** Side of a training scene in pixels. */
export const sceneSize = 128;
/** Side of its masks: a quarter. */
export const maskSize = sceneSize / 4;
/** G, the most segments of a scene that are trained on; the smallest are left out. */
export const maxSegments = 12;

/** One batch of B scenes. */
export interface SceneBatch {
  /** B×3×128×128, RGB in 0…1. */
  images: Float32Array;
  /** B×G×1024: the share of each mask cell that the segment covers. */
  masks: Float32Array;
  /** B×G×C: one 1 in each row that holds a segment, none in the others. */
  classes: Float32Array;
}

/**
 * Renders a batch of scenes of the training categories.
 *
 * @param rng Gives the scenes their seeds, all below `firstUnseenSeed`.
 * @param scenes B.
 * @param categories Universe indices of the things.
 * @param numClasses C, things and textures.
 */
export function sceneBatch(
  rng: Rng,
  scenes: number,
  categories: readonly number[],
  numClasses: number,
  sprites: SpriteSource,
): SceneBatch {
  const images = new Float32Array(scenes * 3 * sceneSize * sceneSize);
  const masks = new Float32Array(scenes * maxSegments * maskSize * maskSize);
  const classes = new Float32Array(scenes * maxSegments * numClasses);
  for (let b = 0; b < scenes; b++) {
    const scene = renderScene({ seed: rng.next() >>> 1, size: sceneSize, categories, sprites });
    writePlanes(scene.rgb, images, b);
    addTargets(scene, b, numClasses, masks, classes);
  }
  return { images, masks, classes };
}

function addTargets(
  scene: Scene,
  b: number,
  numClasses: number,
  masks: Float32Array,
  classes: Float32Array,
): void {
  const largest = [...scene.segments].sort((s, t) => t.area - s.area).slice(0, maxSegments);
  const slotOf = new Map(largest.map((segment, g) => [segment.id, g]));
  largest.forEach((segment, g) => {
    classes[(b * maxSegments + g) * numClasses + segment.label] = 1;
  });
  for (let y = 0; y < sceneSize; y++) {
    for (let x = 0; x < sceneSize; x++) {
      const g = slotOf.get(scene.segmentIds[y * sceneSize + x]!);
      if (g === undefined) continue;
      masks[(b * maxSegments + g) * maskSize ** 2 + (y >> 2) * maskSize + (x >> 2)]! += 1 / 16;
    }
  }
}
