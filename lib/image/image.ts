/**
 * Images in memory.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";

/**
 * An RGB image of 8 bits per channel (sRGB), row-major.
 *
 * @example
 * ```ts
 * import { Image } from "@ovstage/ovstage";
 * const image = new Image(2, 1, new Uint8Array([255, 0, 0, 0, 0, 255]));
 * console.log(image.width, image.height, image.rgb[5]); // 2 1 255
 * ```
 */
export class Image {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** height × width × 3 bytes: red, green, blue. */
  readonly rgb: Uint8Array;

  /**
   * Takes the pixels as they are.
   *
   * @param width Columns, at least 1.
   * @param height Rows, at least 1.
   * @param rgb height × width × 3 bytes; black where left out. Not copied.
   * @throws {ShapeError} If the sizes are not positive integers or `rgb` does not fit them.
   */
  constructor(width: number, height: number, rgb?: Uint8Array) {
    if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
      throw new ShapeError(`image: ${width}×${height} must be two positive integers`);
    }
    this.width = width;
    this.height = height;
    this.rgb = rgb ?? new Uint8Array(width * height * 3);
    if (this.rgb.length !== width * height * 3) {
      throw new ShapeError(
        `image: ${width}×${height} takes ${
          width * height * 3
        } bytes of RGB, got ${this.rgb.length}`,
      );
    }
  }
}
