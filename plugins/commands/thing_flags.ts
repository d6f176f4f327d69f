/**
 * Which classes are things and which are stuff, as people say it.
 *
 * @module
 */
import type { FlagSpec } from "../../lib/cli/arguments.ts";
import { OptionError } from "../../lib/errors.ts";
import { nearest } from "../../lib/stages/suggest.ts";
import { normalizeText } from "../../lib/text/bpe.ts";

/** The flags that tell things from stuff. */
export const thingFlags = {
  things: {
    value: '"A, B"',
    description: "panoptic, instance: the classes that are things, which are counted; the others " +
      "are stuff. Without --things and --stuff, all are things.",
  },
  stuff: {
    value: '"A, B"',
    description: "panoptic, instance: the classes that are stuff, of which there is only one " +
      "segment (panoptic) or no object (instance); the others are things.",
  },
} as const satisfies Record<string, FlagSpec>;

/**
 * Reads the flags.
 *
 * @param names The classes.
 * @param flags Names between commas.
 * @returns For every class, whether it is a thing; undefined where nobody says.
 * @throws {OptionError} If a name is no class, there twice, or both flags are given and a class is
 * in neither.
 */
export function readThings(
  names: readonly string[],
  flags: { readonly things?: string | undefined; readonly stuff?: string | undefined },
): boolean[] | undefined {
  const { things, stuff } = flags;
  if (things === undefined && stuff === undefined) return undefined;
  const indices = new Map(names.map((name, index) => [normalizeText(name), index]));
  const isThing = new Map<number, boolean>();
  for (const [flag, text, thing] of [["things", things, true], ["stuff", stuff, false]] as const) {
    for (const raw of text === undefined || text.trim() === "" ? [] : text.split(",")) {
      const name = raw.trim();
      const index = indices.get(normalizeText(name));
      if (index === undefined) {
        const guess = nearest(name, names);
        throw new OptionError(
          `--${flag}: "${name}" is none of the ${names.length} classes` +
            (guess === null ? "; name them as --classes does" : `; did you mean "${guess}"?`),
        );
      }
      if (isThing.has(index)) {
        throw new OptionError(
          `--${flag}: "${name}" is there twice${
            isThing.get(index) === thing ? "" : ", as a thing and as stuff"
          }; name it once`,
        );
      }
      isThing.set(index, thing);
    }
  }
  return names.map((name, index) => {
    const known = isThing.get(index);
    if (known !== undefined) return known;
    if (things === undefined) return true;
    if (stuff === undefined) return false;
    throw new OptionError(
      `class "${name}" is neither in --things nor in --stuff; name it there, or leave one of the ` +
        "flags out",
    );
  });
}
