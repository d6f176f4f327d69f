/**
 * Names that have to fit.
 *
 * @module
 */

/** What a person takes for one character may be several code points. */
const graphemes = new Intl.Segmenter();

/**
 * As much of the beginning of a text as fits, and an ellipsis in place of the rest.
 *
 * @param text The whole.
 * @param fits Whether a text fits; where one does, every beginning of it does.
 * @returns The whole if it fits; at the least the ellipsis.
 */
export function shorten(text: string, fits: (text: string) => boolean): string {
  if (fits(text)) return text;
  const ends = Array.from(graphemes.segment(text), ({ index }) => index);
  const cut = (count: number) => `${text.slice(0, ends[count] ?? 0).trimEnd()}…`;
  let [low, high] = [0, ends.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(cut(middle))) low = middle;
    else high = middle;
  }
  return cut(low);
}
