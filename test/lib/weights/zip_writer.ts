/** A writer of zip archives for tests: it can write what well-behaved writers don't. */
import { deflateSync } from "fflate";
import { crc32 } from "../../../lib/weights/zip.ts";

export interface ZipFile {
  name: string;
  bytes: Uint8Array;
  deflate?: boolean;
  /** Sizes and offset in the zip64 field instead of the 32-bit ones. */
  zip64?: boolean;
  /** Changes of the directory's record: byte offset and 16-bit value. */
  patch?: [at: number, value: number];
}

export function writeZip(files: readonly ZipFile[], options: { zip64?: boolean } = {}): Uint8Array {
  const chunks: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  const push = (bytes: Uint8Array) => {
    chunks.push(bytes);
    at += bytes.length;
  };
  for (const { name, bytes, deflate = false, zip64 = false, patch } of files) {
    const packed = deflate ? deflateSync(bytes) : bytes;
    const label = new TextEncoder().encode(name);
    const method = deflate ? 8 : 0;
    const crc = crc32(bytes);
    const offset = at;
    push(record(
      [[4, 0x04034b50], [2, 45], [2, 0x800], [2, method], [4, 0], [4, crc]]
        .concat([[4, packed.length], [4, bytes.length], [2, label.length], [2, 0]]),
    ));
    push(label);
    push(packed);
    const wide = zip64
      ? record([[2, 1], [2, 24], [8, bytes.length], [8, packed.length], [8, offset]])
      : new Uint8Array(0);
    const narrow = (value: number) => zip64 ? 0xffffffff : value;
    const head = record(
      [[4, 0x02014b50], [2, 45], [2, 45], [2, 0x800], [2, method], [4, 0], [4, crc]]
        .concat([[4, narrow(packed.length)], [4, narrow(bytes.length)], [2, label.length]])
        .concat([[2, wide.length], [2, 0], [2, 0], [2, 0], [4, 0], [4, narrow(offset)]]),
    );
    if (patch !== undefined) new DataView(head.buffer).setUint16(patch[0], patch[1], true);
    directory.push(head, label, wide);
  }
  const start = at;
  directory.forEach(push);
  const size = at - start;
  const { zip64 = false } = options;
  if (zip64) {
    const end = at;
    push(record(
      [[4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0]]
        .concat([[8, files.length], [8, files.length], [8, size], [8, start]]),
    ));
    push(record([[4, 0x07064b50], [4, 0], [8, end], [4, 1]]));
  }
  const count = zip64 ? 0xffff : files.length;
  const narrow = (value: number) => zip64 ? 0xffffffff : value;
  push(record(
    [[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, narrow(size)]]
      .concat([[4, narrow(start)], [2, 0]]),
  ));
  return concat(chunks);
}

/** Little-endian numbers of the given widths. */
export function record(values: readonly (readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((n, [width]) => n + width!, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of values as [number, number][]) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((n, chunk) => n + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}
