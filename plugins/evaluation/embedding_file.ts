/**
 * Text embeddings in a file: names and rows, from any encoder.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import { CosineRows } from "../../lib/similarity/cosine_blocks.ts";
import { float32, formatShape, type HostTensor } from "../../lib/tensor.ts";
import {
  toFloat32,
  type WeightEntry,
  type WeightFile,
  writeSafetensors,
} from "../../lib/weights/mod.ts";
import { openWeightsFile } from "../codecs/weights_file.ts";

/** The tensor and the metadata key of a file with all rows in one matrix. */
const matrixName = "embeddings";
const namesKey = "names";

/** Embeddings by name, as a file holds them. */
export interface EmbeddingTable {
  /** D */
  readonly size: number;
  /** Rows by name. */
  readonly rows: ReadonlyMap<string, Float32Array>;
}

function isFloat({ dtype }: WeightEntry): boolean {
  return dtype === "float32" || dtype === "float64" || dtype === "float16" || dtype === "bfloat16";
}

/** The names of a matrix's rows, from the file's metadata. */
function namesOfMatrix(file: WeightFile, count: number): string[] {
  const text = file.metadata.get(namesKey)!;
  let names: unknown;
  try {
    names = JSON.parse(text);
  } catch (cause) {
    throw new InputError(
      `${file.name}: its metadata "${namesKey}" is no valid JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
    throw new InputError(`${file.name}: its metadata "${namesKey}" must be a JSON array of names`);
  }
  if (names.length !== count) {
    throw new InputError(
      `${file.name}: its metadata "${namesKey}" has ${names.length} names for ${count} rows of ` +
        `"${matrixName}"; there must be one per row`,
    );
  }
  return names;
}

/**
 * Reads embeddings: a safetensors file either with a tensor `embeddings` (N×D) and the N names as a
 * JSON array under `names` in its metadata, or with a tensor per name (D, or 1×D). Any floating-point
 * type; rows of any length.
 *
 * @param path The file.
 * @throws {InputError} If the file can't be read, has no embeddings in one of the two forms, names
 * one twice, or rows differ in size; names the file and the entry.
 * @throws {ModelError} If it isn't a valid safetensors file.
 */
export async function readEmbeddingFile(path: string): Promise<EmbeddingTable> {
  await using file = await openWeightsFile(path);
  const { entries, metadata } = file;
  if (entries.size === 0) throw new InputError(`${path}: holds no embeddings`);
  for (const [name, entry] of entries) {
    if (!isFloat(entry)) {
      throw new InputError(`${path}: "${name}" is ${entry.dtype}; embeddings are floating-point`);
    }
  }
  const rows = new Map<string, Float32Array>();
  const matrix = entries.get(matrixName);
  if (metadata.has(namesKey) && matrix !== undefined) {
    const [count, size] = matrix.shape;
    if (matrix.shape.length !== 2 || size === 0) {
      throw new InputError(
        `${path}: "${matrixName}" is ${formatShape(matrix.shape)}; it must be N×D`,
      );
    }
    const { data } = toFloat32(await file.read(matrixName));
    namesOfMatrix(file, count!).forEach((name, row) => {
      if (rows.has(name)) throw new InputError(`${path}: "${name}" is there twice; name it once`);
      rows.set(name, data.subarray(row * size!, (row + 1) * size!));
    });
    return { size: size!, rows };
  }
  let size = 0;
  for (const [name, { shape }] of entries) {
    const isRow = shape.length === 1 || shape.length === 2 && shape[0] === 1;
    const own = shape.at(-1);
    if (!isRow || own === undefined || own === 0) {
      throw new InputError(
        `${path}: "${name}" is ${
          formatShape(shape)
        }; it must be a category's row of D numbers, or ` +
          `the file holds "${matrixName}" (N×D) and the names as a JSON array in its metadata, ` +
          `under "${namesKey}"`,
      );
    }
    size ||= own;
    if (own !== size) {
      throw new InputError(`${path}: "${name}" has ${own} numbers, others have ${size}`);
    }
    rows.set(name, toFloat32(await file.read(name)).data);
  }
  return { size, rows };
}

/**
 * The bytes of an embedding file of the first form that {@linkcode readEmbeddingFile} takes.
 *
 * @param names N names.
 * @param embeddings N×D.
 */
export function encodeEmbeddingFile(
  names: readonly string[],
  embeddings: HostTensor<"float32">,
): Uint8Array {
  return writeSafetensors([[matrixName, embeddings]], {
    metadata: { [namesKey]: JSON.stringify(names) },
  });
}

/**
 * The rows of some names.
 *
 * @param where What to call the table in messages, such as its path.
 * @returns float32 C×D.
 * @throws {InputError} If the table lacks a name; says how many and which come first. If a row has
 * no direction: all zeros, or a number that isn't finite; names it.
 */
export function rowsOfNames(
  { rows, size }: EmbeddingTable,
  names: readonly string[],
  where: string,
): HostTensor<"float32"> {
  const missing = names.filter((name) => !rows.has(name));
  if (missing.length > 0) {
    const first = missing.slice(0, 3).map((name) => `"${name}"`).join(", ");
    throw new InputError(
      `${where}: has no embedding of ${first}` +
        (missing.length > 3 ? ` and ${missing.length - 3} more` : "") +
        `; it has ${rows.size} names, and ${names.length} are needed`,
    );
  }
  const data = new Float32Array(names.length * size);
  names.forEach((name, row) => data.set(rows.get(name)!, row * size));
  const embeddings = float32([names.length, size], data);
  // Refused here, where it is known whose rows they are.
  new CosineRows(embeddings, (row) => `"${names[row]}" in ${where}`);
  return embeddings;
}
