/**
 * Pictures from files and cameras, no larger than the page works on.
 *
 * @module
 */
import { InputError } from "@ovstage/ovstage";
import { imageSize } from "./image_size.ts";
import type { Picture } from "./protocol.ts";

/** The longer side that larger pictures are brought to. */
export const maxSide = 1024;

/** Larger files would take more memory to decode than a tab can count on. */
export const maxMegapixels = 64;

/** A picture as the page holds it. */
export interface LoadedPicture {
  /** What the worker gets. */
  readonly picture: Picture;
  /** The same, to be drawn. */
  readonly pixels: ImageData;
  /** What it is called. */
  readonly name: string;
  /** The size of the original. */
  readonly original: readonly [width: number, height: number];
}

let numLoaded = 0;

/** Scales a source down to {@linkcode maxSide} and takes its pixels, over white. */
function take(
  source: CanvasImageSource,
  [width, height]: readonly [number, number],
  name: string,
): LoadedPicture {
  const scale = Math.min(1, maxSide / Math.max(width, height));
  const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = size as [number, number];
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = pixels;
  const rgb = new Uint8Array(3 * canvas.width * canvas.height);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + 1]!;
    rgb[to + 2] = data[from + 2]!;
  }
  const picture = { key: ++numLoaded, width: canvas.width, height: canvas.height, rgb };
  return { picture, pixels, name, original: [width, height] };
}

/**
 * Decodes an image file.
 *
 * @param file Any format that the browser knows.
 * @param name What messages call it.
 * @throws {InputError} If it is no image, is damaged, or has more than {@linkcode maxMegapixels}.
 */
export async function loadFile(file: Blob, name: string): Promise<LoadedPicture> {
  if (file.size === 0) throw new InputError(`${name} is empty: choose an image file`);
  let start: Uint8Array;
  try {
    start = new Uint8Array(await file.slice(0, 2 ** 18).arrayBuffer());
  } catch (cause) {
    throw new InputError(`${name} can't be read: choose an image file, no folder`, { cause });
  }
  const size = imageSize(start);
  if (size !== null && size.width * size.height > maxMegapixels * 1e6) {
    const megapixels = Math.round(size.width * size.height / 1e6);
    throw new InputError(
      `${name} has ${size.width} × ${size.height} pixels (${megapixels} megapixels); the studio ` +
        `takes up to ${maxMegapixels}: scale it down and try again`,
    );
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (cause) {
    const what = size === null
      ? "is no image that this browser can read: try a PNG, JPEG or WebP file"
      : "is damaged or cut short: try another copy of it";
    throw new InputError(`${name} ${what}`, { cause });
  }
  try {
    return take(bitmap, [bitmap.width, bitmap.height], name);
  } finally {
    bitmap.close();
  }
}

/** The picture that a video shows at this moment. */
export function takeFrame(video: HTMLVideoElement, name: string): LoadedPicture {
  return take(video, [video.videoWidth, video.videoHeight], name);
}
