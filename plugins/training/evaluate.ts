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
import { mosaicGrid, mosaicSize } from "./clip_batches.ts";
import { embedNames } from "./embed_names.ts";
import type { Towers } from "./towers.ts";
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

/** How drawings are shown to the image tower. */
export interface ZeroShotOptions {
  /** Side of a drawing's square in pixels: a power of two from 16 to 128; 32 where left out. */
  side?: number;
  /**
   * What an embedding is the mean of: the cells under the drawing, by how much of each it covers
   * (the default, as mask pooling has it), or all cells of its square.
   */
  pool?: "mask" | "square";
}

/**
 * Zero-shot classification of single drawings on textures, among the names of the whole universe.
 *
 * @param sprites Sprites of the universe in the style.
 * @returns The share of drawings whose own name is the nearest one.
 */
export async function zeroShotAccuracy(
  towers: Towers,
  engine: Engine,
  sprites: SpriteSource,
  style: Style,
  { side = 32, pool = "mask" }: ZeroShotOptions = {},
): Promise<number> {
  const universe = emojiUniverse();
  const text = await embedNames(towers, universe.map(({ name }) => name));
  const [count, size] = text.shape as [number, number];
  const session = await engine.load(towers.imageEncoder);
  const rng = new Rng(2 ** 31);
  const columns = mosaicSize / side;
  const perMosaic = columns * columns;
  let right = 0;
  for (let first = 0; first < count; first += perMosaic) {
    const drawn = universe.slice(first, first + perMosaic);
    const rgb = new Uint8Array(mosaicSize * mosaicSize * 3);
    const squares = drawn.map((_, k) => ({
      x: (k % columns) * side,
      y: Math.floor(k / columns) * side,
    }));
    for (const { x, y } of squares) {
      const background = renderStuff(rng.pick(stuffCategories), side, side, rng);
      for (let row = 0; row < side; row++) {
        const line = background.subarray(row * side * 3, (row + 1) * side * 3);
        rgb.set(line, ((y + row) * mosaicSize + x) * 3);
      }
    }
    const ids = new Uint16Array(mosaicSize * mosaicSize);
    drawn.forEach(({ index }, k) => {
      const { x, y } = squares[k]!;
      const placement = { x: x + side / 2, y: y + side / 2, scale: side * 7 / 8, id: k + 1 };
      drawSprite(
        { width: mosaicSize, height: mosaicSize, rgb, ids },
        sprites.sprite(index, style),
        {
          ...placement,
        },
      );
    });
    if (pool === "square") {
      for (let i = 0; i < ids.length; i++) {
        const [x, y] = [i % mosaicSize, Math.floor(i / mosaicSize)];
        ids[i] = Math.floor(y / side) * columns + Math.floor(x / side) + 1;
      }
    }
    const planes = new Float32Array(3 * mosaicSize * mosaicSize);
    writePlanes(rgb, planes, 0);
    const outputs = await session.run({
      image: float32([1, 3, mosaicSize, mosaicSize], planes),
    });
    const features = await outputs["features"]!.read() as Float32Array;
    const pooled = poolById(features, size, ids, drawn.length);
    drawn.forEach(({ index }, k) => {
      let [best, nearest] = [-Infinity, -1];
      for (let c = 0; c < count; c++) {
        let similarity = 0;
        for (let d = 0; d < size; d++) {
          similarity += pooled[k * size + d]! * text.data[c * size + d]!;
        }
        if (similarity > best) [best, nearest] = [similarity, c];
      }
      if (nearest === index) right++;
    });
  }
  await session.dispose();
  return right / count;
}

/** Sums of D×16×16 features, weighted by how many pixels of a cell have the id: one row for each. */
function poolById(
  features: Float32Array,
  size: number,
  ids: Uint16Array,
  count: number,
): Float64Array {
  const cells = mosaicGrid * mosaicGrid;
  const step = mosaicSize / mosaicGrid;
  const weights = new Float64Array(count * cells);
  ids.forEach((id, i) => {
    if (id === 0) return;
    const [x, y] = [i % mosaicSize, Math.floor(i / mosaicSize)];
    weights[(id - 1) * cells + Math.floor(y / step) * mosaicGrid + Math.floor(x / step)]!++;
  });
  const pooled = new Float64Array(count * size);
  for (let k = 0; k < count; k++) {
    for (let cell = 0; cell < cells; cell++) {
      const weight = weights[k * cells + cell]!;
      if (weight === 0) continue;
      for (let d = 0; d < size; d++) pooled[k * size + d]! += weight * features[d * cells + cell]!;
    }
  }
  return pooled;
}
