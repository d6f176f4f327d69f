/**
 * Files as random access, so that a reader of five gigabytes touches only what it is asked for.
 *
 * @module
 */
import { ModelError } from "../errors.ts";

/**
 * Something that bytes can be read from. An object with these three fields is enough; see also
 * {@linkcode bytesSource} and {@linkcode blobSource}.
 */
export interface ByteSource {
  /** What messages call it: a path, a file name or an address. */
  readonly name: string;
  /** Its length in bytes. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes. The caller owns what it gets. Never asked for a range that isn't
   * inside the file.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/**
 * Bytes in memory as a file.
 *
 * @param name What messages call it.
 * @param bytes The file; reads give copies.
 */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    // Not `slice`, which shares memory where the bytes are a `Buffer`.
    read: (offset, length) =>
      Promise.resolve(new Uint8Array(bytes.subarray(offset, offset + length))),
  };
}

/**
 * A browser's `File` or any other `Blob`; only the ranges that are asked for are loaded.
 *
 * @param name What messages call it.
 * @param blob The file.
 */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length) =>
      new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  };
}

/**
 * Reads a range.
 *
 * @param what What lies there, for messages.
 * @returns Exactly `length` bytes.
 * @throws {ModelError} If the file ends before the range does.
 */
export async function readRange(
  source: ByteSource,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array> {
  const inside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 &&
    length >= 0 && offset + length <= source.size;
  if (!inside) {
    throw new ModelError(
      `${source.name}: ${what} takes ${length} bytes from byte ${offset}, but the file has ${source.size}`,
    );
  }
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) {
    throw new ModelError(
      `${source.name}: cut short: ${bytes.length} bytes came of ${length} asked for at byte ${offset} (${what})`,
    );
  }
  return bytes;
}

/**
 * Refuses a path that would reach outside of the folder of the file that names it.
 *
 * @param where What names it, for messages.
 * @throws {ModelError} Unless it is a relative path without `..`, with forward slashes.
 */
export function checkSibling(where: string, path: string): void {
  const isName = (part: string) => part !== "" && part !== "." && part !== "..";
  if (!path.split("/").every(isName) || /[\\:\0]/.test(path)) {
    throw new ModelError(
      `${where} names the file ${JSON.stringify(path.slice(0, 200))}; it must be in the same ` +
        "folder or below it",
    );
  }
}
