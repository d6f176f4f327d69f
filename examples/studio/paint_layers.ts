/**
 * Labels as layers of pixels, to lie over the picture.
 *
 * @module
 */
import type { Rgb } from "@ovstage/ovstage";

/** Two layers, RGBA. */
export interface Layers {
  /** Each pixel in its class's colour; pixels without a class are dark. */
  readonly tint: Uint8ClampedArray<ArrayBuffer>;
  /** White where segments meet, the class's colour beside it, nothing elsewhere. */
  readonly outline: Uint8ClampedArray<ArrayBuffer>;
}

/**
 * Paints a label map.
 *
 * @param labels height × width class indices, −1 for none.
 * @param colours One for each class.
 */
export function paintLayers(
  labels: Int32Array,
  width: number,
  height: number,
  colours: readonly Rgb[],
): Layers {
  // Whole pixels at a time; bytes lie in the order red, green, blue, alpha on every browser.
  const words = Uint32Array.from(
    colours,
    ([red, green, blue]) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0,
  );
  const none = 0xff201c1c;
  const white = 0xffffffff;
  const tint = new Uint32Array(width * height);
  const outline = new Uint32Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = labels[i]!;
      const word = label < 0 ? none : words[label]!;
      tint[i] = word;
      const right = x + 1 < width && labels[i + 1] !== label;
      const below = y + 1 < height && labels[i + width] !== label;
      if (right || below) outline[i] = white;
      else if (
        (x > 0 && labels[i - 1] !== label) || (y > 0 && labels[i - width] !== label)
      ) outline[i] = word;
    }
  }
  return {
    tint: new Uint8ClampedArray(tint.buffer),
    outline: new Uint8ClampedArray(outline.buffer),
  };
}
