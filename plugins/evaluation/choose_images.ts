/**
 * Which images a benchmark takes, so that no category has too few and none too many.
 *
 * @module
 */
import { Rng } from "../../lib/rng.ts";

/** How images are balanced. */
export interface ChooseImagesOptions {
  /** Images that each category should have at least. */
  readonly least: number;
  /** Images that it should have at most; null for any number. */
  readonly most: number | null;
  /** Most images in all; null for any number. */
  readonly total: number | null;
  /** Seed of the order in which images are looked at. */
  readonly seed: number;
}

/**
 * Chooses images. The category that has the fewest so far, the rarest of them first, gets the next
 * image, in an order drawn by the seed. While it has fewer than `least` that is the image that takes
 * the fewest categories beyond `most`; afterwards, one that takes none beyond it. So `least` goes
 * before `most`, and a category has fewer than `least` only where there are no more, or `total` is
 * reached.
 *
 * @param present For each image, the categories in it, none twice.
 * @param numCategories C
 * @param options See {@linkcode ChooseImagesOptions}.
 * @returns Indices of images, ascending.
 *
 * @example
 * ```ts
 * import { chooseImages } from "./choose_images.ts";
 * const present = [[0], [0], [0, 1], [0]];
 * const options = { least: 1, most: 1, total: null, seed: 0 };
 * console.log(chooseImages(present, 2, options)); // [2]
 * ```
 */
export function chooseImages(
  present: readonly (readonly number[])[],
  numCategories: number,
  { least, most, total, seed }: ChooseImagesOptions,
): number[] {
  if (most === null && total === null) {
    return present.flatMap((categories, image) => categories.length > 0 ? [image] : []);
  }
  const order = new Rng(seed).shuffle(present.map((_, image) => image));
  /** Images of each category that are still free, or were when last looked at. */
  const images = Array.from({ length: numCategories }, (): number[] => []);
  for (const image of order) for (const category of present[image]!) images[category]!.push(image);
  const available = images.map(({ length }) => length);
  const byRarity = images.map((_, c) => c).sort((a, b) => available[a]! - available[b]! || a - b);
  const counts = new Int32Array(numCategories);
  const done = available.map((length) => length === 0);
  const chosen = new Set<number>();
  const beyond = (image: number) =>
    most === null ? 0 : present[image]!.reduce((n, c) => n + Number(counts[c]! >= most), 0);

  while (chosen.size < (total ?? Infinity)) {
    let category = -1;
    for (const c of byRarity) {
      if (!done[c] && (category < 0 || counts[c]! < counts[category]!)) category = c;
    }
    if (category < 0) break;
    const free = images[category] = images[category]!.filter((image) => !chosen.has(image));
    let best = -1;
    for (let i = 0, lowest = Infinity; i < free.length && lowest > 0; i++) {
      const over = beyond(free[i]!);
      if (over < lowest) [best, lowest] = [i, over];
    }
    const image = free[best];
    if (image === undefined || counts[category]! >= least && beyond(image) > 0) {
      done[category] = true;
      continue;
    }
    chosen.add(image);
    for (const c of present[image]!) counts[c]!++;
  }
  return [...chosen].sort((a, b) => a - b);
}
