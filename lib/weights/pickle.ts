/**
 * Reads Python pickles as data. A pickle is a program for a stack machine that may call any Python
 * function by name; this machine runs only the instructions that build plain data, and the few
 * names that its caller lists, each of which stands for code of this project. All others are
 * refused by name.
 *
 * @module
 */
import { ModelError } from "../errors.ts";

/**
 * What a pickle can hold. Lists are arrays, tuples frozen arrays, dicts maps; bytes are
 * `Uint8Array`s and integers beyond 2⁵³ bigints. Other objects are those of the caller's globals.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | object;

/** What a name in a pickle stands for. */
export class PickleGlobal {
  /** Module and name, as in `collections.OrderedDict`. */
  readonly name: string;
  /** What calling it gives; null where it can't be called. */
  readonly call: ((args: readonly PickleValue[]) => PickleValue) | null;

  /**
   * Stands for a function or class of Python's.
   *
   * @param name Module and name.
   * @param call What calling it gives; throws an `Error` whose message says what is wrong.
   */
  constructor(name: string, call: ((args: readonly PickleValue[]) => PickleValue) | null = null) {
    this.name = name;
    this.call = call;
  }
}

/** What {@linkcode unpickle} lets a pickle do. */
export interface PickleRules {
  /** What a name stands for; null where the pickle may not use it. */
  readonly global: (name: string) => PickleValue | null;
  /** The object outside of the pickle that an id stands for. */
  readonly persistent?: (id: PickleValue) => PickleValue;
  /** Sets the state of an object that a global made; false where that object takes none. */
  readonly build?: (target: PickleValue, state: PickleValue) => boolean;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Instructions of protocols 0 and 1 and others that are known but not run, for messages. */
const refusedOpcodes: Readonly<Record<number, string>> = {
  0x46: "FLOAT",
  0x49: "INT",
  0x4c: "LONG",
  0x50: "PERSID",
  0x53: "STRING",
  0x56: "UNICODE",
  0x67: "GET",
  0x69: "INST",
  0x6f: "OBJ",
  0x70: "PUT",
  0x82: "EXT1",
  0x83: "EXT2",
  0x84: "EXT4",
  0x92: "NEWOBJ_EX",
  0x97: "NEXT_BUFFER",
  0x98: "READONLY_BUFFER",
};

/**
 * Reads a pickle (protocols 2 to 5, binary instructions) without executing anything in it.
 *
 * @param bytes The pickle; what follows its end is not looked at.
 * @param where What messages call it.
 * @param rules The names and objects that it may use.
 * @returns The object.
 * @throws {ModelError} If the pickle is damaged, or asks for an instruction or a name that isn't
 *   allowed.
 */
export function unpickle(
  bytes: Uint8Array,
  where: string,
  rules: PickleRules,
): PickleValue {
  const machine = new Machine(bytes, rules);
  try {
    return machine.run();
  } catch (cause) {
    if (cause instanceof ModelError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError(`${where}, byte ${machine.start}: ${reason}`, { cause });
  }
}

/** Fails with a message that {@linkcode unpickle} completes. */
function fail(reason: string): never {
  throw new Error(reason);
}

class Machine {
  /** The next byte. */
  at = 0;
  /** The first byte of the instruction at work. */
  start = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: PickleRules;
  readonly #stack: PickleValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array, rules: PickleRules) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rules = rules;
  }

  run(): PickleValue {
    while (true) {
      this.start = this.at;
      const opcode = this.#take(1)[0]!;
      if (opcode === 0x2e) { // STOP
        const value = this.#pop();
        if (this.#stack.length > 0) fail("objects are left over at the end");
        return value;
      }
      this.#step(opcode);
    }
  }

  #step(opcode: number): void {
    const stack = this.#stack;
    switch (opcode) {
      case 0x80: { // PROTO
        const protocol = this.#uint(1);
        if (protocol > 5) fail(`pickle protocol ${protocol}; 5 is the newest`);
        return;
      }
      case 0x95: // FRAME
        this.#length(8);
        return;

      case 0x4e: // NONE
        stack.push(null);
        return;
      case 0x88: // NEWTRUE
        stack.push(true);
        return;
      case 0x89: // NEWFALSE
        stack.push(false);
        return;
      case 0x4a: // BININT
        stack.push(this.#view.getInt32(this.#skip(4), true));
        return;
      case 0x4b: // BININT1
        stack.push(this.#uint(1));
        return;
      case 0x4d: // BININT2
        stack.push(this.#uint(2));
        return;
      case 0x8a: // LONG1
        stack.push(integerOf(this.#take(this.#uint(1))));
        return;
      case 0x8b: // LONG4
        stack.push(integerOf(this.#take(this.#uint(4))));
        return;
      case 0x47: // BINFLOAT
        stack.push(this.#view.getFloat64(this.#skip(8), false));
        return;

      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING
        stack.push(this.#text(1));
        return;
      case 0x58: // BINUNICODE
      case 0x54: // BINSTRING
        stack.push(this.#text(4));
        return;
      case 0x8d: // BINUNICODE8
        stack.push(this.#text(8));
        return;
      case 0x43: // SHORT_BINBYTES
        stack.push(new Uint8Array(this.#take(this.#length(1))));
        return;
      case 0x42: // BINBYTES
        stack.push(new Uint8Array(this.#take(this.#length(4))));
        return;
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        stack.push(new Uint8Array(this.#take(this.#length(8))));
        return;

      case 0x28: // MARK
        this.#marks.push(stack.length);
        return;
      case 0x30: // POP
        if (this.#marks.at(-1) === stack.length) this.#marks.pop();
        else this.#pop();
        return;
      case 0x31: // POP_MARK
        this.#popMark();
        return;
      case 0x32: // DUP
        stack.push(this.#top());
        return;

      case 0x5d: // EMPTY_LIST
        stack.push([]);
        return;
      case 0x6c: // LIST
        stack.push(this.#popMark());
        return;
      case 0x61: { // APPEND
        const item = this.#pop();
        this.#list().push(item);
        return;
      }
      case 0x65: { // APPENDS
        const items = this.#popMark();
        const list = this.#list();
        for (const item of items) list.push(item);
        return;
      }
      case 0x29: // EMPTY_TUPLE
        stack.push(Object.freeze([]));
        return;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        stack.push(Object.freeze(this.#popMany(opcode - 0x84)));
        return;
      case 0x74: // TUPLE
        stack.push(Object.freeze(this.#popMark()));
        return;
      case 0x7d: // EMPTY_DICT
        stack.push(new Map());
        return;
      case 0x64: { // DICT
        const items = this.#popMark();
        stack.push(new Map());
        this.#setItems(items);
        return;
      }
      case 0x73: // SETITEM
        this.#setItems(this.#popMany(2));
        return;
      case 0x75: // SETITEMS
        this.#setItems(this.#popMark());
        return;
      case 0x8f: // EMPTY_SET
        stack.push(new Set());
        return;
      case 0x90: { // ADDITEMS
        const items = this.#popMark();
        const set = this.#top();
        if (!(set instanceof Set)) fail(`${describe(set)} takes no items; a set does`);
        for (const item of items) set.add(hashable(item));
        return;
      }
      case 0x91: // FROZENSET
        stack.push(new Set(this.#popMark().map(hashable)));
        return;

      case 0x71: // BINPUT
        this.#memo.set(this.#uint(1), this.#top());
        return;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#uint(4), this.#top());
        return;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case 0x68: // BINGET
        this.#recall(this.#uint(1));
        return;
      case 0x6a: // LONG_BINGET
        this.#recall(this.#uint(4));
        return;

      case 0x63: { // GLOBAL
        const module = this.#line();
        this.#global(module, this.#line());
        return;
      }
      case 0x93: { // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string") {
          fail("a global's module and name must be strings");
        }
        this.#global(module, name);
        return;
      }
      case 0x52: // REDUCE
      case 0x81: { // NEWOBJ
        const [callee, args] = this.#popMany(2);
        if (!(callee instanceof PickleGlobal) || callee.call === null) {
          fail(`${describe(callee)} can't be called`);
        }
        if (!Array.isArray(args) || !Object.isFrozen(args)) {
          fail(`${callee.name} is called with ${describe(args)}; arguments come as a tuple`);
        }
        stack.push(callee.call(args));
        return;
      }
      case 0x62: { // BUILD
        const state = this.#pop();
        const target = this.#top();
        // An OrderedDict's state is its attributes (state dicts keep version numbers there).
        const taken = this.#rules.build?.(target, state) ?? false;
        if (!taken && !(target instanceof Map)) fail(`${describe(target)} takes no state`);
        return;
      }
      case 0x51: { // BINPERSID
        const id = this.#pop();
        stack.push(this.#rules.persistent?.(id) ?? fail("objects outside of the pickle"));
        return;
      }
      default: {
        const name = refusedOpcodes[opcode] ?? `0x${opcode.toString(16).padStart(2, "0")}`;
        fail(`the instruction ${name}, which state dicts don't need, is not run`);
      }
    }
  }

  /** Moves on by `length` bytes and gives where they start. */
  #skip(length: number): number {
    const from = this.at;
    if (length > this.#bytes.length - from) {
      fail(`the pickle is cut short: ${length} bytes wanted, ${this.#bytes.length - from} left`);
    }
    this.at += length;
    return from;
  }

  #take(length: number): Uint8Array {
    const from = this.#skip(length);
    return this.#bytes.subarray(from, from + length);
  }

  #uint(width: 1 | 2 | 4): number {
    const from = this.#skip(width);
    if (width === 1) return this.#view.getUint8(from);
    return width === 2 ? this.#view.getUint16(from, true) : this.#view.getUint32(from, true);
  }

  /** The length of what follows; refused where it is longer than what is left. */
  #length(width: 1 | 4 | 8): number {
    const length = width === 8
      ? Number(this.#view.getBigUint64(this.#skip(8), true))
      : this.#uint(width);
    const left = this.#bytes.length - this.at;
    if (length > left) fail(`the pickle is cut short: ${length} bytes wanted, ${left} left`);
    return length;
  }

  #text(width: 1 | 4 | 8): string {
    const bytes = this.#take(this.#length(width));
    try {
      return utf8.decode(bytes);
    } catch {
      return fail("a string isn't UTF-8");
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end < 0) fail("the pickle is cut short inside of a name");
    const bytes = this.#take(end - this.at);
    this.at++;
    try {
      return utf8.decode(bytes);
    } catch {
      return fail("a name isn't UTF-8");
    }
  }

  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  #pop(): PickleValue {
    if (this.#stack.length <= this.#floor()) fail("nothing is there to take");
    return this.#stack.pop()!;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length - count < this.#floor()) fail("nothing is there to take");
    return this.#stack.splice(this.#stack.length - count);
  }

  #popMark(): PickleValue[] {
    const mark = this.#marks.pop() ?? fail("no mark is set");
    return this.#stack.splice(mark);
  }

  #top(): PickleValue {
    if (this.#stack.length <= this.#floor()) fail("nothing is there to take");
    return this.#stack.at(-1)!;
  }

  #list(): PickleValue[] {
    const list = this.#top();
    if (!Array.isArray(list) || Object.isFrozen(list)) {
      fail(`${describe(list)} can't grow; a list can`);
    }
    return list;
  }

  #setItems(items: readonly PickleValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map)) fail(`${describe(dict)} takes no items; a dict does`);
    if (items.length % 2 !== 0) fail("a dict's key lacks its value");
    for (let i = 0; i < items.length; i += 2) dict.set(hashable(items[i]!), items[i + 1]!);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) fail(`nothing was kept under ${index}`);
    this.#stack.push(value);
  }

  #global(module: string, name: string): void {
    // Python 2's name of the same module, which protocol 2 writes.
    const full = `${module === "__builtin__" ? "builtins" : module}.${name}`;
    const value = this.#rules.global(full) ??
      fail(
        `the pickle asks for ${
          JSON.stringify(full.slice(0, 200))
        }, which isn't on the list of what weights ` +
          "need; nothing was executed",
      );
    this.#stack.push(value);
  }
}

function hashable(key: PickleValue): PickleValue {
  const mutable = key instanceof Map || key instanceof Set ||
    Array.isArray(key) && !Object.isFrozen(key);
  return mutable ? fail(`${describe(key)} can't be a key`) : key;
}

/** Little-endian two's complement. */
function integerOf(bytes: Uint8Array): number | bigint {
  if (bytes.length === 0) return 0;
  if (bytes.length > 1024) fail(`an integer of ${bytes.length} bytes; 1024 are the most`);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).reverse().join("");
  const value = BigInt.asIntN(8 * bytes.length, BigInt(`0x${hex}`));
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function describe(value: PickleValue | undefined): string {
  if (value === null) return "None";
  if (value instanceof PickleGlobal) return value.name;
  if (Array.isArray(value)) return Object.isFrozen(value) ? "a tuple" : "a list";
  if (value instanceof Map) return "a dict";
  if (value instanceof Set) return "a set";
  if (value instanceof Uint8Array) return "bytes";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
