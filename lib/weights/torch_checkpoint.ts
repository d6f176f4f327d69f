/**
 * PyTorch's checkpoints (`.pt`, `.pth`, `.bin`): zip archives of one pickle and the bytes of the
 * tensors that it names. Nothing in them is executed.
 *
 * @module
 */
import { ModelError } from "../errors.ts";
import { formatShape } from "../tensor.ts";
import { type ByteSource, readRange } from "./byte_source.ts";
import { PickleGlobal, type PickleRules, type PickleValue, unpickle } from "./pickle.ts";
import {
  byteLengthOf,
  bytesPerElement,
  elementsOf,
  type ElementType,
  entryOf,
  gatherElements,
  type WeightEntry,
  type WeightFile,
} from "./weight_file.ts";
import { openZip, type Zip } from "./zip.ts";

/** PyTorch has no tensors of more axes. */
const MAX_RANK = 64;
/** State dicts nest a handful of levels. */
const MAX_DEPTH = 64;
/** Longest name of a tensor; shared keys could else make much of little. */
const MAX_NAME = 1024;
/** A small file may still repeat elements up to this many bytes (`expand`, stride 0). */
const MIN_REPEAT = 1 << 20;

const storageTypes: Readonly<Record<string, ElementType>> = {
  FloatStorage: "float32",
  DoubleStorage: "float64",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  CharStorage: "int8",
  ByteStorage: "uint8",
  ShortStorage: "int16",
  IntStorage: "int32",
  LongStorage: "int64",
  BoolStorage: "bool",
};

const elementTypes: Readonly<Record<string, ElementType>> = {
  float32: "float32",
  float: "float32",
  float64: "float64",
  double: "float64",
  float16: "float16",
  half: "float16",
  bfloat16: "bfloat16",
  int8: "int8",
  uint8: "uint8",
  int16: "int16",
  short: "int16",
  uint16: "uint16",
  int32: "int32",
  int: "int32",
  uint32: "uint32",
  int64: "int64",
  long: "int64",
  uint64: "uint64",
  bool: "bool",
};

/** Bytes that tensors share views of. */
interface Storage {
  /** Its record in the archive. */
  readonly record: string;
  /** What the checkpoint says its elements are; null where it says nothing. */
  readonly dtype: ElementType | null;
  /** Its length in bytes. */
  readonly byteLength: number;
}

class StorageHandle {
  readonly storage: Storage;
  constructor(storage: Storage) {
    this.storage = storage;
  }
}

/** A tensor of a checkpoint: a strided view of a storage. */
export class TorchTensor implements WeightEntry {
  /** Element type. */
  readonly dtype: ElementType;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** Distances in elements along each axis. */
  readonly strides: readonly number[];
  /** Index of the first element in the storage. */
  readonly offset: number;
  /** The storage's record in the archive; tensors that share it share elements. */
  readonly record: string;

  /** Made by the reader. */
  constructor(
    dtype: ElementType,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
    record: string,
  ) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.record = record;
  }
}

/** Options of {@linkcode openTorchCheckpoint}. */
export interface TorchOptions {
  /**
   * What to do with objects of classes that weights don't need (a trainer's configuration, say):
   * refuse the file, the default, or keep them as {@linkcode InertObject}s. Neither runs anything.
   */
  readonly unknownObjects?: "refuse" | "inert";
}

/**
 * An object of a class that this reader knows nothing of, such as a part of a TorchScript program: a
 * map of its attributes, or of its items where it is a kind of dict.
 */
export class InertObject extends Map<PickleValue, PickleValue> {
  /** Its class, or the function that would have made it: `module.name`. */
  readonly global: string;
  /** What that would have been called with. */
  readonly args: readonly PickleValue[];

  /** Made by the reader. */
  constructor(global: string, args: readonly PickleValue[]) {
    super();
    this.global = global;
    this.args = args;
  }
}

/** An opened checkpoint. */
export interface TorchCheckpoint extends WeightFile {
  /** Its tensors by name; keys of nested dicts and indices of lists are joined by dots. */
  readonly entries: ReadonlyMap<string, TorchTensor>;
  /**
   * Everything that was saved, as plain data: dicts are maps, lists and tuples arrays, tensors
   * {@linkcode TorchTensor}s; element types and devices are strings (`torch.float16`).
   */
  readonly data: PickleValue;
}

/**
 * Opens a checkpoint that `torch.save` wrote (PyTorch 1.6 or newer). State dicts may lie at any
 * depth (`{"model": …}`, `{"state_dict": …}`); a TorchScript program's classes are read as dicts of
 * their attributes.
 *
 * @param source The file.
 * @returns Its tensors; each is read when asked for, and its checksum verified.
 * @throws {ModelError} If the archive or the pickle is damaged, a tensor reaches out of its
 *   storage, or the pickle asks for a name that weights don't need.
 */
export async function openTorchCheckpoint(
  source: ByteSource,
  options: TorchOptions = {},
): Promise<TorchCheckpoint> {
  const file = source.name;
  await refuseOldFormat(source);
  const zip = await openZip(source);
  const root = rootOf(file, zip);
  const bigEndian = await isBigEndian(file, zip, root);
  const pickle = await zip.read(`${root}data.pkl`);
  const rules = torchRules(zip, root, pickle.length, source.size);
  const inert = (name: string) =>
    // TorchScript's own classes are part of no other package.
    options.unknownObjects === "inert" || name.startsWith("__torch__.")
      ? new PickleGlobal(name, (args) => new InertObject(name, args))
      : null;
  const value = unpickle(pickle, `${file}: data.pkl`, {
    ...rules,
    global: (name) => rules.global(name) ?? inert(name),
  });
  const entries = collectTensors(file, value, pickle.length);

  let last: { record: string; bytes: Uint8Array } | null = null;
  return {
    name: file,
    entries,
    metadata: new Map(),
    data: value,
    async read(name) {
      const { dtype, shape, strides, offset, record } = entryOf(file, entries, name);
      // Neighbours often share a storage; the last one is kept so that it isn't read again.
      const bytes = last?.record === record ? last.bytes : await zip.read(record);
      last = { record, bytes };
      const data = gatherElements(dtype, elementsOf(dtype, bytes), shape, strides, offset);
      if (bigEndian) reverseElements(data as ArrayBufferView, bytesPerElement(dtype));
      return { dtype, shape, data };
    },
  };
}

async function refuseOldFormat(source: ByteSource): Promise<void> {
  const head = await readRange(source, 0, Math.min(2, source.size), "the file's start");
  if (head[0] === 0x80 && head[1]! <= 5) {
    throw new ModelError(
      `${source.name}: a bare pickle, as PyTorch before 1.6 and others write it; load it in ` +
        "PyTorch and save it again with torch.save or safetensors",
    );
  }
}

/** Archives hold everything in one folder, named after the file they were first saved as. */
function rootOf(file: string, zip: Zip): string {
  const roots = [...zip.entries.keys()].filter((name) => /^[^/]*\/data\.pkl$/.test(name));
  if (roots.length === 1) return roots[0]!.slice(0, -"data.pkl".length);
  throw new ModelError(
    `${file}: not a PyTorch checkpoint: a zip archive with ${roots.length} files "*/data.pkl", ` +
      "not one",
  );
}

async function isBigEndian(file: string, zip: Zip, root: string): Promise<boolean> {
  if (!zip.entries.has(`${root}byteorder`)) return false;
  const order = new TextDecoder().decode(await zip.read(`${root}byteorder`));
  if (order !== "little" && order !== "big") {
    throw new ModelError(`${file}: byte order ${JSON.stringify(order)}; expected little or big`);
  }
  return order === "big";
}

function reverseElements(data: ArrayBufferView, size: number): void {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (size === 1) return;
  for (let at = 0; at < bytes.length; at += size) bytes.subarray(at, at + size).reverse();
}

/** Fails with a message that `unpickle` completes. */
function fail(reason: string): never {
  throw new Error(reason);
}

/**
 * The names that checkpoints may use. All of them give data of this module; none reaches anything
 * else.
 *
 * @param budget The pickle's length: what calls copy is bounded by it, so that a short pickle can't
 *   make much of little by calling again and again.
 */
function torchRules(zip: Zip, root: string, budget: number, fileSize: number): PickleRules {
  const spend = (amount: number) => {
    budget -= amount;
    if (budget < 0) fail("calls copy more than the pickle holds");
  };
  const items = (value: PickleValue | undefined): readonly PickleValue[] => {
    const list = value instanceof Set ? [...value] : value ?? [];
    if (!Array.isArray(list)) fail("a list of items was expected");
    spend(list.length);
    return list;
  };
  const dict = ([from, ...rest]: readonly PickleValue[]) => {
    if (rest.length > 0) fail("a dict is made of one argument at most");
    if (from instanceof Map) {
      spend(from.size);
      return new Map(from);
    }
    return new Map(
      items(from).map((pair) => {
        if (!Array.isArray(pair) || pair.length !== 2) fail("a dict is made of pairs");
        return pair as [PickleValue, PickleValue];
      }),
    );
  };
  const bytes = ([text, encoding = "latin1"]: readonly PickleValue[]) => {
    if (text instanceof Uint8Array) {
      spend(text.length);
      return new Uint8Array(text);
    }
    if (text === undefined) return new Uint8Array(0);
    if (typeof text !== "string" || (encoding !== "latin1" && encoding !== "latin-1")) {
      fail("bytes are made of Latin-1 text");
    }
    spend(text.length);
    return Uint8Array.from(text, (char) => {
      const code = char.codePointAt(0)!;
      return code < 256 ? code : fail("bytes are made of Latin-1 text");
    });
  };
  const tensor = (args: readonly PickleValue[], dtype?: ElementType) =>
    tensorOf(args, dtype, fileSize);

  const globals = new Map<string, PickleValue>();
  const callable = (name: string, call: (args: readonly PickleValue[]) => PickleValue) =>
    globals.set(name, new PickleGlobal(name, call));
  callable("collections.OrderedDict", dict);
  callable("collections.Counter", dict);
  callable("builtins.set", ([list]) => new Set(items(list)));
  callable("builtins.frozenset", ([list]) => new Set(items(list)));
  callable("builtins.bytearray", bytes);
  callable("_codecs.encode", bytes);
  callable("torch.Size", ([sizes]) => Object.freeze([...items(sizes)]));
  callable("torch.device", ([type, index]) => {
    if (typeof type !== "string") fail("a device is made of its name");
    return typeof index === "number" ? `${type}:${index}` : type;
  });
  callable("torch._utils._rebuild_tensor", (args) => tensor(args));
  callable("torch._utils._rebuild_tensor_v2", (args) => tensor(args));
  callable("torch._utils._rebuild_tensor_v3", (args) => {
    const name = args[6];
    const dtype = typeof name === "string" ? elementTypes[name.replace(/^torch\./, "")] : undefined;
    return tensor(args, dtype ?? fail("a tensor's element type is missing"));
  });
  const parameter = ([data]: readonly PickleValue[]) =>
    data instanceof TorchTensor ? data : fail("a parameter is made of a tensor");
  callable("torch._utils._rebuild_parameter", parameter);
  callable("torch._utils._rebuild_parameter_with_state", parameter);
  for (const name of Object.keys(elementTypes)) globals.set(`torch.${name}`, `torch.${name}`);
  for (const [name, dtype] of Object.entries(storageTypes)) {
    for (const module of ["torch", "torch.cuda"]) {
      globals.set(`${module}.${name}`, new StorageType(dtype));
    }
  }
  globals.set("torch.storage.UntypedStorage", new StorageType(null));

  return {
    global: (name) => globals.get(name) ?? null,
    persistent: (id) => new StorageHandle(storageOf(zip, root, id)),
    build: (target, state) => {
      if (!(target instanceof InertObject)) return false;
      if (!(state instanceof Map)) return true;
      spend(state.size);
      for (const [key, value] of state) target.set(key, value);
      return true;
    },
  };
}

class StorageType {
  readonly dtype: ElementType | null;
  constructor(dtype: ElementType | null) {
    this.dtype = dtype;
  }
}

function storageOf(zip: Zip, root: string, id: PickleValue): Storage {
  if (!Array.isArray(id) || id.length < 5 || id[0] !== "storage") {
    fail("an object outside of the pickle that isn't a storage");
  }
  const [, type, key, , count] = id as PickleValue[];
  if (!(type instanceof StorageType)) fail("a storage's type is missing");
  if (typeof key !== "string" || !isCount(count)) fail("a storage's key or size is missing");
  const record = `${root}data/${key}`;
  const byteLength = count * (type.dtype === null ? 1 : bytesPerElement(type.dtype));
  const entry = zip.entries.get(record);
  if (entry === undefined) fail(`storage "${key}" isn't in the archive`);
  if (entry.size !== byteLength) {
    fail(`storage "${key}" should have ${byteLength} bytes; the archive has ${entry.size}`);
  }
  return { record, dtype: type.dtype, byteLength };
}

function isCount(value: PickleValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function tensorOf(
  args: readonly PickleValue[],
  given: ElementType | undefined,
  fileSize: number,
): TorchTensor {
  const [handle, offset, shape, strides] = args;
  if (!(handle instanceof StorageHandle)) fail("a tensor without a storage");
  const { record, byteLength, dtype: stored } = handle.storage;
  const dtype = given ?? stored ?? fail("a tensor's element type is missing");
  const isSizes = (list: PickleValue | undefined): list is number[] =>
    Array.isArray(list) && list.length <= MAX_RANK && list.every(isCount);
  if (!isCount(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
    fail("a tensor's offset, sizes and strides must be whole numbers from 0, as many of each");
  }
  const size = bytesPerElement(dtype);
  const bytes = byteLengthOf(dtype, shape);
  const last = shape.includes(0)
    ? 0
    : shape.reduce((at, dim, axis) => at + (dim - 1) * strides[axis]!, offset + 1);
  if (bytes === null || last * size > byteLength) {
    fail(
      `a tensor of ${formatShape(shape)} reaches element ${last} of a storage of ${
        Math.floor(byteLength / size)
      }`,
    );
  }
  if (bytes > Math.max(fileSize, MIN_REPEAT)) {
    fail(`a tensor of ${formatShape(shape)} repeats its elements to more bytes than the file has`);
  }
  return new TorchTensor(dtype, shape, strides, offset, record);
}

/** The tensors of nested containers by their dotted paths. */
function collectTensors(
  file: string,
  root: PickleValue,
  budget: number,
): Map<string, TorchTensor> {
  const entries = new Map<string, TorchTensor>();
  const visit = (value: PickleValue, path: string, depth: number) => {
    // A tree of things that aren't shared has fewer nodes than its pickle has bytes.
    if (--budget < 0) {
      throw new ModelError(`${file}: shares containers more often than it has bytes`);
    }
    if (depth > MAX_DEPTH) {
      throw new ModelError(
        `${file}: "${path.slice(0, 100)}…" lies more than ${MAX_DEPTH} levels deep`,
      );
    }
    if (value instanceof TorchTensor) {
      const name = path === "" ? "tensor" : path;
      if (name.length > MAX_NAME) {
        throw new ModelError(
          `${file}: the name of a tensor has ${name.length} characters; ${MAX_NAME} are the most`,
        );
      }
      if (entries.has(name)) throw new ModelError(`${file}: two tensors are called "${name}"`);
      entries.set(name, value);
      return;
    }
    const join = (key: PickleValue) => path === "" ? `${key}` : `${path}.${key}`;
    if (value instanceof Map) {
      for (const [key, child] of value) {
        const named = typeof key === "string" || typeof key === "number";
        if (named) visit(child, join(key), depth + 1);
      }
    } else if (Array.isArray(value)) {
      for (const [i, child] of value.entries()) visit(child, join(i), depth + 1);
    }
  };
  visit(root, "", 0);
  return entries;
}
