/**
 * Names for several of a kind.
 *
 * @module
 */

/**
 * Names segments by their class, and numbers those of which there are several: "dog 1", "dog 2".
 *
 * @param labels The class of each.
 * @param names The classes.
 */
export function numberedNames(labels: readonly number[], names: readonly string[]): string[] {
  const total = new Map<number, number>();
  for (const label of labels) total.set(label, (total.get(label) ?? 0) + 1);
  const so = new Map<number, number>();
  return labels.map((label) => {
    const number = (so.get(label) ?? 0) + 1;
    so.set(label, number);
    return total.get(label) === 1 ? names[label]! : `${names[label]!} ${number}`;
  });
}
