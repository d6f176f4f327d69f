/**
 * sharp, loaded when the first image needs it.
 *
 * @module
 */
import type sharpModule from "sharp";
import { PackageError } from "../../lib/errors.ts";

let loaded: Promise<typeof sharpModule> | undefined;

/**
 * Loads sharp once; its native library takes longer to load than `--help` may take to print.
 *
 * @throws {PackageError} If it is missing, or has no build for this machine.
 */
export function importSharp(): Promise<typeof sharpModule> {
  loaded ??= import("sharp").then((module) => {
    const sharp = module.default;
    // Every file is read once; a cache of decoded tiles only keeps memory.
    sharp.cache(false);
    return sharp;
  }, (cause) => {
    loaded = undefined;
    const reason =
      (cause instanceof Error ? cause.message : String(cause)).trim().split("\n", 1)[0];
    throw new PackageError(
      "reading and writing images needs sharp 0.35: run `deno install`, or in Node " +
        `\`npm install sharp@0.35.5\` (${reason})`,
      { cause },
    );
  });
  return loaded;
}
