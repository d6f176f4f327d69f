/**
 * JSON from files: what `JSON.parse` takes, less repeated keys, of which it would silently keep
 * one.
 *
 * @module
 */
import { ModelError } from "../errors.ts";

/** A JSON object. */
export type JsonObject = { readonly [key: string]: unknown };

/** Whether a parsed value is an object, neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses UTF-8 JSON whose outermost value is an object.
 *
 * @param what The file and what in it is JSON, for messages.
 * @throws {ModelError} If it isn't UTF-8, isn't JSON, isn't an object, or repeats a key.
 */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? "not JSON" : "not UTF-8";
    throw new ModelError(`${what} is ${reason}`, { cause });
  }
  if (!isObject(value)) throw new ModelError(`${what} must be a JSON object`);
  const repeated = repeatedKey(text);
  if (repeated !== null) {
    throw new ModelError(`${what} has the key "${repeated}" twice; which is meant is unknown`);
  }
  return value;
}

/** The first key that an object of a valid JSON text repeats. */
function repeatedKey(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === "{") open.push(new Set());
    else if (char === "[") open.push(null);
    else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      let next = i + 1;
      while (/\s/.test(text[next] ?? "")) next++;
      if (text[next] !== ":") continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}
