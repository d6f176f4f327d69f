/**
 * Class names as people type and paste them.
 *
 * @module
 */

/** The most classes that the page takes: more would make a list that nobody can read. */
export const maxClasses = 2000;

/** What became of names that were to be added. */
export interface AddedClasses {
  /** All names, the new ones last. */
  readonly names: readonly string[];
  /** Those that are new. */
  readonly added: readonly string[];
  /** Those that were there already, as they stand there. */
  readonly again: readonly string[];
  /** How many found no room. */
  readonly dropped: number;
}

/** What the text encoder can't tell apart is the same class. */
function keyOf(name: string): string {
  return name.normalize("NFC").toLowerCase().replace(/\s+/gu, " ");
}

/**
 * Splits a list at commas, semicolons, tabs and line ends; a JSON array of strings is one as well.
 *
 * @param text As typed or pasted.
 * @returns The names, trimmed, none empty.
 */
export function splitClasses(text: string): string[] {
  let parts: unknown = null;
  if (text.trimStart().startsWith("[")) {
    try {
      parts = JSON.parse(text);
    } catch {
      // A list that begins with a bracket.
    }
  }
  const isList = Array.isArray(parts) && parts.every((part) => typeof part === "string");
  const names = isList ? parts as string[] : text.split(/[,;\t\r\n]/u);
  // A name of invisible characters alone would be an empty chip.
  return names.map((name) => name.trim().replace(/\s+/gu, " "))
    .filter((name) => /[^\p{Z}\p{C}]/u.test(name));
}

/**
 * Adds names to a list in which none comes twice, whatever its case.
 *
 * @param names The list.
 * @param more What is to be added.
 */
export function addClasses(names: readonly string[], more: readonly string[]): AddedClasses {
  const known = new Map(names.map((name) => [keyOf(name), name]));
  const added: string[] = [];
  const again: string[] = [];
  let dropped = 0;
  for (const name of more) {
    const key = keyOf(name);
    const there = known.get(key);
    if (there !== undefined) again.push(there);
    else if (known.size >= maxClasses) dropped++;
    else {
      known.set(key, name);
      added.push(name);
    }
  }
  return { names: [...names, ...added], added, again, dropped };
}
