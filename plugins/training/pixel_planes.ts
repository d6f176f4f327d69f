/**
 * From interleaved pixels to what the image tower takes.
 *
 * @module
 */

/**
 * Writes one image of a batch as planes.
 *
 * @param rgb H×W×3 bytes, interleaved.
 * @param planes B×3×H×W, RGB in 0…1; image `b` of it is written.
 */
export function writePlanes(rgb: Uint8Array, planes: Float32Array, b: number): void {
  const plane = rgb.length / 3;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) planes[(b * 3 + c) * plane + i] = rgb[i * 3 + c]! / 255;
  }
}
