/**
 * "Did you mean …?"
 *
 * @module
 */

/** The number of edits between two strings: a character more, less or other, or two swapped. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = j > 1 && i > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? before[j - 2]! + 1 : Infinity;
      next.push(Math.min(change, swap, row[j]! + 1, next[j - 1]! + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}

/**
 * Finds the known name that a mistyped one most likely stands for.
 *
 * @param name What was asked for.
 * @param known What there is.
 * @returns The nearest name, or null where none is near.
 */
export function nearest(name: string, known: Iterable<string>): string | null {
  const asked = name.slice(0, 64).toLowerCase();
  let best: string | null = null;
  let least = Math.max(1, Math.floor(asked.length / 3)) + 1;
  for (const candidate of known) {
    const edits = distance(asked, candidate.toLowerCase());
    if (edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

/** Says which names there are, and which of them was probably meant. */
export function knownNames(name: string, known: readonly string[]): string {
  if (known.length === 0) return "there are none";
  const guess = nearest(name, known);
  const list = known.join(", ");
  return guess === null ? `known: ${list}` : `did you mean "${guess}"? known: ${list}`;
}
