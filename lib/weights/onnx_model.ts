/**
 * Reads ONNX files: operators, inputs and outputs, and the initialisers as weights, those in other
 * files included. Field numbers are those of `onnx.proto3`.
 *
 * @module
 */
import protobuf from "protobufjs/minimal.js";
import { ModelError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import { type ByteSource, checkSibling, readRange } from "./byte_source.ts";
import {
  byteLengthOf,
  bytesPerElement,
  elementsOf,
  type ElementType,
  entryOf,
  type WeightEntry,
  type WeightFile,
  type WeightTensor,
} from "./weight_file.ts";

/** Subgraphs of loops and branches nest a few levels. */
const MAX_DEPTH = 32;

/** Protobuf's bound on a message. */
const MAX_FILE = 2 ** 31 - 1;

/** A tensor in an ONNX file. */
export interface OnnxTensor extends WeightEntry {
  /** Its name; empty for values of attributes. */
  readonly name: string;
  /** Its elements, little-endian, where they are in the file; they share its memory. */
  readonly bytes: Uint8Array | null;
  /** Where they are otherwise. */
  readonly external: OnnxExternalData | null;
}

/** The place of a tensor's elements outside of an ONNX file. */
export interface OnnxExternalData {
  /** The file's path, relative to the ONNX file. */
  readonly location: string;
  /** The first byte in it. */
  readonly offset: number;
}

/** What an ONNX file says of an input or output. */
export interface OnnxValueInfo {
  /** Its name. */
  readonly name: string;
  /** Element type; null where it isn't a tensor of a type that weights have. */
  readonly dtype: ElementType | null;
  /** Sizes of the axes: numbers, names, or null where nothing is said; null for an unknown rank. */
  readonly shape: readonly (number | string | null)[] | null;
}

/** The value of an operator's attribute, by the kind that ONNX gives it. */
export type OnnxAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly string: string }
  | { readonly tensor: OnnxTensor }
  | { readonly graph: OnnxGraph }
  | { readonly floats: readonly number[] }
  | { readonly ints: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly tensors: readonly OnnxTensor[] }
  | { readonly graphs: readonly OnnxGraph[] };

/** One operator. */
export interface OnnxNode {
  /** The operator. */
  readonly op: string;
  /** Its operator set; empty for ONNX's own. */
  readonly domain: string;
  /** Its name, often empty. */
  readonly name: string;
  /** Names of its operands; empty where an optional one is left out. */
  readonly inputs: readonly string[];
  /** Names of its results. */
  readonly outputs: readonly string[];
  /** Its attributes. Integers beyond 2⁵³ are rounded. */
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

/** A graph of an ONNX file. */
export interface OnnxGraph {
  /** Its name. */
  readonly name: string;
  /** Its operators in topological order. */
  readonly nodes: readonly OnnxNode[];
  /** Its initialisers by name. */
  readonly initializers: ReadonlyMap<string, OnnxTensor>;
  /** Its inputs; old files list initialisers here, too. */
  readonly inputs: readonly OnnxValueInfo[];
  /** Its outputs. */
  readonly outputs: readonly OnnxValueInfo[];
  /** What is said of values inside. */
  readonly values: readonly OnnxValueInfo[];
}

/** A parsed ONNX file. */
export interface OnnxModel {
  /** Version of the file format. */
  readonly irVersion: number;
  /** What wrote it. */
  readonly producer: string;
  /** Versions of the operator sets in use, by domain. */
  readonly opsets: ReadonlyMap<string, number>;
  /** Its graph. */
  readonly graph: OnnxGraph;
  /** Free text. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** ONNX's numbers of element types. */
const elementTypes: Readonly<Record<number, ElementType>> = {
  1: "float32",
  2: "uint8",
  3: "int8",
  4: "uint16",
  5: "int16",
  6: "int32",
  7: "int64",
  9: "bool",
  10: "float16",
  11: "float64",
  12: "uint32",
  13: "uint64",
  16: "bfloat16",
};

/** The element type of ONNX's number for it; null where weights have no such type. */
export function onnxElementType(code: number): ElementType | null {
  return elementTypes[code] ?? null;
}

/** The names of those that aren't read. */
const otherTypes: Readonly<Record<number, string>> = {
  0: "undefined",
  8: "string",
  14: "complex64",
  15: "complex128",
  17: "float8e4m3fn",
  18: "float8e4m3fnuz",
  19: "float8e5m2",
  20: "float8e5m2fnuz",
  21: "uint4",
  22: "int4",
  23: "float4e2m1",
};

/** Options of {@linkcode openOnnx}. */
export interface OnnxOptions {
  /** Opens a file next to the ONNX file, by its relative path: where large tensors may lie. */
  readonly sibling?: (path: string) => Promise<ByteSource>;
}

/** An ONNX file as weights, with its graph. */
export interface OnnxFile extends WeightFile {
  /** What the file says. */
  readonly model: OnnxModel;
  /** Reads the elements of any tensor of the file, such as an attribute's. */
  readTensor(tensor: OnnxTensor): Promise<WeightTensor>;
}

/**
 * Opens an ONNX file. The file itself is read at once (the format can't exceed 2 GB); tensors that
 * it keeps in other files are read when asked for.
 *
 * @param source The file.
 * @throws {ModelError} If it isn't a valid ONNX file, or keeps tensors of a type that isn't
 *   supported.
 *
 * @example
 * ```ts
 * import { Graph, ops } from "@ovstage/ovstage/graph";
 * import { bytesSource, openOnnx } from "@ovstage/ovstage/weights";
 * import { float32 } from "@ovstage/ovstage";
 * const graph = new Graph("scale");
 * const gain = graph.parameter("gain", float32([2], Float32Array.of(1, 2)));
 * graph.output("y", ops.mul(graph.input("x", ["N", 2]), gain));
 * const file = await openOnnx(bytesSource("scale.onnx", graph.toOnnx()));
 * console.log(file.model.graph.nodes[0]!.op, (await file.read("gain")).data); // Mul [1, 2]
 * ```
 */
export async function openOnnx(source: ByteSource, options: OnnxOptions = {}): Promise<OnnxFile> {
  const file = source.name;
  if (source.size > MAX_FILE) {
    throw new ModelError(
      `${file}: ${source.size} bytes; an ONNX file has ${MAX_FILE} at most and keeps what is more ` +
        "in other files",
    );
  }
  const model = parseOnnx(await readRange(source, 0, source.size, "the model"), file);
  const entries = model.graph.initializers;
  const siblings = new Map<string, Promise<ByteSource>>();

  async function readTensor(tensor: OnnxTensor): Promise<WeightTensor> {
    const { name, dtype, shape, external } = tensor;
    if (tensor.bytes !== null) {
      return { dtype, shape, data: elementsOf(dtype, new Uint8Array(tensor.bytes)) };
    }
    const { location, offset } = external!;
    if (options.sibling === undefined) {
      throw new ModelError(
        `${file}: tensor "${name}" is in the file "${location}"; give openOnnx a way to open it`,
      );
    }
    if (!siblings.has(location)) siblings.set(location, options.sibling(location));
    const sibling = await siblings.get(location)!;
    const bytes = await readRange(
      sibling,
      offset,
      byteLengthOf(dtype, shape)!,
      `tensor "${name}" of ${file}`,
    );
    return { dtype, shape, data: elementsOf(dtype, bytes) };
  }

  return {
    name: file,
    entries,
    metadata: model.metadata,
    model,
    readTensor,
    read: (name) => Promise.resolve().then(() => readTensor(entryOf(file, entries, name))),
  };
}

/**
 * Parses an ONNX file.
 *
 * @param bytes The file; tensors share its memory.
 * @param name What messages call it.
 * @throws {ModelError} If it isn't a valid ONNX file.
 */
export function parseOnnx(bytes: Uint8Array, name: string): OnnxModel {
  const reader = protobuf.Reader.create(bytes);
  try {
    return readModel(reader);
  } catch (cause) {
    // Messages of the protobuf library tell nothing to somebody who has a damaged file.
    const reason = cause instanceof Malformed ? cause.message : "it is damaged";
    throw new ModelError(`${name}: not a readable ONNX file: ${reason} (near byte ${reader.pos})`, {
      cause,
    });
  }
}

type Reader = protobuf.Reader;

/** Fails with a message that {@linkcode parseOnnx} completes. */
class Malformed extends Error {}

function fail(reason: string): never {
  throw new Malformed(reason);
}

/** Reads one field's value, or returns false to have it skipped. */
type FieldReader = (field: number, wire: number) => boolean;

/** Reads the fields of a message that ends at `end`. */
function fields(r: Reader, end: number, read: FieldReader): void {
  while (r.pos < end) {
    const tag = r.uint32();
    const [field, wire] = [tag >>> 3, tag & 7];
    if (field === 0) fail("a field has no number");
    if (!read(field, wire)) {
      // Groups, which ONNX never uses, would be skipped by recursion.
      if (wire === 3 || wire === 4) fail("it uses protobuf groups");
      r.skipType(wire);
    }
  }
  if (r.pos !== end) fail("a field reaches out of its message");
}

/** Reads a message that is a field. */
function message(r: Reader, wire: number, read: FieldReader): void {
  if (wire !== 2) fail("a message has the wrong wire type");
  const length = r.uint32();
  const end = r.pos + length;
  if (end > r.len) fail("it is cut short");
  fields(r, end, read);
}

function int64(r: Reader): number {
  const value = r.int64() as unknown as number | { toNumber(): number };
  return typeof value === "number" ? value : value.toNumber();
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function text(r: Reader, wire: number): string {
  if (wire !== 2) fail("a string has the wrong wire type");
  const bytes = r.bytes();
  try {
    return utf8.decode(bytes);
  } catch {
    return fail("a string isn't UTF-8");
  }
}

/** A repeated number, packed or not. */
function numbers(r: Reader, wire: number, into: number[], one: () => number): true {
  if (wire !== 2) {
    into.push(one());
    return true;
  }
  const length = r.uint32();
  const end = r.pos + length;
  if (end > r.len) fail("it is cut short");
  while (r.pos < end) into.push(one());
  if (r.pos !== end) fail("a list of numbers is cut short");
  return true;
}

function keyValue(r: Reader, wire: number): [string, string] {
  let [key, value] = ["", ""];
  message(r, wire, (field, w) => {
    if (field === 1) key = text(r, w);
    else if (field === 2) value = text(r, w);
    else return false;
    return true;
  });
  return [key, value];
}

function readModel(r: Reader): OnnxModel {
  let irVersion = 0;
  let producer = "";
  let graph: OnnxGraph | null = null;
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  fields(r, r.len, (field, wire) => {
    if (field === 1 && wire === 0) irVersion = int64(r);
    else if (field === 2) producer = text(r, wire);
    else if (field === 7) {
      if (graph !== null) fail("it has two graphs");
      graph = readGraph(r, wire, 0);
    } else if (field === 8) {
      let [domain, version] = ["", 0];
      message(r, wire, (f, w) => {
        if (f === 1) domain = text(r, w);
        else if (f === 2 && w === 0) version = int64(r);
        else return false;
        return true;
      });
      opsets.set(domain === "ai.onnx" ? "" : domain, version);
    } else if (field === 14) metadata.set(...keyValue(r, wire));
    else return false;
    return true;
  });
  if (graph === null || irVersion < 1) fail("it has no graph or no version");
  return { irVersion, producer, opsets, graph, metadata };
}

function readGraph(r: Reader, wire: number, depth: number): OnnxGraph {
  if (depth > MAX_DEPTH) fail(`graphs nest more than ${MAX_DEPTH} levels deep`);
  let name = "";
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, OnnxTensor>();
  const inputs: OnnxValueInfo[] = [];
  const outputs: OnnxValueInfo[] = [];
  const values: OnnxValueInfo[] = [];
  message(r, wire, (field, w) => {
    if (field === 1) nodes.push(readNode(r, w, depth));
    else if (field === 2) name = text(r, w);
    else if (field === 5) {
      const tensor = readTensor(r, w);
      if (tensor.name === "") fail("an initialiser has no name");
      if (initializers.has(tensor.name)) fail(`two initialisers are called "${tensor.name}"`);
      initializers.set(tensor.name, tensor);
    } else if (field === 11) inputs.push(readValueInfo(r, w));
    else if (field === 12) outputs.push(readValueInfo(r, w));
    else if (field === 13) values.push(readValueInfo(r, w));
    else if (field === 15) fail("sparse initialisers aren't supported");
    else return false;
    return true;
  });
  return { name, nodes, initializers, inputs, outputs, values };
}

function readNode(r: Reader, wire: number, depth: number): OnnxNode {
  let [op, domain, name] = ["", "", ""];
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, OnnxAttribute>();
  message(r, wire, (field, w) => {
    if (field === 1) inputs.push(text(r, w));
    else if (field === 2) outputs.push(text(r, w));
    else if (field === 3) name = text(r, w);
    else if (field === 4) op = text(r, w);
    else if (field === 5) {
      const [key, value] = readAttribute(r, w, depth);
      if (attributes.has(key)) fail(`an operator has the attribute "${key}" twice`);
      attributes.set(key, value);
    } else if (field === 7) domain = text(r, w);
    else return false;
    return true;
  });
  if (op === "") fail("an operator has no name");
  return { op, domain: domain === "ai.onnx" ? "" : domain, name, inputs, outputs, attributes };
}

function readAttribute(r: Reader, wire: number, depth: number): [string, OnnxAttribute] {
  let name = "";
  let type = 0;
  let [float, int, string] = [0, 0, ""];
  const floats: number[] = [];
  const ints: number[] = [];
  const strings: string[] = [];
  const tensors: OnnxTensor[] = [];
  const graphs: OnnxGraph[] = [];
  let seen = 0;
  message(r, wire, (field, w) => {
    if (field === 1) name = text(r, w);
    else if (field === 2 && w === 5) float = r.float();
    else if (field === 3 && w === 0) int = int64(r);
    else if (field === 4) string = text(r, w);
    else if (field === 5 || field === 10) tensors.push(readTensor(r, w));
    else if (field === 6 || field === 11) graphs.push(readGraph(r, w, depth + 1));
    else if (field === 7) numbers(r, w, floats, () => r.float());
    else if (field === 8) numbers(r, w, ints, () => int64(r));
    else if (field === 9) strings.push(text(r, w));
    else if (field === 20 && w === 0) {
      type = r.int32();
      return true;
    } else return false;
    // The fields of values and the kinds have the same order; old files leave the kind out.
    if (field > 1) seen = field - 1;
    return true;
  });
  const attribute = ([
    null,
    { float },
    { int },
    { string },
    tensors[0] && { tensor: tensors[0] },
    graphs[0] && { graph: graphs[0] },
    { floats },
    { ints },
    { strings },
    { tensors },
    { graphs },
  ] as const)[type || seen];
  return [name, attribute ?? fail(`the attribute "${name}" has no value that can be read`)];
}

function readValueInfo(r: Reader, wire: number): OnnxValueInfo {
  let name = "";
  let dtype: ElementType | null = null;
  let shape: (number | string | null)[] | null = null;
  const readDim: FieldReader = (field, w) => {
    let dim: number | string | null = null;
    if (field !== 1) return false;
    message(r, w, (f, v) => {
      if (f === 1 && v === 0) dim = int64(r);
      else if (f === 2) dim = text(r, v);
      else return false;
      return true;
    });
    shape!.push(dim);
    return true;
  };
  const readTensorType: FieldReader = (field, w) => {
    if (field === 1 && w === 0) dtype = elementTypes[r.int32()] ?? null;
    else if (field === 2) {
      shape = [];
      message(r, w, readDim);
    } else return false;
    return true;
  };
  message(r, wire, (field, w) => {
    if (field === 1) name = text(r, w);
    else if (field === 2) {
      message(r, w, (f, v) => {
        if (f !== 1) return false;
        message(r, v, readTensorType);
        return true;
      });
    } else return false;
    return true;
  });
  return { name, dtype, shape };
}

function readTensor(r: Reader, wire: number): OnnxTensor {
  let name = "";
  let type = 0;
  let raw: Uint8Array | null = null;
  let isExternal = false;
  const shape: number[] = [];
  const typed: Partial<Record<number, number[]>> = {};
  const words: bigint[] = [];
  const external = new Map<string, string>();
  const list = (field: number) => (typed[field] ??= []);
  message(r, wire, (field, w) => {
    if (field === 1) numbers(r, w, shape, () => int64(r));
    else if (field === 2 && w === 0) type = r.int32();
    else if (field === 4) numbers(r, w, list(4), () => r.float());
    else if (field === 5) numbers(r, w, list(5), () => r.int32());
    else if (field === 7 || field === 11) {
      numbers(r, w, [], () => (words.push(BigInt(String(r.int64()))), 0));
    } else if (field === 8) name = text(r, w);
    else if (field === 9 && w === 2) raw = r.bytes();
    else if (field === 10) numbers(r, w, list(10), () => r.double());
    else if (field === 13) external.set(...keyValue(r, w));
    else if (field === 14 && w === 0) isExternal = r.int32() === 1;
    else return false;
    return true;
  });
  const where = `tensor "${name}"`;
  const dtype = elementTypes[type];
  if (dtype === undefined) {
    fail(`${where} has elements of type ${otherTypes[type] ?? type}, which isn't supported`);
  }
  const byteLength = byteLengthOf(dtype, shape) ?? fail(`${where} has impossible sizes`);
  if (isExternal) {
    return { name, dtype, shape, bytes: null, external: externalOf(where, external, byteLength) };
  }
  const bytes = raw ?? bytesOfFields(dtype, typed, words, byteLength);
  if (bytes.length !== byteLength) {
    fail(
      `${where}: ${dtype} ${formatShape(shape)} takes ${byteLength} bytes, it has ${bytes.length}`,
    );
  }
  return { name, dtype, shape, bytes, external: null };
}

function externalOf(
  where: string,
  data: ReadonlyMap<string, string>,
  byteLength: number,
): OnnxExternalData {
  const location = data.get("location") ?? fail(`${where} names no file for its data`);
  try {
    checkSibling(where, location);
  } catch (error) {
    fail((error as Error).message);
  }
  const whole = (key: string, otherwise: number) => {
    const value = data.get(key) ?? String(otherwise);
    if (!/^\d{1,15}$/.test(value)) fail(`${where}: its ${key} isn't a whole number`);
    return Number(value);
  };
  if (whole("length", byteLength) !== byteLength) {
    fail(`${where} takes ${byteLength} bytes, ${data.get("length")} are kept outside`);
  }
  return { location, offset: whole("offset", 0) };
}

/** Elements that are kept as numbers, as bytes: narrow types share the field of int32. */
function bytesOfFields(
  dtype: ElementType,
  typed: Partial<Record<number, number[]>>,
  words: readonly bigint[],
  byteLength: number,
): Uint8Array {
  const field = dtype === "float32" ? 4 : dtype === "float64" ? 10 : 5;
  const source: readonly (number | bigint)[] = dtype === "int64" || dtype === "uint64"
    ? words
    : dtype === "uint32"
    ? words.map(Number)
    : typed[field] ?? [];
  // Its own count decides what is allocated; the shape might claim anything.
  const bytes = new Uint8Array(source.length * bytesPerElement(dtype));
  if (bytes.length !== byteLength) return bytes;
  const elements = elementsOf(dtype, bytes) as unknown as { [i: number]: number | bigint };
  for (let i = 0; i < source.length; i++) elements[i] = source[i]!;
  return bytes;
}
