/**
 * Text of files that must be UTF-8.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/**
 * Decodes UTF-8, and takes nothing else: a text in another encoding would be read as other words. A
 * byte order mark at the start is dropped.
 *
 * @param bytes The whole file.
 * @param name What to call it in messages, such as its path.
 * @throws {InputError} If the bytes are not UTF-8, or hold NULs, as UTF-16 does.
 */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  let cause: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch (error) {
    cause = error;
  }
  throw new InputError(`${name}: is not UTF-8 text; save it as UTF-8`, { cause });
}
