/**
 * Procedural textures for the "stuff" of EmojiScenes: what has no outline of its own.
 *
 * Only additions, multiplications, divisions and table look-ups, so that the same seed gives the
 * same bytes on every JavaScript engine (`Math.sin` and its kin may differ in the last bit).
 *
 * @module
 */
import { InputError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";

/**
 * The names of the twelve textures. None is the name of an emoji of the universe, and each names a
 * surface rather than a thing ("brick wall", since 🧱 "brick" is one brick).
 */
export const stuffCategories = [
  "sky",
  "grass",
  "sand",
  "brick wall",
  "water",
  "wooden planks",
  "plaid fabric",
  "cobblestone",
  "tiled floor",
  "asphalt",
  "marble",
  "foliage",
] as const;

/** The name of a texture. */
export type StuffName = (typeof stuffCategories)[number];

/** Side of the noise tables; they tile, so any coordinate wraps with a bit mask. */
const side = 256;
const mask = side - 1;

/** Worley cells: jittered points, one per lattice square, and who is nearest. */
interface Cells {
  /** Distance from the border between cells (F2 − F1, in cells), 0 on the border. */
  edge: Float32Array;
  /** Distance from the cell's own point (F1, in cells). */
  centre: Float32Array;
  /** One random value 0..1 per cell. */
  tint: Float32Array;
}

/** Side of a Worley cell in table pixels. */
const cell = 16;

/** A function's value, computed when first asked for: tables take milliseconds. */
function once<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => value ??= make();
}

/** Five octaves of value noise, stretched to 0..1. */
const fractalTable = once(() => {
  const rng = new Rng(0x7e57);
  const fractal = new Float32Array(side * side);
  let amplitude = 1;
  for (let period = 4; period <= 64; period *= 2) {
    const lattice = Float32Array.from({ length: period * period }, () => rng.uniform());
    const step = side / period;
    const fade = Float64Array.from({ length: step }, (_, i) => smoothstep(0, 1, i / step));
    for (let y = 0; y < side; y++) {
      const y0 = Math.floor(y / step);
      const row0 = y0 * period;
      const row1 = ((y0 + 1) % period) * period;
      const fy = fade[y % step]!;
      for (let x0 = 0; x0 < period; x0++) {
        const x1 = (x0 + 1) % period;
        const left = lattice[row0 + x0]! * (1 - fy) + lattice[row1 + x0]! * fy;
        const right = lattice[row0 + x1]! * (1 - fy) + lattice[row1 + x1]! * fy;
        const at = y * side + x0 * step;
        for (let i = 0; i < step; i++) {
          fractal[at + i]! += amplitude * (left + (right - left) * fade[i]!);
        }
      }
    }
    amplitude /= 2;
  }
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < fractal.length; i++) {
    low = Math.min(low, fractal[i]!);
    high = Math.max(high, fractal[i]!);
  }
  for (let i = 0; i < fractal.length; i++) fractal[i] = (fractal[i]! - low) / (high - low);
  return fractal;
});

/** White noise, 0..1. */
const grainTable = once(() => {
  const rng = new Rng(0x9ea1);
  const grain = new Float32Array(side * side);
  for (let i = 0; i < grain.length; i++) grain[i] = rng.uniform();
  return grain;
});

const cellTables = once((): Cells => {
  const rng = new Rng(0xce11);
  const edge = new Float32Array(side * side);
  const centre = new Float32Array(side * side);
  const tint = new Float32Array(side * side);
  const cells = side / cell;
  const points = Float64Array.from({ length: cells * cells * 3 }, () => rng.uniform());
  const px = new Float64Array(9);
  const py = new Float64Array(9);
  const pt = new Float64Array(9);
  for (let cy = 0; cy < cells; cy++) {
    for (let cx = 0; cx < cells; cx++) {
      for (let i = 0; i < 9; i++) {
        const nx = cx + (i % 3) - 1;
        const ny = cy + Math.floor(i / 3) - 1;
        const at = (((ny + cells) % cells) * cells + ((nx + cells) % cells)) * 3;
        px[i] = nx + 0.15 + 0.7 * points[at]!;
        py[i] = ny + 0.15 + 0.7 * points[at + 1]!;
        pt[i] = points[at + 2]!;
      }
      for (let y = cy * cell; y < (cy + 1) * cell; y++) {
        for (let x = cx * cell; x < (cx + 1) * cell; x++) {
          let first = Infinity;
          let second = Infinity;
          let nearest = 0;
          for (let i = 0; i < 9; i++) {
            const dx = px[i]! - x / cell;
            const dy = py[i]! - y / cell;
            const d = dx * dx + dy * dy;
            if (d < first) {
              second = first;
              first = d;
              nearest = i;
            } else if (d < second) second = d;
          }
          const at = y * side + x;
          centre[at] = Math.sqrt(first);
          edge[at] = Math.sqrt(second) - Math.sqrt(first);
          tint[at] = pt[nearest]!;
        }
      }
    }
  }
  return { edge, centre, tint };
});

/**
 * Smooth fractal noise in 0..1, for curved borders between textures. Tiles every 256 units.
 *
 * @param x Any coordinate.
 * @param y Any coordinate.
 */
export function fractalNoise(x: number, y: number): number {
  return bilinear(fractalTable(), x, y);
}

function bilinear(table: Float32Array, x: number, y: number): number {
  const fx = Math.floor(x);
  const fy = Math.floor(y);
  const u = x - fx;
  const v = y - fy;
  const x0 = fx & mask;
  const x1 = (fx + 1) & mask;
  const row0 = (fy & mask) * side;
  const row1 = ((fy + 1) & mask) * side;
  const a = table[row0 + x0]!;
  const b = table[row0 + x1]!;
  const c = table[row1 + x0]!;
  const d = table[row1 + x1]!;
  const top = a + (b - a) * u;
  return top + (c + (d - c) * u - top) * v;
}

function nearest(table: Float32Array, x: number, y: number): number {
  return table[(Math.floor(y) & mask) * side + (Math.floor(x) & mask)]!;
}

/** 0 below `low`, 1 above `high`, smooth between. */
function smoothstep(low: number, high: number, x: number): number {
  const t = x <= low ? 0 : x >= high ? 1 : (x - low) / (high - low);
  return t * t * (3 - 2 * t);
}

/** A wave of period 1 between 0 and 1, made of parabolas; close to a sine. */
function wave(t: number): number {
  const f = t - Math.floor(t);
  return f < 0.5 ? 8 * f * (0.5 - f) * 0.5 + 0.5 : 0.5 - 8 * (f - 0.5) * (1 - f) * 0.5;
}

type Colour = readonly [number, number, number];

/** HSV in 0..1 each, to RGB in 0..255. */
function hsv(hue: number, saturation: number, value: number): Colour {
  const h = (hue - Math.floor(hue)) * 6;
  const channel = (n: number) => {
    const k = (n + h) % 6;
    const t = Math.max(0, Math.min(k, 4 - k, 1));
    return 255 * value * (1 - saturation * t);
  };
  return [channel(5), channel(3), channel(1)];
}

function mix(a: Colour, b: Colour, t: number): Colour {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t];
}

/** A table of 256 colours through the given stops, so that a pixel costs one look-up. */
function ramp(...stops: readonly Colour[]): Uint8Array {
  const out = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const t = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(t), stops.length - 2);
    const colour = mix(stops[k]!, stops[k + 1]!, t - k);
    for (let c = 0; c < 3; c++) {
      out[i * 3 + c] = Math.max(0, Math.min(255, Math.round(colour[c]!)));
    }
  }
  return out;
}

/** A scalar field in 0..1 and the colours it runs through. */
interface Recipe {
  field: (x: number, y: number) => number;
  colours: Uint8Array;
}

/** Draws a texture's parameters; the field is then a pure function of the pixel. */
type Maker = (rng: Rng, width: number, height: number) => Recipe;

const makers: Readonly<Record<StuffName, Maker>> = {
  sky(rng, _width, height) {
    const fractal = fractalTable();
    const hue = rng.uniform(0.54, 0.63);
    const day = rng.uniform(0.75, 1);
    const s = rng.uniform(0.35, 0.8);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const cover = rng.uniform(0.5, 0.72);
    const tilt = rng.uniform(0.25, 0.45) / height;
    return {
      // 0..0.5 is the open sky from zenith to horizon, 0.5..1 the clouds over it.
      field: (x, y) => {
        const clear = y * tilt;
        const cloud = smoothstep(
          cover - 0.1,
          cover + 0.16,
          bilinear(fractal, ox + x * s, oy + y * s * 1.8),
        );
        return clear + (0.96 - clear) * cloud;
      },
      colours: ramp(
        hsv(hue, rng.uniform(0.6, 0.8), 0.9 * day),
        hsv(hue - 0.02, 0.4, day),
        hsv(hue, 0.12, day),
        hsv(hue, 0.02, 1),
      ),
    };
  },
  grass(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const hue = rng.uniform(0.23, 0.33);
    const s = rng.uniform(0.7, 1.3);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const lean = rng.uniform(-0.5, 0.5);
    return {
      field: (x, y) => {
        const bend = bilinear(fractal, oy + x * 0.4, ox + y * 0.4);
        const u = (x + lean * y + 10 * bend) * 1.9 * s;
        return 0.5 * bilinear(grain, ox + u * 0.5, oy + y * 0.14 * s) +
          0.3 * bilinear(fractal, ox + u, oy + y * 0.5) + 0.25 * bend;
      },
      colours: ramp(
        hsv(hue + 0.03, 0.85, 0.18),
        hsv(hue, 0.8, 0.45),
        hsv(hue - 0.02, 0.72, 0.7),
        hsv(hue - 0.05, 0.6, 0.88),
      ),
    };
  },
  sand(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const hue = rng.uniform(0.09, 0.13);
    const period = rng.uniform(7, 13);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const tilt = rng.uniform(-0.35, 0.35);
    const bright = rng.uniform(0.85, 1);
    return {
      field: (x, y) => {
        const drift = bilinear(fractal, ox + x * 0.35, oy + y * 0.35);
        const ripple = wave((y + tilt * x) / period + 3.5 * drift);
        return 0.15 + 0.4 * ripple * (0.4 + 0.8 * drift) + 0.3 * drift +
          0.15 * nearest(grain, ox + x, oy + y);
      },
      colours: ramp(
        hsv(hue - 0.01, 0.55, 0.55 * bright),
        hsv(hue, 0.42, 0.85 * bright),
        hsv(hue + 0.01, 0.28, bright),
      ),
    };
  },
  "brick wall"(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const width = rng.uniform(16, 28);
    const height = width * rng.uniform(0.38, 0.5);
    const mortar = rng.uniform(1.2, 2.2);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const hue = rng.uniform(-0.01, 0.055);
    const shift = rng.uniform(0.35, 0.5);
    return {
      field: (x, y) => {
        const v = (y + oy) / height;
        const row = Math.floor(v);
        const u = (x + ox) / width + shift * (row & 1);
        const column = Math.floor(u);
        const dx = (u - column) * width;
        const dy = (v - row) * height;
        const rough = nearest(grain, x + ox, y + oy);
        if (dx < mortar || dy < mortar) return 0.86 + 0.1 * rough;
        const own = nearest(grain, column * 37, row * 53);
        return 0.1 + 0.38 * own + 0.12 * rough + 0.16 * bilinear(fractal, x * 2 + ox, y * 2 + oy);
      },
      colours: ramp(
        hsv(hue, 0.75, 0.36),
        hsv(hue, 0.72, 0.58),
        hsv(hue + 0.015, 0.62, 0.76),
        hsv(0.1, 0.1, rng.uniform(0.7, 0.85)),
        hsv(0.1, 0.08, 0.88),
      ),
    };
  },
  water(rng) {
    const fractal = fractalTable();
    const hue = rng.uniform(0.5, 0.6);
    const s = rng.uniform(0.7, 1.3);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const dark = rng.uniform(0.45, 0.75);
    return {
      field: (x, y) => {
        const swell = bilinear(fractal, ox + x * 0.5 * s, oy + y * 1.3 * s);
        const crest = bilinear(fractal, oy + x * s, ox + y * 2.6 * s + 20 * swell);
        const line = 1 - 6 * Math.abs(crest - 0.5);
        return 0.15 + 0.45 * swell + (line > 0 ? 0.4 * line : 0);
      },
      colours: ramp(
        hsv(hue + 0.05, 0.9, 0.5 * dark),
        hsv(hue + 0.02, 0.85, dark),
        hsv(hue, 0.6, 0.4 + 0.6 * dark),
        hsv(hue - 0.02, 0.12, 1),
      ),
    };
  },
  "wooden planks"(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const upright = rng.integer(2) === 1;
    const width = rng.uniform(13, 26);
    const length = rng.uniform(70, 140);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const hue = rng.uniform(0.055, 0.095);
    const value = rng.uniform(0.6, 0.95);
    const rings = rng.uniform(5, 9);
    return {
      field: (x, y) => {
        const along = upright ? y + ox : x + ox;
        const across = (upright ? x + oy : y + oy) / width;
        const plank = Math.floor(across);
        const own = nearest(grain, plank * 41, 17);
        const d = (across - plank) * width;
        const end = along / length + own * 7.3;
        if (d < 1.3 || (end - Math.floor(end)) * length < 1.3) return 0;
        const n = bilinear(fractal, along * 0.22 + own * 90, across * width * 1.1 + own * 190);
        return 0.3 + 0.25 * own + 0.35 * wave(n * rings) * (0.5 + n * 0.5) +
          0.1 * bilinear(fractal, along * 0.5, across * width * 5);
      },
      colours: ramp(
        hsv(hue - 0.01, 0.8, 0.2 * value),
        hsv(hue, 0.72, 0.66 * value),
        hsv(hue + 0.005, 0.6, 0.86 * value),
        hsv(hue + 0.015, 0.48, value),
      ),
    };
  },
  "plaid fabric"(rng) {
    const grain = grainTable();
    const sett = rng.uniform(22, 44);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const wide = rng.uniform(0.35, 0.5);
    const thin = rng.uniform(0.07, 0.12);
    const at = rng.uniform(0.62, 0.8);
    const hue = rng.uniform();
    const other = hue + rng.uniform(0.25, 0.6);
    const stripe = (t: number) => {
      const f = t - Math.floor(t);
      return f < wide ? 0.34 : f > at && f < at + thin ? 1 : 0;
    };
    return {
      // Warp above weft on every other thread, as in a twill.
      field: (x, y) => {
        const over = ((Math.floor(x) + Math.floor(y)) & 3) < 2;
        const a = stripe((x + ox) / sett);
        const b = stripe((y + oy) / sett);
        const strong = over ? 0.72 * a + 0.28 * b : 0.28 * a + 0.72 * b;
        return 0.06 + 0.86 * strong + 0.08 * nearest(grain, x + ox, y + oy);
      },
      colours: ramp(
        hsv(hue, rng.uniform(0.6, 0.85), rng.uniform(0.5, 0.8)),
        hsv(hue + 0.03, 0.7, 0.3),
        hsv(other, 0.6, 0.75),
        hsv(other, 0.25, 0.98),
      ),
    };
  },
  cobblestone(rng) {
    const grain = grainTable();
    const { edge, centre, tint } = cellTables();
    const s = rng.uniform(0.95, 1.6);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const hue = rng.uniform(0.05, 0.65);
    const tone = rng.uniform(0.03, 0.12);
    const value = rng.uniform(0.65, 0.85);
    return {
      field: (x, y) => {
        const u = ox + x * s;
        const v = oy + y * s;
        const gap = smoothstep(0.05, 0.28, bilinear(edge, u, v));
        const dome = 1 - 0.55 * bilinear(centre, u, v);
        return gap * (0.22 + (0.25 + 0.4 * nearest(tint, u, v)) * dome) +
          0.13 * nearest(grain, x + ox, y + oy);
      },
      colours: ramp(
        hsv(0.09, 0.25, 0.12),
        hsv(hue, tone, 0.5 * value),
        hsv(hue, tone, 0.85 * value),
        hsv(hue, tone * 0.6, 1.1 * value),
      ),
    };
  },
  "tiled floor"(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const size = rng.uniform(12, 24);
    const diagonal = rng.integer(3) === 0;
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const hue = rng.uniform();
    const contrast = rng.uniform(0.25, 0.55);
    const saturation = rng.uniform(0.1, 0.5);
    return {
      field: (x, y) => {
        const u = (diagonal ? (x + y) * 0.7071 + ox : x + ox) / size;
        const v = (diagonal ? (y - x) * 0.7071 + oy : y + oy) / size;
        const i = Math.floor(u);
        const j = Math.floor(v);
        const d = Math.min(u - i, v - j) * size;
        if (d < 1.2) return 0.02;
        // A bevel lit from the upper left.
        const bevel = d < 2.4 ? 0.08 : 0;
        const own = 0.08 * nearest(grain, i * 29, j * 43);
        return 0.86 - contrast * ((i + j) & 1) + bevel - own -
          0.08 * bilinear(fractal, ox + x, oy + y);
      },
      colours: ramp(
        hsv(hue, 0.1, 0.35),
        hsv(hue, saturation, 0.55),
        hsv(hue, saturation * 0.7, 0.8),
        hsv(hue, saturation * 0.2, 0.98),
      ),
    };
  },
  asphalt(rng) {
    const fractal = fractalTable();
    const grain = grainTable();
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const value = rng.uniform(0.3, 0.5);
    const hue = rng.uniform(0.5, 0.75);
    const speck = rng.uniform(0.86, 0.94);
    return {
      field: (x, y) => {
        const g = nearest(grain, x + ox, y + oy);
        const patch = bilinear(fractal, ox + x * 0.5, oy + y * 0.5);
        return 0.1 + 0.4 * patch + 0.28 * g + (g > speck ? 0.25 : 0);
      },
      colours: ramp(
        hsv(hue, 0.12, 0.4 * value),
        hsv(hue, 0.08, value),
        hsv(hue, 0.04, 1.7 * value),
      ),
    };
  },
  marble(rng) {
    const fractal = fractalTable();
    const s = rng.uniform(0.3, 0.6);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const slope = rng.uniform(-1, 1);
    const hue = rng.uniform();
    const saturation = rng.uniform(0.02, 0.2);
    return {
      field: (x, y) => {
        const warp = bilinear(fractal, ox + x * s, oy + y * s);
        const cloud = bilinear(fractal, oy + x * s * 1.3 + 40 * warp, ox + y * s * 1.3);
        const t = (x + slope * y) / 48 + 2.6 * warp;
        const vein = Math.abs(2 * (t - Math.floor(t)) - 1);
        const fine = Math.abs(cloud - 0.5);
        return 0.95 - 0.4 * cloud - 0.6 * (1 - smoothstep(0, 0.14, vein)) -
          0.3 * (1 - smoothstep(0, 0.03, fine));
      },
      colours: ramp(
        hsv(hue, saturation * 1.5, 0.35),
        hsv(hue, saturation, 0.72),
        hsv(hue, saturation * 0.6, 0.92),
        hsv(hue, saturation * 0.2, 1),
      ),
    };
  },
  foliage(rng) {
    const fractal = fractalTable();
    const { edge, centre, tint } = cellTables();
    const s = rng.uniform(1.4, 2.2);
    const [ox, oy] = [rng.uniform(0, side), rng.uniform(0, side)];
    const hue = rng.uniform(0.26, 0.4);
    const turn = rng.uniform(0.4, 0.7);
    return {
      // Two layers of slanted cells: the front leaves leave gaps on the darker ones behind.
      field: (x, y) => {
        const u = ox + (x + turn * y) * s * 0.62;
        const v = oy + (y - turn * x) * s;
        const leaf = nearest(tint, u, v);
        const front = leaf > 0.35 && bilinear(edge, u, v) > 0.1;
        if (front) {
          const shade = 1 - 0.6 * bilinear(centre, u, v);
          return 0.3 + 0.62 * shade * (0.55 + 0.55 * leaf);
        }
        const w = bilinear(fractal, oy + x * 1.5, ox + y * 1.5);
        return 0.04 + 0.3 * w;
      },
      colours: ramp(
        hsv(hue + 0.04, 0.7, 0.1),
        hsv(hue + 0.02, 0.75, 0.3),
        hsv(hue, 0.68, 0.52),
        hsv(hue - 0.05, 0.6, 0.75),
      ),
    };
  },
};

/** Options of {@linkcode paintStuff}. */
export interface StuffOptions {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** Where the variation comes from. */
  readonly rng: Rng;
  /** Pixels per unit of the texture; 1, the default, suits 128×128 images. */
  readonly scale?: number;
  /** Paint only where `ids` holds `id`. */
  readonly only?: { readonly ids: Uint16Array; readonly id: number };
}

/**
 * Paints a texture into an RGB image, everywhere or only where a map of ids says so.
 *
 * @param name One of {@linkcode stuffCategories}.
 * @param rgb width·height·3 bytes, RGB interleaved; changed in place.
 * @param options Size, randomness, scale, and where.
 * @throws {InputError} If there is no such texture.
 */
export function paintStuff(name: StuffName, rgb: Uint8Array, options: StuffOptions): void {
  const { width, height, rng, scale = 1, only } = options;
  const make = makers[name];
  if (!make) {
    throw new InputError(`no texture "${name}"; the textures are ${stuffCategories.join(", ")}`);
  }
  const { field, colours } = make(rng, width / scale, height / scale);
  const step = 1 / scale;
  const ids = only?.ids;
  const id = only?.id ?? 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (ids && ids[i] !== id) continue;
      const value = field(x * step, y * step);
      const at = (value <= 0 ? 0 : value >= 1 ? 255 : (value * 255) | 0) * 3;
      const out = i * 3;
      rgb[out] = colours[at]!;
      rgb[out + 1] = colours[at + 1]!;
      rgb[out + 2] = colours[at + 2]!;
    }
  }
}

/**
 * Renders a texture. Hue, scale and phase vary with the generator; the kind stays recognisable.
 *
 * @param name One of {@linkcode stuffCategories}.
 * @param width Width in pixels.
 * @param height Height in pixels.
 * @param rng Where the variation comes from.
 * @param scale Pixels per unit of the texture; 1 suits 128×128 images.
 * @returns width·height·3 bytes, RGB interleaved.
 * @throws {InputError} If there is no such texture.
 * @example
 * ```ts
 * import { Rng } from "../../../lib/rng.ts";
 * import { renderStuff } from "./textures.ts";
 * console.log(renderStuff("grass", 128, 128, new Rng(1)).length); // 49152
 * ```
 */
export function renderStuff(
  name: StuffName,
  width: number,
  height: number,
  rng: Rng,
  scale = 1,
): Uint8Array {
  const rgb = new Uint8Array(width * height * 3);
  paintStuff(name, rgb, { width, height, rng, scale });
  return rgb;
}
