/**
 * The PNG container.
 *
 * @module
 */

const crcTable = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = crcTable[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** How a PNG stores its pixels. */
export interface PngFormat {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Bits per sample. */
  readonly bits: 8 | 16;
  /** What a pixel is. */
  readonly colour: "grey" | "rgb" | "palette";
  /** Red, green and blue of up to 256 entries, where pixels are indices into a palette. */
  readonly palette?: Uint8Array;
}

const colourTypes = { grey: 0, rgb: 2, palette: 3 };

/** Rows in groups of about a mebibyte, so that a large picture is never held twice. */
function* scanlines(
  { width, height, bits, colour }: PngFormat,
  writePixel: (bytes: Uint8Array, at: number, pixel: number) => void,
): Generator<Uint8Array<ArrayBuffer>> {
  const bytesPerPixel = (bits / 8) * (colour === "rgb" ? 3 : 1);
  const stride = 1 + width * bytesPerPixel;
  const group = Math.max(1, Math.floor(2 ** 20 / stride));
  for (let y0 = 0, pixel = 0; y0 < height; y0 += group) {
    const rows = Math.min(group, height - y0);
    const bytes = new Uint8Array(rows * stride);
    let to = 0;
    for (let y = 0; y < rows; y++) {
      to++; // filter type 0: labels don't gain from prediction
      for (let x = 0; x < width; x++, to += bytesPerPixel) writePixel(bytes, to, pixel++);
    }
    yield bytes;
  }
}

/**
 * Writes a PNG of flat areas, such as labels, pixel by pixel.
 *
 * @param format Size, depth and kind of pixels.
 * @param writePixel Writes the samples of a pixel, counted in reading order, to `bytes` from `at` on.
 * @returns The bytes of the file; the same for the same pixels on one runtime.
 */
export async function encodePng(
  format: PngFormat,
  writePixel: (bytes: Uint8Array, at: number, pixel: number) => void,
): Promise<Uint8Array> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, format.width);
  view.setUint32(4, format.height);
  header[8] = format.bits;
  header[9] = colourTypes[format.colour];
  const parts = [new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", header)];
  if (format.palette !== undefined) parts.push(chunk("PLTE", format.palette));

  const rows = scanlines(format, writePixel);
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { done, value } = rows.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  // "deflate" is the zlib format of RFC 1950, which is what IDAT holds.
  const reader = source.pipeThrough(new CompressionStream("deflate")).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(chunk("IDAT", value));
  }
  parts.push(chunk("IEND", new Uint8Array(0)));

  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
