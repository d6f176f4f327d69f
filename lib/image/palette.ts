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

/** The most vivid in-gamut colour of at most the given chroma, and its place in Oklab. */
function oklch(
  lightness: number,
  chroma: number,
  hue: number,
): { colour: Rgb; lab: [number, number, number] } {
  for (let c = chroma;; c -= 0.01) {
    const lab: [number, number, number] = [lightness, c * Math.cos(hue), c * Math.sin(hue)];
    const rgb = oklabToSrgb(...lab);
    if (c <= 0 || rgb.every((x) => x >= 0 && x <= 1)) {
      const [red, green, blue] = rgb.map((x) => Math.round(Math.min(1, Math.max(0, x)) * 255));
      return { colour: [red!, green!, blue!], lab };
    }
  }
}

/** How many colours are chosen one by one, each as far as can be from those before it. */
const NUM_CHOSEN = 64;

let chosen: readonly Rgb[] | undefined;

/** Greedy farthest points among vivid and muted colours of five lightnesses, in Oklab. */
function chooseColours(): readonly Rgb[] {
  const candidates: { colour: Rgb; lab: [number, number, number]; distance: number }[] = [];
  for (const lightness of [0.48, 0.58, 0.68, 0.78, 0.88]) {
    for (const chroma of [0.26, 0.11]) {
      for (let step = 0; step < 36; step++) {
        const hue = (step / 36) * 2 * Math.PI;
        const { colour, lab } = oklch(lightness, chroma, hue);
        candidates.push({ colour, lab, distance: Infinity });
      }
    }
  }
  const colours: Rgb[] = [];
  // A strong blue to begin with: the sequence is as good as any, and it suits one class alone.
  let next = candidates.reduce((a, b) =>
    Math.abs(a.lab[2] + 0.2) < Math.abs(b.lab[2] + 0.2) ? a : b
  );
  while (colours.length < NUM_CHOSEN) {
    colours.push(next.colour);
    const [l, a, b] = next.lab;
    for (const candidate of candidates) {
      // Hue tells areas of a photograph apart better than lightness does, which it varies itself.
      const distance = Math.hypot(
        0.7 * (candidate.lab[0] - l),
        candidate.lab[1] - a,
        candidate.lab[2] - b,
      );
      candidate.distance = Math.min(candidate.distance, distance);
    }
    next = candidates.reduce((x, y) => (y.distance > x.distance ? y : x));
  }
  return colours;
}

const goldenAngle = Math.PI * (3 - Math.sqrt(5));

/**
 * The first `count` colours of one endless sequence in which no colour comes twice. The first 64
 * are chosen one by one, each as far as can be (in Oklab) from those before it; from there on hues
 * advance by the golden angle while lightness and chroma drift. Black and white never occur: they
 * mean "void" and "paper".
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
  chosen ??= chooseColours();
  const colours = chosen.slice(0, count);
  const key = ([red, green, blue]: Rgb) => (red << 16) | (green << 8) | blue;
  const taken = new Set<number>([0, 0xffffff, ...chosen.map(key)]);
  for (let i = 0; colours.length < count; i++) {
    // Steps by irrational numbers never repeat, and fill the ranges evenly.
    const lightness = 0.45 + 0.45 * ((i * 0.7548776662) % 1);
    const chroma = 0.05 + 0.2 * ((i * 0.5698402909) % 1);
    const { colour } = oklch(lightness, chroma, i * goldenAngle);
    if (taken.has(key(colour))) continue;
    taken.add(key(colour));
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
