/**
 * sharp, loaded when the first image needs it.
 *
 * @module
 */
import type sharpModule from "sharp";

let loaded: Promise<typeof sharpModule> | undefined;

/** Loads sharp once; its native library takes longer to load than `--help` may take to print. */
export function importSharp(): Promise<typeof sharpModule> {
  loaded ??= import("sharp").then((module) => {
    const sharp = module.default;
    // Every file is read once; a cache of decoded tiles only keeps memory.
    sharp.cache(false);
    return sharp;
  });
  return loaded;
}
