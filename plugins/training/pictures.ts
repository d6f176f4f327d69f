/**
 * Drawings as an encoder must come to know them: in colours, lines and lights of any hand.
 *
 * @module
 */
import type { Rng } from "../../lib/rng.ts";
import { sinCos } from "../datasets/emoji_scenes/composite.ts";
import type { Sprite } from "../datasets/emoji_scenes/sprites.ts";

/** What pictures are drawn into. */
export interface PictureCanvas {
  /** Width and height in pixels. */
  readonly size: number;
  /** 3×size×size, RGB in 0…1; one plane after another. */
  readonly planes: Float32Array;
  /** size×size: how much of each pixel the last picture covers, 0…1. */
  readonly coverage: Float32Array;
}

/** Where a picture goes. */
export interface PicturePlace {
  /** Centre, in pixels. */
  readonly x: number;
  /** Centre, in pixels. */
  readonly y: number;
  /** Height of the drawn square, in pixels. */
  readonly scale: number;
  /** Whether the drawing may be mirrored; not where another name names what would be seen. */
  readonly mirror: boolean;
  /** The most that the drawing may be turned either way, in radians; 0.3 where left out. */
  readonly turn?: number;
  /** Where its shadow falls, in pixels, and how much light it takes; none where left out. */
  readonly shadow?: { readonly dx: number; readonly dy: number; readonly strength: number };
}

/** One mip level of a drawing with its lines. */
interface Level {
  size: number;
  rgba: Uint8Array;
  /** Where colours meet, thin and bold, 0…255. */
  lines: readonly [thin: Uint8Array, bold: Uint8Array];
}

const levelsOf = new WeakMap<Sprite, Level[]>();

/** Colour steps below this share of the range are shading, not a line. */
const faintest = 0.22;

/** Where alpha or a colour changes between neighbours, and the same one pixel wider. */
function linesOf({ size, rgba }: Sprite): Level["lines"] {
  const thin = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let step = 0;
      for (let c = 0; c < 4; c++) {
        let [low, high] = [255, 0];
        for (let v = Math.max(0, y - 1); v <= Math.min(size - 1, y + 1); v++) {
          for (let u = Math.max(0, x - 1); u <= Math.min(size - 1, x + 1); u++) {
            const value = rgba[(v * size + u) * 4 + c]!;
            if (value < low) low = value;
            if (value > high) high = value;
          }
        }
        if (high - low > step) step = high - low;
      }
      thin[y * size + x] = 255 * Math.min(1, Math.max(0, 6 * (step / 255 - faintest)));
    }
  }
  const bold = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let most = 0;
      for (let v = Math.max(0, y - 1); v <= Math.min(size - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(size - 1, x + 1); u++) {
          if (thin[v * size + u]! > most) most = thin[v * size + u]!;
        }
      }
      bold[y * size + x] = most;
    }
  }
  return [thin, bold];
}

function halved(size: number, lines: Uint8Array): Uint8Array {
  const side = (size + 1) >> 1;
  const out = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    const [above, below] = [2 * y * size, Math.min(2 * y + 1, size - 1) * size];
    for (let x = 0; x < side; x++) {
      const [left, right] = [2 * x, Math.min(2 * x + 1, size - 1)];
      out[y * side + x] = (lines[above + left]! + lines[above + right]! + lines[below + left]! +
        lines[below + right]! + 2) >> 2;
    }
  }
  return out;
}

/** The mip level that is drawn at a scale; all of a drawing's levels are made when it is first met. */
function levelFor(sprite: Sprite, scale: number): Level {
  let levels = levelsOf.get(sprite);
  if (levels === undefined) {
    levels = [{ size: sprite.size, rgba: sprite.rgba, lines: linesOf(sprite) }];
    for (let level = sprite; level.size > 16;) {
      const { size, lines } = levels.at(-1)!;
      level = level.half;
      levels.push({
        size: level.size,
        rgba: level.rgba,
        lines: [halved(size, lines[0]), halved(size, lines[1])],
      });
    }
    levelsOf.set(sprite, levels);
  }
  return levels.find(({ size }, i) => size < 1.5 * scale || i === levels.length - 1)!;
}

/** Hue, saturation and a gain per channel, row-major 3×3, and what is added to every channel. */
function drawColours(rng: Rng): { matrix: Float64Array; offset: number } {
  const [sin, cos] = sinCos(
    rng.uniform() < 0.6 ? rng.uniform(-0.15, 0.15) : rng.uniform(-0.5, 0.5),
  );
  const same = cos + (1 - cos) / 3;
  const turn = sin * 0.5773502691896258;
  const [next, last] = [(1 - cos) / 3 - turn, (1 - cos) / 3 + turn];
  const saturation = rng.uniform() < 0.12 ? 0 : rng.uniform(0.5, 1.5);
  const brightness = rng.uniform(0.7, 1.3);
  const gains = [0, 1, 2].map(() => brightness * rng.uniform(0.85, 1.15));
  const hue = [same, next, last, last, same, next, next, last, same];
  // Every column of a hue's turn sums to 1, so its grey is the colour's grey.
  const grey = (1 - saturation) / 3;
  const matrix = Float64Array.from(
    hue,
    (m, i) => gains[Math.floor(i / 3)]! * (saturation * m + grey),
  );
  return { matrix, offset: rng.uniform(-0.15, 0.15) };
}

/**
 * Draws a sprite as another hand might have: turned, stretched, in other colours, half of the time
 * with drawn outlines, whose fills may be pale. What it covers is left in `canvas.coverage`.
 */
export function drawPicture(
  canvas: PictureCanvas,
  sprite: Sprite,
  place: PicturePlace,
  rng: Rng,
): void {
  const { size: side, planes, coverage } = canvas;
  const plane = side * side;
  coverage.fill(0);
  const { size, rgba, lines } = levelFor(sprite, place.scale);
  const { matrix: m, offset } = drawColours(rng);
  const { turn = 0.3, shadow } = place;
  const [sin, cos] = sinCos(rng.uniform(-turn, turn));
  const flip = rng.uniform() < 0.5 && place.mirror ? -1 : 1;
  const stretch = rng.uniform(0.87, 1.15);
  const outlined = rng.uniform() < 0.5;
  const line = lines[rng.integer(2)]!;
  const ink = outlined ? rng.uniform(0.6, 1) : 0;
  const dark = rng.uniform(0, 0.25);
  const inks = [0, 1, 2].map(() => dark * rng.uniform());
  const pale = outlined && rng.uniform() < 0.3 ? rng.uniform(0.3, 1) : 0;

  const kv = size / place.scale;
  const ku = flip * kv / stretch;
  const near = 0.5 * place.scale * Math.max(1, stretch) * (Math.abs(sin) + Math.abs(cos)) + 1;
  const reach = near + (shadow ? Math.max(Math.abs(shadow.dx), Math.abs(shadow.dy)) : 0);
  const [left, right] = [
    Math.max(0, Math.floor(place.x - reach)),
    Math.min(side - 1, place.x + reach),
  ];
  const [top, bottom] = [
    Math.max(0, Math.floor(place.y - reach)),
    Math.min(side - 1, place.y + reach),
  ];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const pixel = y * side + x;
      const [dx, dy] = [x + 0.5 - place.x, y + 0.5 - place.y];
      if (shadow !== undefined) {
        const [sx, sy] = [dx - shadow.dx, dy - shadow.dy];
        const u = Math.round((cos * sx + sin * sy) * ku + size / 2 - 0.5);
        const v = Math.round((cos * sy - sin * sx) * kv + size / 2 - 0.5);
        if (u >= 0 && v >= 0 && u < size && v < size) {
          const light = 1 - shadow.strength * rgba[(v * size + u) * 4 + 3]! / 255;
          for (let c = 0; c < 3; c++) planes[c * plane + pixel]! *= light;
        }
      }
      const u = (cos * dx + sin * dy) * ku + size / 2 - 0.5;
      const v = (cos * dy - sin * dx) * kv + size / 2 - 0.5;
      if (u < 0 || v < 0 || u >= size - 1 || v >= size - 1) continue;
      const [iu, iv] = [Math.floor(u), Math.floor(v)];
      const [fu, fv] = [u - iu, v - iv];
      const at = iv * size + iu;
      const [w00, w01] = [(1 - fu) * (1 - fv), fu * (1 - fv)];
      const [w10, w11] = [(1 - fu) * fv, fu * fv];
      const read = (c: number) =>
        (w00 * rgba[at * 4 + c]! + w01 * rgba[at * 4 + 4 + c]! +
          w10 * rgba[(at + size) * 4 + c]! + w11 * rgba[(at + size) * 4 + 4 + c]!) / 255;
      const alpha = read(3);
      const drawn = ink === 0 ? 0 : ink / 255 * (w00 * line[at]! + w01 * line[at + 1]! +
        w10 * line[at + size]! + w11 * line[at + size + 1]!);
      const covered = alpha + (1 - alpha) * drawn;
      if (covered < 0.004) continue;
      const [r, g, b] = [read(0), read(1), read(2)];
      coverage[pixel] = covered;
      for (let c = 0; c < 3; c++) {
        let value = m[c * 3]! * r + m[c * 3 + 1]! * g + m[c * 3 + 2]! * b + offset * alpha;
        value = value < 0 ? 0 : value > alpha ? alpha : value;
        value += (alpha - value) * pale;
        value = value * (1 - drawn) + inks[c]! * drawn;
        const to = c * plane + pixel;
        planes[to] = value + (1 - covered) * planes[to]!;
      }
    }
  }
}

/**
 * Changes the light of a square: brightness, offset, noise, and sometimes a blur.
 *
 * @param canvas What is changed in place.
 * @param square Its corner and side, in pixels.
 */
export function changeLight(
  { size, planes }: PictureCanvas,
  square: { readonly x: number; readonly y: number; readonly size: number },
  rng: Rng,
): void {
  const gain = rng.uniform(0.8, 1.2);
  const offset = rng.uniform(-0.1, 0.1);
  const noise = rng.uniform(0, 0.09);
  const blurred = rng.uniform() < 0.2;
  const side = square.size;
  const copy = new Float32Array(blurred ? side * side : 0);
  for (let c = 0; c < 3; c++) {
    const origin = c * size * size + square.y * size + square.x;
    if (blurred) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) {
          let [sum, count] = [0, 0];
          for (let v = Math.max(0, y - 1); v <= Math.min(side - 1, y + 1); v++) {
            for (let u = Math.max(0, x - 1); u <= Math.min(side - 1, x + 1); u++, count++) {
              sum += planes[origin + v * size + u]!;
            }
          }
          copy[y * side + x] = sum / count;
        }
      }
      for (let y = 0; y < side; y++) {
        planes.set(copy.subarray(y * side, (y + 1) * side), origin + y * size);
      }
    }
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const at = origin + y * size + x;
        const grain = noise * (rng.next() / 2 ** 31 - 1);
        const value = gain * planes[at]! + offset + grain;
        planes[at] = value < 0 ? 0 : value > 1 ? 1 : value;
      }
    }
  }
}
