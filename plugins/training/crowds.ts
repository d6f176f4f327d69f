/**
 * Pictures as scenes have them: of any size, turned, over two grounds, some half hidden by others.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { sinCos } from "../datasets/emoji_scenes/composite.ts";
import { handed } from "../datasets/emoji_scenes/scene.ts";
import type { SpriteSource } from "../datasets/emoji_scenes/sprites.ts";
import { renderStuff, stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import { mosaicGrid, mosaicSize, poolUnder } from "./clip_batches.ts";
import { changeLight, drawPicture, type PictureCanvas } from "./pictures.ts";
import { writePlanes } from "./pixel_planes.ts";
import type { EmojiCategory, Style } from "../datasets/emoji_scenes/universe.ts";

/** Drawings over one another in a crowd. */
export const drawingsPerCrowd = 9;
/** What is named in a crowd: the drawings and two grounds. */
export const picturesPerCrowd = drawingsPerCrowd + 2;

/** B crowds of K pictures each, P = B·K. */
export interface CrowdBatch {
  /** B×3×128×128, RGB in 0…1. */
  readonly images: Float32Array;
  /** B×K×256: the weight of each cell in each picture's embedding; rows sum to 1, or to 0. */
  readonly pool: Float32Array;
  /** P universe indices; textures are counted on behind the universe. */
  readonly labels: Int32Array;
  /** P: 1 for what can be seen, 0 for what is hidden. */
  readonly shown: Float32Array;
}

/** A category in a style. */
export interface CrowdDrawing {
  /** What is drawn. */
  readonly category: EmojiCategory;
  /** By which hand. */
  readonly style: Style;
}

/** Height of a drawing in pixels. */
const [smallest, largest] = [18, 68];
/** The share of a drawing that has to be in sight, and the pixels. */
const [minVisible, minPixels] = [0.25, 16];
/** The share of crowds with one ground. */
const oneGround = 0.3;

/**
 * Draws crowds.
 *
 * @param rng Where everything random comes from.
 * @param drawings What they show, from back to front; {@linkcode drawingsPerCrowd} for each.
 * @param universe How many categories there are.
 * @param sprites The drawings.
 */
export function drawCrowds(
  rng: Rng,
  drawings: readonly CrowdDrawing[],
  universe: number,
  sprites: SpriteSource,
): CrowdBatch {
  const crowds = drawings.length / drawingsPerCrowd;
  const plane = mosaicSize * mosaicSize;
  const cells = mosaicGrid * mosaicGrid;
  const count = crowds * picturesPerCrowd;
  const batch: CrowdBatch = {
    images: new Float32Array(crowds * 3 * plane),
    pool: new Float32Array(count * cells),
    labels: new Int32Array(count),
    shown: new Float32Array(count),
  };
  const coverage = new Float32Array(plane);
  const seen = Array.from({ length: picturesPerCrowd }, () => new Float32Array(plane));
  for (let b = 0; b < crowds; b++) {
    const planes = batch.images.subarray(b * 3 * plane, (b + 1) * 3 * plane);
    const canvas: PictureCanvas = { size: mosaicSize, planes, coverage };
    const grounds = paintGrounds(batch.images, b, seen, rng);
    const whole = new Float64Array(picturesPerCrowd);
    const placed: { x: number; y: number; scale: number }[] = [];
    for (let k = 0; k < drawingsPerCrowd; k++) {
      const { category, style } = drawings[b * drawingsPerCrowd + k]!;
      const place = findPlace(placed, rng);
      placed.push(place);
      const shadow = rng.uniform() < 0.7
        ? {
          dx: place.scale * rng.uniform(-0.09, 0.09),
          dy: place.scale * rng.uniform(0.02, 0.12),
          strength: rng.uniform(0.2, 0.5),
        }
        : undefined;
      const sprite = sprites.sprite(category.index, style);
      drawPicture(
        canvas,
        sprite,
        { ...place, mirror: !handed.test(category.name), turn: 0.5, ...(shadow && { shadow }) },
        rng,
      );
      for (let i = 0; i < plane; i++) {
        const covered = coverage[i]!;
        if (covered === 0) continue;
        whole[k + 2]! += covered;
        for (let under = 0; under < k + 2; under++) seen[under]![i]! *= 1 - covered;
      }
      seen[k + 2]!.set(coverage);
    }
    for (let k = 0; k < picturesPerCrowd; k++) {
      const p = b * picturesPerCrowd + k;
      batch.labels[p] = k < 2
        ? universe + grounds[k]!
        : drawings[b * drawingsPerCrowd + k - 2]!.category.index;
      const visible = seen[k]!.reduce((sum, share) => sum + share, 0);
      if (visible < minPixels || visible < minVisible * whole[k]!) continue;
      poolUnder(seen[k]!, batch.pool.subarray(p * cells, (p + 1) * cells));
      batch.shown[p] = 1;
    }
    changeLight(canvas, { x: 0, y: 0, size: mosaicSize }, rng);
  }
  return batch;
}

/** Anywhere, away from the others where a few tries find such a place. */
function findPlace(placed: readonly { x: number; y: number; scale: number }[], rng: Rng) {
  const scale = rng.uniform(smallest, largest);
  const within = () => rng.uniform(0.3 * scale, mosaicSize - 0.3 * scale);
  let [x, y] = [within(), within()];
  for (let tries = 0; tries < 12; tries++) {
    const isClear = placed.every((other) => {
      const apart = 0.33 * (other.scale + scale);
      return (other.x - x) ** 2 + (other.y - y) ** 2 >= apart * apart;
    });
    if (isClear) break;
    [x, y] = [within(), within()];
  }
  return { x, y, scale };
}

/**
 * Paints one texture, or two on either side of a line.
 *
 * @param seen The first two receive where each of them lies.
 * @returns Their indices.
 */
function paintGrounds(
  images: Float32Array,
  b: number,
  [first, second]: readonly Float32Array[],
  rng: Rng,
): [number, number] {
  const [one, other] = rng.shuffle([...stuffCategories.keys()]) as [number, number];
  const rgb = renderStuff(stuffCategories[one]!, mosaicSize, mosaicSize, rng);
  first!.fill(1);
  second!.fill(0);
  if (rng.uniform() >= oneGround) {
    const beyond = renderStuff(stuffCategories[other]!, mosaicSize, mosaicSize, rng);
    const [ny, nx] = sinCos(rng.uniform(0, 2 * Math.PI));
    const distance = mosaicSize * (nx * rng.uniform(0.3, 0.7) + ny * rng.uniform(0.3, 0.7));
    for (let y = 0, i = 0; y < mosaicSize; y++) {
      for (let x = 0; x < mosaicSize; x++, i++) {
        if (nx * x + ny * y < distance) continue;
        [first![i], second![i]] = [0, 1];
        for (let c = 0; c < 3; c++) rgb[i * 3 + c] = beyond[i * 3 + c]!;
      }
    }
  }
  writePlanes(rgb, images, b);
  return [one, other];
}
