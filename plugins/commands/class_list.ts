/**
 * Class names as people type them.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import { MAX_LABEL_CLASSES } from "../../lib/image/indexed_png.ts";
import { normalizeText } from "../../lib/text/bpe.ts";
import { decodeUtf8 } from "../../lib/text/decode_utf8.ts";
import { readUserFile } from "./read_user_file.ts";

/**
 * Checks and trims names.
 *
 * @param names As typed; any script.
 * @param where Where they come from, for messages: `--classes`.
 * @param place How to name the position from 0: `name 3`.
 * @returns The trimmed names, in order.
 * @throws {InputError} If there is none, one is empty, or one is there twice (whatever its case and
 * spaces).
 */
export function checkNames(
  names: readonly string[],
  where: string,
  place: (index: number) => string = (index) => `name ${index + 1}`,
): string[] {
  if (names.length === 0) {
    throw new InputError(`${where}: no classes; name at least one, as "dog, guitar"`);
  }
  const seen = new Map<string, number>();
  return names.map((raw, index) => {
    const name = raw.trim();
    if (name === "") {
      throw new InputError(`${where}: ${place(index)} of ${names.length} is empty; name a class`);
    }
    // What the text encoder can't tell apart is the same class.
    const key = normalizeText(name);
    const first = seen.get(key);
    if (first !== undefined) {
      throw new InputError(
        `${where}: "${name}" is there twice (${place(first)} and ${place(index)}); name it once`,
      );
    }
    seen.set(key, index);
    return name;
  });
}

/**
 * As {@linkcode checkNames}, of classes that pixels are labelled with.
 *
 * @throws {InputError} Besides, if there are more than a label file tells apart.
 */
export function checkClasses(
  names: readonly string[],
  where: string,
  place?: (index: number) => string,
): string[] {
  const checked = checkNames(names, where, place);
  refuseTooMany(checked, where);
  return checked;
}

function refuseTooMany({ length }: readonly string[], where: string): void {
  if (length <= MAX_LABEL_CLASSES) return;
  throw new InputError(
    `${where}: ${length} classes; at most ${MAX_LABEL_CLASSES} fit in a label file`,
  );
}

/**
 * Reads the names of `--classes "dog, guitar, slice of pizza"`.
 *
 * @param text Names between commas.
 * @throws {InputError} As {@linkcode checkClasses}.
 */
export function parseClasses(text: string): string[] {
  return checkClasses(text.trim() === "" ? [] : text.split(","), "--classes");
}

/**
 * Reads a list of names: one a line, or a JSON array of names. What is called `.json` or begins
 * with a bracket or a brace is JSON.
 *
 * @param path A UTF-8 text file.
 * @throws {InputError} If the file can't be read or is no UTF-8 text, or as
 * {@linkcode parseNames}.
 */
export async function readNamesFile(path: string): Promise<string[]> {
  const bytes = await readUserFile(path, "name a text file with one class a line");
  return parseNames(decodeUtf8(bytes, path), path);
}

/**
 * Reads the text of such a list.
 *
 * @param text What the file holds.
 * @param path The file, for messages.
 * @throws {InputError} If it is no array of names, or as {@linkcode checkNames}.
 */
export function parseNames(text: string, path: string): string[] {
  // An object has the look of JSON too: taken by lines, its braces would be names.
  if (/^\s*[[{]/.test(text) || /\.json$/i.test(path)) {
    const wanted = 'it must be a JSON array of class names, as ["dog", "guitar"]';
    let names: unknown;
    try {
      names = JSON.parse(text);
    } catch (cause) {
      const { message } = cause as Error;
      throw new InputError(`${path}: is no valid JSON: ${message}; ${wanted}`, { cause });
    }
    if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
      throw new InputError(`${path}: is JSON of another form; ${wanted}`);
    }
    return checkNames(names, path);
  }
  const body = text.replace(/\s+$/u, "");
  return checkNames(body === "" ? [] : body.split(/\r?\n/), path, (index) => `line ${index + 1}`);
}

/**
 * As {@linkcode readNamesFile}, of classes that pixels are labelled with.
 *
 * @throws {InputError} Besides, if there are more than a label file tells apart.
 */
export async function readClassesFile(path: string): Promise<string[]> {
  const names = await readNamesFile(path);
  refuseTooMany(names, path);
  return names;
}
