/**
 * Which classes compete for a pixel.
 *
 * @module
 */

/** Masks and what they show, in host memory. */
export interface RankInput {
  /** N × h × w. */
  readonly maskLogits: Float32Array;
  /** N × C. */
  readonly probabilities: Float32Array;
  /** N. */
  readonly numMasks: number;
  /** C. */
  readonly numClasses: number;
  /** h. */
  readonly maskHeight: number;
  /** w. */
  readonly maskWidth: number;
}

/** The two cells beside a coordinate, and the second one's weight (align_corners = false). */
function between(at: number, from: number, to: number): [number, number, number] {
  const centre = Math.min(from - 1, Math.max(0, (at + 0.5) * from / to - 0.5));
  const low = Math.floor(centre);
  return [low, Math.min(from - 1, low + 1), centre - low];
}

/**
 * The classes' scores at a pixel, best first: `Σ_n probabilities[n, c] · sigmoid(m_n(x, y))`, `m_n`
 * the n-th mask's logits resized bilinearly, which is what the semantic segmenter compares.
 *
 * @param x Column, in the picture.
 * @param y Row.
 * @param size The picture's width and height.
 * @param count How many to return.
 */
export function rankClasses(
  { maskLogits, probabilities, numMasks, numClasses, maskHeight, maskWidth }: RankInput,
  x: number,
  y: number,
  size: readonly [width: number, height: number],
  count: number,
): { index: number; score: number }[] {
  const [x0, x1, u] = between(x, maskWidth, size[0]);
  const [y0, y1, v] = between(y, maskHeight, size[1]);
  const scores = new Float64Array(numClasses);
  for (let n = 0; n < numMasks; n++) {
    const at = (row: number, column: number) =>
      maskLogits[(n * maskHeight + row) * maskWidth + column]!;
    const upper = (1 - u) * at(y0, x0) + u * at(y0, x1);
    const lower = (1 - u) * at(y1, x0) + u * at(y1, x1);
    const weight = 1 / (1 + Math.exp(-((1 - v) * upper + v * lower)));
    for (let c = 0; c < numClasses; c++) {
      scores[c]! += weight * probabilities[n * numClasses + c]!;
    }
  }
  return Array.from(scores, (score, index) => ({ index, score }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, count);
}
