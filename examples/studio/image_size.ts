/**
 * How large an image is, from the first bytes of its file: before anything is decoded, which for a
 * very large one would take the tab down.
 *
 * @module
 */

/** Columns and rows. */
export interface ImageSize {
  /** Columns, as stored; cameras may ask for a turn. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

function ascii(bytes: DataView, at: number, length: number): string {
  let text = "";
  for (let i = at; i < Math.min(at + length, bytes.byteLength); i++) {
    text += String.fromCharCode(bytes.getUint8(i));
  }
  return text;
}

/** A JPEG's frame header comes after any number of segments, such as a camera's notes. */
function jpegSize(bytes: DataView): ImageSize | null {
  let at = 2;
  while (at + 9 < bytes.byteLength) {
    if (bytes.getUint8(at) !== 0xff) return null;
    const marker = bytes.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: bytes.getUint16(at + 7), height: bytes.getUint16(at + 5) };
    at += 2 + bytes.getUint16(at + 2);
  }
  return null;
}

function webpSize(bytes: DataView): ImageSize | null {
  const uint24 = (at: number) => bytes.getUint16(at, true) | bytes.getUint8(at + 2) << 16;
  switch (ascii(bytes, 12, 4)) {
    case "VP8X":
      return { width: 1 + uint24(24), height: 1 + uint24(27) };
    case "VP8L": {
      const packed = bytes.getUint32(21, true);
      return { width: 1 + (packed & 0x3fff), height: 1 + (packed >> 14 & 0x3fff) };
    }
    case "VP8 ":
      return {
        width: bytes.getUint16(26, true) & 0x3fff,
        height: bytes.getUint16(28, true) & 0x3fff,
      };
    default:
      return null;
  }
}

/** AVIF and HEIC: boxes that state a size; the largest one is the whole picture's. */
function heifSize(bytes: DataView): ImageSize | null {
  let largest: ImageSize | null = null;
  for (let at = 0; at + 16 <= bytes.byteLength; at++) {
    // The box's name, "ispe".
    if (bytes.getUint32(at) !== 0x69737065) continue;
    const size = { width: bytes.getUint32(at + 8), height: bytes.getUint32(at + 12) };
    if (largest === null || size.width * size.height > largest.width * largest.height) {
      largest = size;
    }
  }
  return largest;
}

/**
 * Reads the size from a file's beginning.
 *
 * @param start The first bytes of the file; 256 kB hold any camera's notes.
 * @returns null where the format is none of PNG, JPEG, GIF, WebP, BMP, AVIF and HEIC, or too little
 * is there.
 */
export function imageSize(start: Uint8Array): ImageSize | null {
  const bytes = new DataView(start.buffer, start.byteOffset, start.byteLength);
  if (bytes.byteLength < 30) return null;
  if (bytes.getUint32(0) === 0x89504e47) {
    return { width: bytes.getUint32(16), height: bytes.getUint32(20) };
  }
  if (bytes.getUint16(0) === 0xffd8) return jpegSize(bytes);
  if (ascii(bytes, 0, 4) === "GIF8") {
    return { width: bytes.getUint16(6, true), height: bytes.getUint16(8, true) };
  }
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WEBP") return webpSize(bytes);
  if (ascii(bytes, 0, 2) === "BM") {
    // A negative height says that rows come from the top.
    return { width: bytes.getInt32(18, true), height: Math.abs(bytes.getInt32(22, true)) };
  }
  return ascii(bytes, 4, 4) === "ftyp" ? heifSize(bytes) : null;
}
