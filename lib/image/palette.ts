/**
 * Colours for classes.
 *
 * @module
 */

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/**
 * Oklab (Ottosson, 2020) to sRGB, channels 0 to 1 and outside where the colour is out of gamut.
 */
function oklabToSrgb(lightness: number, a: number, b: number): [number, number, number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const gamma = (x: number) => x <= 0.0031308 ? 12.92 * x : 1.055 * Math.pow(x, 1 / 2.4) - 0.055;
  return [
    gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** The most vivid in-gamut colour of at most the given chroma. */
function oklch(lightness: number, chroma: number, hue: number): Rgb {
  for (let c = chroma;; c -= 0.01) {
    const rgb = oklabToSrgb(lightness, c * Math.cos(hue), c * Math.sin(hue));
    if (c <= 0 || rgb.every((x) => x >= 0 && x <= 1)) {
      return rgb.map((x) => Math.round(Math.min(1, Math.max(0, x)) * 255)) as [
        number,
        number,
        number,
      ];
    }
  }
}

// Levels that follow each other differ as much as they can while all stay readable on a photograph.
const levels: readonly (readonly [lightness: number, chroma: number])[] = [
  [0.68, 0.25],
  [0.82, 0.19],
  [0.55, 0.24],
  [0.75, 0.13],
  [0.47, 0.17],
  [0.9, 0.12],
];
const goldenAngle = Math.PI * (3 - Math.sqrt(5));
const firstHue = 0.5;

/**
 * The first `count` colours of one endless sequence in which no colour comes twice. Hues advance by
 * the golden angle, so every prefix covers the hue circle evenly; lightness and chroma (Oklch)
 * cycle through six levels. Black and white never occur, they mean "void" and "outline".
 *
 * @param count How many colours, at least 0.
 * @returns `count` distinct colours; the same ones for every call.
 *
 * @example
 * ```ts
 * import { palette } from "@ovstage/ovstage";
 * console.log(palette(2).length, palette(20000).length); // 2 20000
 * ```
 */
export function palette(count: number): Rgb[] {
  const colours: Rgb[] = [];
  const taken = new Set<number>([0, 0xffffff]);
  for (let i = 0; colours.length < count; i++) {
    const [lightness, chroma] = levels[i % levels.length]!;
    // Each full cycle of 96 shifts lightness and chroma a little: the sequence stays distinct after
    // the eye has given up telling the colours apart.
    const cycle = Math.floor(i / 96);
    const jitter = ((cycle * 0.754877666) % 1 - (cycle === 0 ? 0 : 0.5)) * 0.12;
    const fade = 1 - ((cycle * 0.569840291) % 1) * 0.6;
    const colour = oklch(lightness + jitter, chroma * fade, firstHue + i * goldenAngle);
    const key = (colour[0] << 16) | (colour[1] << 8) | colour[2];
    if (taken.has(key)) continue;
    taken.add(key);
    colours.push(colour);
  }
  return colours;
}

/** How many neighbours of {@linkcode palette} the eye still tells apart. */
const EASILY_TOLD_APART = 24;

/**
 * One colour per class, for a picture that shows only some of them. A short vocabulary (24 names or
 * fewer) gets the same colours whatever the picture shows; of a longer one, the classes that are
 * present get the first, best separated colours.
 *
 * @param count Number of classes.
 * @param present Indices of the classes that the picture shows, most important first.
 * @returns A colour for each of the `count` classes, all distinct.
 */
export function classColours(count: number, present: readonly number[]): Rgb[] {
  const colours = palette(count);
  if (count <= EASILY_TOLD_APART) return colours;
  const assigned = new Array<Rgb>(count);
  const first = new Set(present);
  let next = 0;
  for (const index of first) assigned[index] = colours[next++]!;
  for (let index = 0; index < count; index++) {
    if (!first.has(index)) assigned[index] = colours[next++]!;
  }
  return assigned;
}

/** A colour as CSS writes it: `#rrggbb`. */
export function toHex([red, green, blue]: Rgb): string {
  return "#" + ((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1);
}
