/**
 * Label maps made larger.
 *
 * @module
 */

/** Width and height. */
export type Size = readonly [number, number];

/**
 * Gives every pixel of a larger map the value of the one it lies in.
 *
 * @param map height × width values, row-major.
 * @param to The larger size.
 */
export function enlarge(
  map: Int32Array,
  [fromWidth, fromHeight]: Size,
  [width, height]: Size,
): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(width * height);
  const columns = Int32Array.from(
    { length: width },
    (_, x) => Math.floor((x + 0.5) * fromWidth / width),
  );
  let last = -1;
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y + 0.5) * fromHeight / height);
    const at = y * width;
    if (row === last) larger.copyWithin(at, at - width, at);
    else for (let x = 0; x < width; x++) larger[at + x] = map[row * fromWidth + columns[x]!]!;
    last = row;
  }
  return larger;
}
