/**
 * Files of one JSON value a line, read a line at a time.
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { InputError } from "../../lib/errors.ts";

/** One line. */
export interface JsonLine {
  /** Its value. */
  readonly value: unknown;
  /** Where the next line begins, in bytes. */
  readonly end: number;
}

/**
 * Reads the complete lines of a file; what follows the last line break was cut off and is left out.
 *
 * @param path The file; one that isn't there has no lines.
 * @throws {InputError} If a complete line is no JSON, or the file can't be read; names the line.
 */
export async function* readJsonLines(path: string): AsyncGenerator<JsonLine> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest: Uint8Array = new Uint8Array();
  let end = 0;
  let number = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
      let from = 0;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        const line = join(rest, chunk.subarray(from, at));
        rest = new Uint8Array();
        from = at + 1;
        number++;
        end += line.length + 1;
        let value: unknown;
        try {
          value = JSON.parse(decoder.decode(line));
        } catch (cause) {
          throw new InputError(`${path}: line ${number} is damaged; it is no JSON`, { cause });
        }
        yield { value, end };
      }
      rest = join(rest, chunk.subarray(from));
    }
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    const { code, message } = cause as { code?: string; message: string };
    if (code === "ENOENT") return;
    throw new InputError(`${path}: can't be read: ${message}`, { cause });
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b.slice();
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
