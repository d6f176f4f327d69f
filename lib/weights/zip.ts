/**
 * Zip archives by random access: the central directory is read at once, entries when asked for.
 *
 * @module
 */
import { inflateSync } from "fflate";
import { ModelError } from "../errors.ts";
import { type ByteSource, readRange } from "./byte_source.ts";

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** Deflate never shrinks bytes by more than this. */
const MAX_RATIO = 1032;

/** A file in an archive. */
export interface ZipEntry {
  /** Its length when unpacked. */
  readonly size: number;
  /** Its length in the archive. */
  readonly packedSize: number;
  /** CRC-32 of its unpacked bytes. */
  readonly crc: number;
  /** Whether it is deflated; else it is stored as it is. */
  readonly deflated: boolean;
  /** First byte of its local header. */
  readonly offset: number;
  /** Where the next local header or the central directory starts: it must end before. */
  readonly limit: number;
}

/** An archive whose central directory has been read. */
export interface Zip {
  /** Its files by name. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /**
   * Reads and unpacks one file.
   *
   * @throws {ModelError} If there is none of that name, or it is damaged.
   */
  read(name: string): Promise<Uint8Array>;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Opens an archive: stored and deflated entries, zip64. Encrypted and multi-volume archives are
 * refused, and so are entries that overlap.
 *
 * @param source The archive.
 * @throws {ModelError} If the central directory isn't valid.
 */
export async function openZip(source: ByteSource): Promise<Zip> {
  const file = source.name;
  const { count, offset, size } = await findDirectory(source);
  const bytes = await readRange(source, offset, size, "the zip directory");
  const listed = parseDirectory(file, bytes, count);

  const starts = [...listed.values()].map((entry) => entry.offset).sort((a, b) => a - b);
  const entries = new Map<string, ZipEntry>();
  for (const [i, start] of starts.entries()) {
    if (start === starts[i + 1]) throw new ModelError(`${file}: two zip entries share their bytes`);
  }
  const next = new Map(starts.map((start, i) => [start, starts[i + 1] ?? offset]));
  for (const [name, entry] of listed) {
    entries.set(name, { ...entry, limit: next.get(entry.offset)! });
  }
  return { entries, read: (name) => readEntry(source, entries, name) };
}

async function findDirectory(
  source: ByteSource,
): Promise<{ count: number; offset: number; size: number }> {
  const file = source.name;
  // The end record has 22 bytes and a comment of at most 65,535.
  const length = Math.min(source.size, 22 + 65535);
  const tailStart = source.size - length;
  const tail = viewOf(await readRange(source, tailStart, length, "the zip end record"));
  let at = length - 22;
  const ends = (i: number) =>
    tail.getUint32(i, true) === END && i + 22 + tail.getUint16(i + 20, true) === length;
  while (at >= 0 && !ends(at)) at--;
  if (at < 0) {
    throw new ModelError(`${file}: not a zip archive, or cut short: it has no end record`);
  }
  if (tail.getUint16(at + 4, true) !== 0 && tail.getUint16(at + 4, true) !== 0xffff) {
    throw new ModelError(`${file}: zip archives in several volumes aren't supported`);
  }
  let count = tail.getUint16(at + 10, true);
  let size = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  let end = tailStart + at;
  if (at >= 20 && tail.getUint32(at - 20, true) === LOCATOR64) {
    const record = exact(file, tail.getBigUint64(at - 12, true));
    const view = viewOf(await readRange(source, record, 56, "the zip64 end record"));
    if (view.getUint32(0, true) !== END64) {
      throw new ModelError(`${file}: the zip64 end record isn't where its locator says`);
    }
    count = exact(file, view.getBigUint64(32, true));
    size = exact(file, view.getBigUint64(40, true));
    offset = exact(file, view.getBigUint64(48, true));
    end = record;
  }
  // 46 bytes are the least that an entry takes.
  if (offset + size !== end || count * 46 > size) {
    throw new ModelError(
      `${file}: the zip directory (${count} entries, ${size} bytes from ${offset}) doesn't fit ` +
        `the end record at ${end}`,
    );
  }
  return { count, offset, size };
}

function parseDirectory(
  file: string,
  bytes: Uint8Array,
  count: number,
): Map<string, Omit<ZipEntry, "limit">> {
  const view = viewOf(bytes);
  const entries = new Map<string, Omit<ZipEntry, "limit">>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== CENTRAL) {
      throw new ModelError(`${file}: entry ${i} of the zip directory is damaged`);
    }
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const crc = view.getUint32(at + 16, true);
    let packedSize = view.getUint32(at + 20, true);
    let size = view.getUint32(at + 24, true);
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const commentLength = view.getUint16(at + 32, true);
    let offset = view.getUint32(at + 42, true);
    const extraStart = at + 46 + nameLength;
    at = extraStart + extraLength + commentLength;
    if (at > bytes.length) {
      throw new ModelError(`${file}: entry ${i} of the zip directory is cut short`);
    }
    const name = nameOf(file, bytes.subarray(extraStart - nameLength, extraStart));
    const where = `${file}: zip entry "${name}"`;

    // The zip64 field holds, in this order, those of the three that don't fit their 32 bits.
    const wide = extraField(view, extraStart, extraStart + extraLength);
    let cursor = 0;
    const widen = (value: number) => {
      if (value !== 0xffffffff || wide === null) return value;
      if (cursor + 8 > wide.byteLength) throw new ModelError(`${where}: its zip64 field is short`);
      cursor += 8;
      return exact(file, wide.getBigUint64(cursor - 8, true));
    };
    size = widen(size);
    packedSize = widen(packedSize);
    offset = widen(offset);

    if (entries.has(name)) throw new ModelError(`${where} is there twice`);
    if ((flags & 1) !== 0) throw new ModelError(`${where} is encrypted`);
    if (method !== 0 && method !== 8) {
      throw new ModelError(`${where}: packing method ${method}; only stored and deflated are read`);
    }
    const deflated = method === 8;
    if (deflated ? size > packedSize * MAX_RATIO : size !== packedSize) {
      throw new ModelError(
        `${where}: ${packedSize} bytes can't unpack to ${size}`,
      );
    }
    entries.set(name, { size, packedSize, crc, deflated, offset });
  }
  if (at !== bytes.length) {
    throw new ModelError(`${file}: the zip directory has ${bytes.length - at} bytes too many`);
  }
  return entries;
}

/** The zip64 field among an entry's extra fields. */
function extraField(view: DataView, start: number, end: number): DataView | null {
  for (let at = start; at + 4 <= end;) {
    const length = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1 && at + 4 + length <= end) {
      return new DataView(view.buffer, view.byteOffset + at + 4, length);
    }
    at += 4 + length;
  }
  return null;
}

async function readEntry(
  source: ByteSource,
  entries: ReadonlyMap<string, ZipEntry>,
  name: string,
): Promise<Uint8Array> {
  const where = `${source.name}: zip entry "${name}"`;
  const entry = entries.get(name);
  if (entry === undefined) throw new ModelError(`${where} is missing`);
  const head = viewOf(await readRange(source, entry.offset, 30, `the header of "${name}"`));
  const nameLength = head.getUint16(26, true);
  const start = entry.offset + 30 + nameLength + head.getUint16(28, true);
  if (head.getUint32(0, true) !== LOCAL) throw new ModelError(`${where}: its header is damaged`);
  const local = await readRange(source, entry.offset + 30, nameLength, `the name of "${name}"`);
  if (nameOf(source.name, local) !== name) {
    throw new ModelError(`${where} has another name in the archive's directory than at its bytes`);
  }
  if (start + entry.packedSize > entry.limit) {
    throw new ModelError(`${where}: its bytes overlap with what follows`);
  }
  let bytes = await readRange(source, start, entry.packedSize, `zip entry "${name}"`);
  if (entry.deflated) bytes = inflate(where, bytes, entry.size);
  if (crc32(bytes) !== entry.crc) {
    throw new ModelError(`${where} is damaged: its checksum is wrong`);
  }
  return bytes;
}

function inflate(where: string, packed: Uint8Array, size: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = inflateSync(packed, { out: new Uint8Array(size) });
  } catch (cause) {
    throw new ModelError(`${where} can't be unpacked: it is damaged`, { cause });
  }
  if (bytes.length !== size) {
    throw new ModelError(`${where} unpacks to ${bytes.length} bytes, not to ${size}`);
  }
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function nameOf(file: string, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new ModelError(`${file}: the name of a zip entry isn't UTF-8`, { cause });
  }
}

function exact(file: string, value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ModelError(`${file}: a zip64 size or offset of ${value} can't be`);
}

/** Tables for eight bytes at a step. */
const crcTables = (() => {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let bit = 0; bit < 8; bit++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0);
    tables[0]![i] = c;
  }
  for (let t = 1; t < 8; t++) {
    for (let i = 0; i < 256; i++) {
      const c = tables[t - 1]![i]!;
      tables[t]![i] = (c >>> 8) ^ tables[0]![c & 255]!;
    }
  }
  return tables;
})();

/** CRC-32 as zip archives use it (polynomial 0xEDB88320, reflected). */
export function crc32(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = crcTables as [
    ...[Int32Array, Int32Array, Int32Array, Int32Array],
    ...[Int32Array, Int32Array, Int32Array, Int32Array],
  ];
  let c = -1;
  let i = 0;
  const byte = () => c = (c >>> 8) ^ t0[(c ^ bytes[i++]!) & 255]!;
  while ((bytes.byteOffset + i) % 4 !== 0 && i < bytes.length) byte();
  const pairs = (bytes.length - i) >>> 3;
  const words = new Int32Array(bytes.buffer, pairs === 0 ? 0 : bytes.byteOffset + i, 2 * pairs);
  for (let w = 0; w < words.length; w += 2) {
    const a = c ^ words[w]!;
    const b = words[w + 1]!;
    c = t7[a & 255]! ^ t6[(a >>> 8) & 255]! ^ t5[(a >>> 16) & 255]! ^ t4[a >>> 24]! ^
      t3[b & 255]! ^ t2[(b >>> 8) & 255]! ^ t1[(b >>> 16) & 255]! ^ t0[b >>> 24]!;
  }
  i += 8 * pairs;
  while (i < bytes.length) byte();
  return ~c >>> 0;
}
