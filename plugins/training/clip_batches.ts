/**
 * Batches for contrastive training: mosaics of captioned pictures. Each mosaic is encoded once and
 * pooled picture by picture, so that the tokens of one picture learn not to speak of their
 * neighbours: what mask pooling will need of them.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { drawSprite } from "../datasets/emoji_scenes/composite.ts";
import type { SpriteSource } from "../datasets/emoji_scenes/sprites.ts";
import { renderStuff, stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import { type EmojiCategory, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { writePlanes } from "./pixel_planes.ts";

/** Side of a mosaic in pixels. */
export const mosaicSize = 128;
/** Side of the image tower's token grid on a mosaic. */
export const mosaicGrid = 16;
/** Pictures in a mosaic: two of 64 pixels and eight of 32. */
export const picturesPerMosaic = 10;

/** One batch; K pictures in each of B mosaics. */
export interface ClipBatch {
  /** B×3×128×128, RGB in 0…1. */
  images: Float32Array;
  /** B×K×256: the weight of each token in each picture's embedding; rows sum to 1. */
  pool: Float32Array;
  /** B·K captions. */
  captions: string[];
  /** (B·K)×(B·K): the captions that are right for each picture; rows sum to 1. */
  captionTargets: Float32Array;
  /** (B·K)×(B·K): the pictures that each caption is right for; columns sum to 1. */
  pictureTargets: Float32Array;
}

/** What is shown in a picture: an emoji of the universe or a texture alone. */
type Subject = { captions: readonly string[] };

const stuffSubjects: readonly Subject[] = stuffCategories.map((name) => ({ captions: [name] }));

/**
 * Draws a batch.
 *
 * @param rng Where everything random comes from.
 * @param mosaics B.
 * @param universe The categories to draw.
 * @param sprites Their drawings in the training styles.
 */
export function clipBatch(
  rng: Rng,
  mosaics: number,
  universe: readonly EmojiCategory[],
  sprites: SpriteSource,
): ClipBatch {
  const plane = mosaicSize * mosaicSize;
  const tokens = mosaicGrid * mosaicGrid;
  const images = new Float32Array(mosaics * 3 * plane);
  const pool = new Float32Array(mosaics * picturesPerMosaic * tokens);
  const subjects: Subject[] = [];
  for (let b = 0; b < mosaics; b++) {
    const rgb = new Uint8Array(plane * 3);
    const cells = mosaicCells(rng);
    const drawn = cells.map((cell) => {
      const bare = rng.uniform() < 0.12;
      const stuff = rng.integer(stuffCategories.length);
      paintBackground(rgb, cell, stuff, bare ? 1 : 0.8, rng);
      return bare ? stuffSubjects[stuff]! : rng.pick(universe);
    });
    // Drawings come after all backgrounds: they may reach a little over their cell's edge.
    cells.forEach((cell, k) => {
      const subject = drawn[k]!;
      subjects.push(subject);
      if ("index" in subject) {
        drawPicture(rgb, cell, (subject as EmojiCategory).index, sprites, rng);
      }
      const span = cell.size / mosaicSize * mosaicGrid;
      const row = (b * picturesPerMosaic + k) * tokens;
      for (let y = 0; y < span; y++) {
        for (let x = 0; x < span; x++) {
          const at = (cell.y / 8 + y) * mosaicGrid + cell.x / 8 + x;
          pool[row + at] = 1 / (span * span);
        }
      }
    });
    writePlanes(rgb, images, b);
  }
  const captions = subjects.map((subject) => captionOf(subject, rng));
  return { images, pool, captions, ...targets(subjects, captions) };
}

interface Cell {
  x: number;
  y: number;
  size: number;
}

/** Two quadrants whole, two cut into four. */
function mosaicCells(rng: Rng): Cell[] {
  const half = mosaicSize / 2;
  const quadrants = rng.shuffle([[0, 0], [0, half], [half, 0], [half, half]] as [number, number][]);
  return quadrants.flatMap(([x, y], i): Cell[] =>
    i < 2 ? [{ x, y, size: half }] : [0, 1, 2, 3].map((j) => ({
      x: x + (j & 1) * half / 2,
      y: y + (j >> 1) * half / 2,
      size: half / 2,
    }))
  );
}

function paintBackground(
  rgb: Uint8Array,
  cell: Cell,
  stuff: number,
  share: number,
  rng: Rng,
): void {
  const { x, y, size } = cell;
  const texture = rng.uniform() < share
    ? renderStuff(stuffCategories[stuff]!, size, size, rng)
    : plain(size, rng);
  for (let row = 0; row < size; row++) {
    const from = row * size * 3;
    rgb.set(texture.subarray(from, from + size * 3), ((y + row) * mosaicSize + x) * 3);
  }
}

function plain(size: number, rng: Rng): Uint8Array {
  const colour = [rng.integer(256), rng.integer(256), rng.integer(256)];
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => colour[i % 3]!);
}

function drawPicture(
  rgb: Uint8Array,
  cell: Cell,
  category: number,
  sprites: SpriteSource,
  rng: Rng,
): void {
  const slack = cell.size * 0.12;
  const shadow = { dx: rng.uniform(-3, 3), dy: rng.uniform(0, 3), strength: rng.uniform(0, 0.4) };
  drawSprite(
    { width: mosaicSize, height: mosaicSize, rgb },
    sprites.sprite(
      category,
      rng.pick(trainingStyles),
    ),
    {
      x: cell.x + cell.size / 2 + rng.uniform(-slack, slack),
      y: cell.y + cell.size / 2 + rng.uniform(-slack, slack),
      scale: cell.size * rng.uniform(0.65, 1.1),
      rotation: rng.uniform(-0.5, 0.5),
      flip: rng.uniform() < 0.5,
      hue: rng.uniform(-0.03, 0.03),
      brightness: rng.uniform(0.8, 1.2),
      contrast: rng.uniform(0.8, 1.2),
      ...(rng.uniform() < 0.5 ? { shadow } : {}),
    },
  );
}

/** Mostly the name; sometimes a keyword, or the name within a phrase. */
function captionOf({ captions }: Subject, rng: Rng): string {
  const draw = rng.uniform();
  const name = captions[0]!;
  if (draw < 0.15) return `a picture of a ${name}`;
  if (draw < 0.45 && captions.length > 1) return captions[1 + rng.integer(captions.length - 1)]!;
  return name;
}

/** Which captions suit which pictures; a keyword may suit several. */
function targets(
  subjects: readonly Subject[],
  captions: readonly string[],
): Pick<ClipBatch, "captionTargets" | "pictureTargets"> {
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
  for (let i = 0; i < size; i++) {
    let [row, column] = [0, 0];
    for (let j = 0; j < size; j++) {
      row += right[i * size + j]!;
      column += right[j * size + i]!;
    }
    for (let j = 0; j < size; j++) {
      captionTargets[i * size + j] = right[i * size + j]! / row;
      pictureTargets[j * size + i] = right[j * size + i]! / column;
    }
  }
  return { captionTargets, pictureTargets };
}
