/**
 * Batches for contrastive training: mosaics of captioned pictures. Each mosaic is encoded once and
 * pooled picture by picture under what the picture covers, as mask pooling will do it.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { handed } from "../datasets/emoji_scenes/scene.ts";
import type { SpriteSource } from "../datasets/emoji_scenes/sprites.ts";
import { renderStuff, stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import {
  type EmojiCategory,
  type Style,
  trainingStyles,
} from "../datasets/emoji_scenes/universe.ts";
import { changeLight, drawPicture, type PictureCanvas } from "./pictures.ts";
import { writePlanes } from "./pixel_planes.ts";

/** Side of a mosaic in pixels. */
export const mosaicSize = 128;
/** Side of the image tower's grid of cells on a mosaic. */
export const mosaicGrid = 16;
/** Pictures in a mosaic: one of 64 pixels and twelve of 32. */
export const picturesPerMosaic = 13;

/** One batch; K pictures in each of B mosaics, P = B·K. */
export interface ClipBatch {
  /** B×3×128×128, RGB in 0…1. */
  images: Float32Array;
  /** B×K×256: the weight of each cell in each picture's embedding; rows sum to 1. */
  pool: Float32Array;
  /** P captions. */
  captions: string[];
  /** P×P: the captions that are right for each picture; rows sum to 1. */
  captionTargets: Float32Array;
  /** P×P: the pictures that each caption is right for; columns sum to 1. */
  pictureTargets: Float32Array;
  /** P×P: the other pictures of the same subject; rows sum to 1, or to 0 where there is none. */
  twinTargets: Float32Array;
}

/** What is shown in a picture: an emoji of the universe or a texture alone. */
export type Subject = { readonly captions: readonly string[] };

/** A picture to be: a category in one of its styles, or whatever texture lies there. */
export type Drawing = { readonly category: EmojiCategory; readonly style: Style } | null;

/** Pictures without their words. */
export interface Mosaics {
  /** B×3×128×128, RGB in 0…1. */
  readonly images: Float32Array;
  /** B×K×256: the weight of each cell in each picture's embedding; rows sum to 1. */
  readonly pool: Float32Array;
  /** P subjects. */
  readonly subjects: readonly Subject[];
}

/** The textures, as subjects. */
export const stuffSubjects: readonly Subject[] = stuffCategories.map((name) => ({
  captions: [name],
}));

/** The share of pictures that show a texture alone. */
const bareShare = 0.08;
/** The share of pictures that are pooled over their whole square, as if no mask were known. */
const boxShare = 0.15;
/** So many neighbours in Unicode's order are drawn together: what looks alike must be told apart. */
const family = 8;

/**
 * Draws a batch. Every category in it is shown by two hands.
 *
 * @param rng Where everything random comes from.
 * @param mosaics B.
 * @param universe The categories to draw, at least two.
 * @param sprites Their drawings in the training styles.
 */
export function clipBatch(
  rng: Rng,
  mosaics: number,
  universe: readonly EmojiCategory[],
  sprites: SpriteSource,
): ClipBatch {
  const drawings = chooseDrawings(mosaics * picturesPerMosaic, universe, rng);
  const { images, pool, subjects } = drawMosaics(rng, drawings, sprites);
  const captions = subjects.map((subject) => captionOf(subject, rng));
  return { images, pool, captions, ...targets(subjects, captions) };
}

/**
 * Draws pictures into mosaics.
 *
 * @param drawings What they show; full mosaics.
 */
export function drawMosaics(
  rng: Rng,
  drawings: readonly Drawing[],
  sprites: SpriteSource,
): Mosaics {
  const mosaics = drawings.length / picturesPerMosaic;
  const plane = mosaicSize * mosaicSize;
  const cellsInAll = mosaicGrid * mosaicGrid;
  const images = new Float32Array(mosaics * 3 * plane);
  const pool = new Float32Array(mosaics * picturesPerMosaic * cellsInAll);
  const coverage = new Float32Array(plane);
  const subjects: Subject[] = [];
  for (let b = 0; b < mosaics; b++) {
    const squares = mosaicSquares(rng);
    const drawn = drawings.slice(b * picturesPerMosaic, (b + 1) * picturesPerMosaic);
    const canvas: PictureCanvas = {
      size: mosaicSize,
      planes: images.subarray(b * 3 * plane, (b + 1) * 3 * plane),
      coverage,
    };
    const grounds = paintGrounds(images, b, squares, drawn, rng);
    // Drawings come after all grounds: they may reach a little over their square's edge.
    squares.forEach((square, k) => {
      const drawing = drawn[k]!;
      const row = pool.subarray((b * picturesPerMosaic + k) * cellsInAll).subarray(0, cellsInAll);
      subjects.push(drawing?.category ?? stuffSubjects[grounds[k]!]!);
      if (drawing !== null) {
        const { category, style } = drawing;
        const slack = 0.12 * square.size;
        drawPicture(canvas, sprites.sprite(category.index, style), {
          x: square.x + square.size / 2 + rng.uniform(-slack, slack),
          y: square.y + square.size / 2 + rng.uniform(-slack, slack),
          scale: square.size * rng.uniform(0.65, 1.15),
          mirror: !handed.test(category.name),
        }, rng);
      }
      if (drawing === null || rng.uniform() < boxShare || !poolUnder(coverage, row)) {
        poolSquare(square, row);
      }
    });
    for (const square of squares) changeLight(canvas, square, rng);
  }
  return { images, pool, subjects };
}

/** What each picture shows, in random order: pairs of drawings of a category, and bare textures. */
function chooseDrawings(
  count: number,
  universe: readonly EmojiCategory[],
  rng: Rng,
): Drawing[] {
  const bare: null[] = [];
  for (let i = 0; i < count; i++) if (rng.uniform() < bareShare) bare.push(null);
  return rng.shuffle([...choosePairs(count - bare.length, universe, rng), ...bare]);
}

/** Drawings of categories, each by two hands, one pair after the other. */
export function choosePairs(
  count: number,
  universe: readonly EmojiCategory[],
  rng: Rng,
): Exclude<Drawing, null>[] {
  const chosen = new Set<number>();
  const pairs = Math.ceil(count / 2);
  // A third of them in families; where the universe is small, some come twice.
  for (
    let tries = 0;
    chosen.size < Math.min(pairs, universe.length) && tries < 100 * pairs;
    tries++
  ) {
    const first = rng.integer(universe.length);
    const run = rng.uniform() < 0.5 / family ? family : 1;
    for (let i = 0; i < run && chosen.size < pairs; i++) chosen.add((first + i) % universe.length);
  }
  const categories = [...chosen];
  const queue: Exclude<Drawing, null>[] = [];
  for (let i = 0; queue.length < 2 * pairs; i++) {
    const category = universe[categories[i % categories.length]!]!;
    const [one, other] = rng.shuffle([...trainingStyles]);
    queue.push({ category, style: one! }, { category, style: other! });
  }
  return queue.slice(0, count);
}

interface Square {
  x: number;
  y: number;
  size: number;
}

/** One quadrant whole, three cut into four. */
function mosaicSquares(rng: Rng): Square[] {
  const half = mosaicSize / 2;
  const whole = rng.integer(4);
  return [0, 1, 2, 3].flatMap((quadrant): Square[] => {
    const [x, y] = [(quadrant & 1) * half, (quadrant >> 1) * half];
    if (quadrant === whole) return [{ x, y, size: half }];
    return [0, 1, 2, 3].map((i) => ({
      x: x + (i & 1) * half / 2,
      y: y + (i >> 1) * half / 2,
      size: half / 2,
    }));
  });
}

/**
 * Paints what lies behind the pictures of a mosaic: mostly one texture, sometimes a shade for each.
 *
 * @returns The texture in each square; only those of bare ones count.
 */
function paintGrounds(
  images: Float32Array,
  b: number,
  squares: readonly Square[],
  drawn: readonly Drawing[],
  rng: Rng,
): number[] {
  const shared = rng.integer(stuffCategories.length);
  writePlanes(renderStuff(stuffCategories[shared]!, mosaicSize, mosaicSize, rng), images, b);
  const shades = rng.uniform() < 0.4;
  return squares.map((square, k) => {
    const { size } = square;
    if (drawn[k] !== null) {
      if (shades) paintSquare(images, b, square, shade(size, rng));
      return shared;
    }
    if (!shades && rng.uniform() < 0.3) return shared;
    const own = rng.integer(stuffCategories.length);
    paintSquare(images, b, square, renderStuff(stuffCategories[own]!, size, size, rng));
    return own;
  });
}

function paintSquare(images: Float32Array, b: number, { x, y, size }: Square, rgb: Uint8Array) {
  const plane = mosaicSize * mosaicSize;
  for (let c = 0; c < 3; c++) {
    for (let v = 0; v < size; v++) {
      const to = (b * 3 + c) * plane + (y + v) * mosaicSize + x;
      for (let u = 0; u < size; u++) images[to + u] = rgb[(v * size + u) * 3 + c]! / 255;
    }
  }
}

/** A blend of two colours along a line, or one colour. */
function shade(size: number, rng: Rng): Uint8Array {
  const colour = () => [0, 1, 2].map(() => rng.integer(256));
  const from = colour();
  const to = rng.uniform() < 0.4 ? from : colour();
  const [su, sv] = [rng.uniform(-1, 1), rng.uniform(-1, 1)];
  const reach = size * (Math.abs(su) + Math.abs(sv)) + 1e-6;
  const low = size * (Math.min(0, su) + Math.min(0, sv));
  const rgb = new Uint8Array(3 * size * size);
  for (let v = 0, at = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const t = (u * su + v * sv - low) / reach;
      for (let c = 0; c < 3; c++, at++) rgb[at] = from[c]! + (to[c]! - from[c]!) * t;
    }
  }
  return rgb;
}

/** Weights by how much of a cell is covered; false where nothing is. */
export function poolUnder(coverage: Float32Array, row: Float32Array): boolean {
  const step = mosaicSize / mosaicGrid;
  let sum = 0;
  for (let y = 0, i = 0; y < mosaicSize; y++) {
    const line = Math.floor(y / step) * mosaicGrid;
    for (let x = 0; x < mosaicSize; x++, i++) {
      const covered = coverage[i]!;
      if (covered === 0) continue;
      row[line + Math.floor(x / step)]! += covered;
      sum += covered;
    }
  }
  for (let i = 0; i < row.length; i++) row[i]! /= sum || 1;
  return sum > 0;
}

function poolSquare({ x, y, size }: Square, row: Float32Array): void {
  row.fill(0);
  const step = mosaicSize / mosaicGrid;
  const span = size / step;
  for (let v = 0; v < span; v++) {
    const at = (y / step + v) * mosaicGrid + x / step;
    row.fill(1 / (span * span), at, at + span);
  }
}

/** Mostly the name; sometimes a keyword, or the name within a phrase. */
export function captionOf({ captions }: Subject, rng: Rng): string {
  const draw = rng.uniform();
  const name = captions[0]!;
  if (draw < 0.1) return `a picture of a ${name}`;
  if (draw < 0.35 && captions.length > 1) return captions[1 + rng.integer(captions.length - 1)]!;
  return name;
}

/** Which captions suit which pictures; a keyword may suit several. */
export function targets(
  subjects: readonly Subject[],
  captions: readonly string[],
): Pick<ClipBatch, "captionTargets" | "pictureTargets" | "twinTargets"> {
  const size = subjects.length;
  const right = new Float32Array(size * size);
  subjects.forEach((subject, i) => {
    for (let j = 0; j < size; j++) {
      if (subject === subjects[j] || subject.captions.includes(captions[j]!)) {
        right[i * size + j] = 1;
      }
    }
  });
  const captionTargets = new Float32Array(size * size);
  const pictureTargets = new Float32Array(size * size);
  const twinTargets = new Float32Array(size * size);
  for (let i = 0; i < size; i++) {
    let [row, column] = [0, 0];
    for (let j = 0; j < size; j++) {
      row += right[i * size + j]!;
      column += right[j * size + i]!;
    }
    const twins = subjects.flatMap((subject, j) => j !== i && subject === subjects[i] ? [j] : []);
    for (const j of twins) twinTargets[i * size + j] = 1 / twins.length;
    for (let j = 0; j < size; j++) {
      captionTargets[i * size + j] = right[i * size + j]! / row;
      pictureTargets[j * size + i] = right[j * size + i]! / column;
    }
  }
  return { captionTargets, pictureTargets, twinTargets };
}
