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
    throw sharpFailure(cause);
  });
  return loaded;
}

/** What to do about what sharp's import threw. */
export function sharpFailure(cause: unknown): PackageError {
  const text = (cause instanceof Error ? cause.message : String(cause)).trim();
  const reason = text.split("\n", 1)[0];
  // A sharp that is there, but not its library for this machine, lists remedies; the first is the
  // likeliest, in two lines.
  const remedy = /Possible solutions:\n- (.+\n.+)/.exec(text)?.[1]?.replace(/\s+/g, " ");
  return new PackageError(
    remedy === undefined
      ? "reading and writing images needs sharp 0.35: run `deno install`, or in Node " +
        `\`npm install sharp@0.35.5\` (${reason})`
      : "sharp is installed, but can't be loaded: run `deno install`, or in Node, as sharp says: " +
        `${remedy} (${reason})`,
    { cause },
  );
}
