/**
 * How good the trained networks are: on scenes and drawings that no training has shown.
 *
 * @module
 */
import { Image } from "../../lib/image/image.ts";
import { ConfusionMatrix } from "../../lib/metrics/confusion_matrix.ts";
import { Rng } from "../../lib/rng.ts";
import type { Engine } from "../../lib/runtime.ts";
import type { Pipeline } from "../../lib/stages/pipeline.ts";
import type { SlotName } from "../../lib/stages/slots.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { float32 } from "../../lib/tensor.ts";
import { drawSprite } from "../datasets/emoji_scenes/composite.ts";
import { renderScene } from "../datasets/emoji_scenes/scene.ts";
import { loadSplits, seenNames } from "../datasets/emoji_scenes/splits.ts";
import type { SpriteSource } from "../datasets/emoji_scenes/sprites.ts";
import { renderStuff, stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import { emojiUniverse, type Style, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import type { ClipModels } from "./clip.ts";
import { embedNames } from "./towers.ts";
import { writePlanes } from "./pixel_planes.ts";

/** Scenes to evaluate on. */
export interface SceneEvaluation {
  /** Universe indices of the things. */
  categories?: readonly number[];
  /** The vocabulary: the things' names in order, then the textures'. */
  names?: readonly string[];
  /** Drawing styles. */
  styles?: readonly Style[];
  /** How many scenes. */
  scenes: number;
  /** Seed of the first one; `firstUnseenSeed` and above are unseen. */
  firstSeed: number;
}

/**
 * Segments scenes and compares with the truth.
 *
 * @param pipeline An open pipeline.
 * @param sprites Sprites of the categories in the styles.
 * @returns Pixels by true and predicted class.
 */
export async function evaluateScenes(
  pipeline: Pipeline<"image" | "vocabulary", SlotName>,
  sprites: SpriteSource,
  evaluation: SceneEvaluation,
): Promise<ConfusionMatrix> {
  const { scenes, firstSeed, styles = trainingStyles } = evaluation;
  const { categories = loadSplits().seen, names = seenNames() } = evaluation;
  const matrix = new ConfusionMatrix(names.length);
  for (let i = 0; i < scenes; i++) {
    const scene = renderScene({ seed: firstSeed + i, categories, styles, sprites });
    const image = new Image(scene.width, scene.height, scene.rgb);
    using result = await pipeline.run({ image, vocabulary: vocabulary(names) }, {
      outputs: ["segmentation"],
    });
    matrix.add(scene.labels, await result.outputs.segmentation!.labels.read());
  }
  return matrix;
}

/**
 * Zero-shot classification of single drawings among the names of the whole universe.
 *
 * @param sprites Sprites of the universe in the style.
 * @returns The share of drawings whose own name is the nearest one.
 */
export async function zeroShotAccuracy(
  models: ClipModels,
  engine: Engine,
  sprites: SpriteSource,
  style: Style,
): Promise<number> {
  const universe = emojiUniverse();
  const text = await embedNames(models, universe.map(({ name }) => name));
  const [count, size] = text.shape as [number, number];
  const session = await engine.load(models.imageEncoder);
  const rng = new Rng(2 ** 31);
  let right = 0;
  // Four drawings to an image, as the tower was trained.
  for (let first = 0; first < count; first += 4) {
    const rgb = new Uint8Array(128 * 128 * 3);
    const drawn = universe.slice(first, first + 4);
    drawn.forEach((_, k) => {
      const background = renderStuff(rng.pick(stuffCategories), 64, 64, rng);
      const [x, y] = [(k & 1) * 64, (k >> 1) * 64];
      for (let row = 0; row < 64; row++) {
        const line = background.subarray(row * 192, (row + 1) * 192);
        rgb.set(line, ((y + row) * 128 + x) * 3);
      }
    });
    drawn.forEach(({ index }, k) =>
      drawSprite({ width: 128, height: 128, rgb }, sprites.sprite(index, style), {
        x: (k & 1) * 64 + 32,
        y: (k >> 1) * 64 + 32,
        scale: 56,
      })
    );
    const planes = new Float32Array(3 * 128 * 128);
    writePlanes(rgb, planes, 0);
    const outputs = await session.run({ image: float32([1, 3, 128, 128], planes) });
    const features = await outputs["features"]!.read() as Float32Array;
    drawn.forEach(({ index }, k) => {
      const pooled = new Float64Array(size);
      for (let d = 0; d < size; d++) {
        for (let y = 0; y < 8; y++) {
          for (let x = 0; x < 8; x++) {
            pooled[d]! += features[d * 256 + ((k >> 1) * 8 + y) * 16 + (k & 1) * 8 + x]!;
          }
        }
      }
      let [best, nearest] = [-Infinity, -1];
      for (let c = 0; c < count; c++) {
        let similarity = 0;
        for (let d = 0; d < size; d++) similarity += pooled[d]! * text.data[c * size + d]!;
        if (similarity > best) [best, nearest] = [similarity, c];
      }
      if (nearest === index) right++;
    });
  }
  await session.dispose();
  return right / count;
}
