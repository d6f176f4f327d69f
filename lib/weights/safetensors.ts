/**
 * The safetensors format: a JSON header that gives every tensor's type, shape and byte range, then
 * the bytes, without gaps. Nothing in it can be executed.
 *
 * @module
 */
import { ModelError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import { type ByteSource, readRange } from "./byte_source.ts";
import { isObject, parseJsonObject } from "./json.ts";
import {
  byteLengthOf,
  bytesOf,
  elementsOf,
  type ElementType,
  entryOf,
  type WeightEntry,
  type WeightFile,
  type WeightTensor,
} from "./weight_file.ts";

/** The format's own bound on the header. */
const MAX_HEADER = 100_000_000;

/** Names in the format, by their rank in the order in which its reference writes tensors. */
const types: readonly (readonly [string, ElementType])[] = [
  ["BOOL", "bool"],
  ["U8", "uint8"],
  ["I8", "int8"],
  ["I16", "int16"],
  ["U16", "uint16"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["I32", "int32"],
  ["U32", "uint32"],
  ["F32", "float32"],
  ["F64", "float64"],
  ["I64", "int64"],
  ["U64", "uint64"],
];
const elementTypes = new Map(types);
const rankOf = new Map(types.map(([, dtype], rank) => [dtype, rank]));

interface Place extends WeightEntry {
  /** First byte in the file. */
  readonly start: number;
  /** Byte after the last. */
  readonly end: number;
}

/**
 * Opens a safetensors file: reads and checks its header, no tensor yet.
 *
 * @param source The file.
 * @returns Its tensors; each is read when asked for.
 * @throws {ModelError} If the header isn't valid: its size is out of bounds, it isn't JSON, it
 *   repeats a name, a tensor's type is unknown, its bytes don't agree with its shape, or the byte
 *   ranges overlap, leave holes or don't end where the file ends.
 *
 * @example
 * ```ts
 * import { bytesSource, openSafetensors, writeSafetensors } from "@ovstage/ovstage/weights";
 * const gain = { dtype: "float32", shape: [2], data: Float32Array.of(1, 2) } as const;
 * const bytes = writeSafetensors([["norm.weight", gain]]);
 * const file = await openSafetensors(bytesSource("norm.safetensors", bytes));
 * console.log((await file.read("norm.weight")).data); // Float32Array [1, 2]
 * ```
 */
export async function openSafetensors(source: ByteSource): Promise<WeightFile> {
  const file = source.name;
  const prefix = await readRange(source, 0, 8, "the length of the safetensors header");
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (length > Math.min(MAX_HEADER, source.size - 8)) {
    throw new ModelError(
      `${file}: not a safetensors file: its header would take ${length} bytes; the file has ` +
        `${source.size}, and ${MAX_HEADER} are the most`,
    );
  }
  const header = await readRange(source, 8, length, "the safetensors header");
  if (header[0] !== 0x7b) {
    throw new ModelError(`${file}: not a safetensors file: its header doesn't start with "{"`);
  }
  const { __metadata__: extra = {}, ...tensors } = parseJsonObject(
    header,
    `${file}: the safetensors header`,
  );
  if (!isObject(extra) || Object.values(extra).some((text) => typeof text !== "string")) {
    throw new ModelError(`${file}: "__metadata__" must map names to strings`);
  }

  const entries = new Map<string, Place>();
  for (const [name, value] of Object.entries(tensors)) {
    entries.set(name, placeOf(`${file}: tensor "${name}"`, value, 8 + length));
  }
  checkCoverage(source, entries, 8 + length);
  return {
    name: file,
    entries,
    metadata: new Map(Object.entries(extra) as [string, string][]),
    async read(name) {
      const { dtype, shape, start, end } = entryOf(file, entries, name);
      const bytes = await readRange(source, start, end - start, `tensor "${name}"`);
      return { dtype, shape, data: elementsOf(dtype, bytes) };
    },
  };
}

function placeOf(where: string, value: unknown, base: number): Place {
  const isList = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!isObject(value) || !isList(value.shape) || !isList(value.data_offsets)) {
    throw new ModelError(
      `${where}: expected "dtype", "shape" and "data_offsets", the last two lists of whole numbers`,
    );
  }
  const { dtype: code, shape, data_offsets: [begin, end, ...rest] } = value as {
    dtype: unknown;
    shape: number[];
    data_offsets: number[];
  };
  const dtype = elementTypes.get(code as string);
  if (dtype === undefined) {
    throw new ModelError(
      `${where}: element type ${JSON.stringify(code)} isn't supported; supported are ` +
        [...elementTypes.keys()].join(", "),
    );
  }
  if (begin === undefined || end === undefined || rest.length > 0 || end < begin) {
    throw new ModelError(`${where}: "data_offsets" must be a first byte and one at or after it`);
  }
  if (byteLengthOf(dtype, shape) !== end - begin) {
    throw new ModelError(
      `${where}: ${code} ${formatShape(shape)} takes ${
        byteLengthOf(dtype, shape) ?? "too many"
      } bytes, its offsets give it ${end - begin}`,
    );
  }
  return { dtype, shape, start: base + begin, end: base + end };
}

/** The format wants every byte after the header to belong to exactly one tensor. */
function checkCoverage(source: ByteSource, entries: Map<string, Place>, base: number): void {
  let at = base;
  const ordered = [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  for (const [name, { start, end }] of ordered) {
    if (start !== at) {
      throw new ModelError(
        `${source.name}: tensor "${name}" starts at byte ${start - base} of the data, but what ` +
          `lies before it ends at ${at - base}: ranges must not ${
            start < at ? "overlap" : "leave holes"
          }`,
      );
    }
    at = end;
  }
  if (at !== source.size) {
    throw new ModelError(
      `${source.name}: its tensors end at byte ${at}, the file at ${source.size}` +
        (at > source.size ? ": it is cut short" : ""),
    );
  }
}

/** Options of {@linkcode writeSafetensors}. */
export interface SafetensorsOptions {
  /** Free text about the file; PyTorch's loaders expect `{ format: "pt" }`. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes a safetensors file in pieces: the header, then one piece for each tensor, which shares the
 * tensor's memory. Tensors are ordered as the reference implementation orders them (wide elements
 * first, then by name), so that all are aligned.
 *
 * @param tensors Names and tensors.
 * @throws {ModelError} If a name is taken twice or is `__metadata__`, or a tensor's elements don't
 *   fill its shape.
 */
export function* safetensorsPieces(
  tensors: Iterable<readonly [name: string, tensor: WeightTensor]>,
  options: SafetensorsOptions = {},
): Generator<Uint8Array, void> {
  const ordered = [...tensors].sort(([nameA, a], [nameB, b]) =>
    rankOf.get(b.dtype)! - rankOf.get(a.dtype)! || (nameA < nameB ? -1 : 1)
  );
  const header = new Map<string, unknown>();
  if (options.metadata !== undefined) header.set("__metadata__", options.metadata);
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (name === "__metadata__" || header.has(name)) {
      throw new ModelError(
        `safetensors: the name "${name}" is ${header.has(name) ? "given twice" : "reserved"}`,
      );
    }
    if (byteLengthOf(dtype, shape) !== data.byteLength) {
      throw new ModelError(
        `safetensors: tensor "${name}": ${dtype} ${formatShape(shape)} takes ${
          byteLengthOf(dtype, shape)
        } bytes, its elements ${data.byteLength}`,
      );
    }
    const end = offset + data.byteLength;
    header.set(name, { dtype: types[rankOf.get(dtype)!]![0], shape, data_offsets: [offset, end] });
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) {
    throw new ModelError(`safetensors: a header of ${length} bytes; ${MAX_HEADER} are the most`);
  }
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  yield head;
  for (const [, tensor] of ordered) yield bytesOf(tensor);
}

/**
 * Writes a safetensors file; see {@linkcode safetensorsPieces} for one that doesn't fit in memory
 * twice.
 *
 * @param tensors Names and tensors.
 * @returns The file's bytes; the same tensors give the same bytes.
 * @throws {ModelError} As {@linkcode safetensorsPieces}.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: WeightTensor]>,
  options: SafetensorsOptions = {},
): Uint8Array {
  return joinPieces([...safetensorsPieces(tensors, options)]);
}

function joinPieces(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((n, piece) => n + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
