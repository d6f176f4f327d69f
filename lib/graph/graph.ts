/**
 * Networks as ONNX graphs, built in TypeScript: every operator checks its operands' shapes when it
 * is called, so that a mistake is reported on the line that makes it.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { toFloat16Array } from "../float16.ts";
import { type DType, formatShape, HostTensor, sizeOf, type TypedArrayOf } from "../tensor.ts";
import { formatGraph } from "./dump.ts";
import { fold } from "./fold.ts";
import { encodeModel, type EncodeOptions } from "./onnx.ts";
import { Origin } from "./origin.ts";

/** The size of one axis: a number, or a name that stands for a size known when the graph runs. */
export type Dim = number | string;

/** An operator's attribute, by the kind that ONNX gives it. */
export type Attribute =
  | { int: number }
  | { float: number }
  | { string: string }
  | { ints: readonly number[] }
  | { floats: readonly number[] };

/** One operator of a graph. Optional inputs that are left out are null. */
export interface GraphNode {
  /** The operator's ONNX name. */
  readonly op: string;
  /** Its operands. */
  readonly inputs: readonly (Value | null)[];
  /** Its results. */
  readonly outputs: readonly Value[];
  /** Its attributes by name. */
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Where it was called; a gradient's node has the place of the operator that it differentiates. */
  readonly origin: Origin;
  /** The block that it is part of, where {@linkcode recompute} marked one. */
  readonly block: RecomputeBlock | null;
}

/** A part of a graph that the backward pass computes again from what the part was given. */
export interface RecomputeBlock {
  /** What the part was given. */
  readonly inputs: readonly Value[];
}

/** A tensor inside a {@linkcode Graph}: something that an operator takes or gives. */
export class Value {
  /** The graph that it belongs to. */
  readonly graph: Graph;
  /** Its name in the ONNX file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly Dim[];
  /** The operator that gives it; null for inputs, constants and parameters. */
  readonly node: GraphNode | null;
  /** Its elements where they are known: constants and parameters. */
  readonly data: HostTensor | null;

  /** Values are made by {@linkcode Graph} and by the operators, not by hand. */
  constructor(
    graph: Graph,
    name: string,
    dtype: DType,
    shape: readonly Dim[],
    node: GraphNode | null,
    data: HostTensor | null,
  ) {
    this.graph = graph;
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.node = node;
    this.data = data;
  }

  /** The number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /**
   * The sizes as numbers.
   *
   * @throws {ShapeError} If one of them is symbolic.
   */
  staticShape(): number[] {
    return this.shape.map((dim) => {
      if (typeof dim === "number") return dim;
      throw new ShapeError(`value "${this.name}" has the symbolic size "${dim}"; it must be known`);
    });
  }
}

/** Result of an operator: its element type and shape. */
export interface ResultSpec {
  /** Element type. */
  dtype: DType;
  /** Sizes of the axes. */
  shape: readonly Dim[];
}

/**
 * A graph under construction. Operators of `ops.ts` add nodes to it.
 *
 * @example
 * ```ts
 * import { Graph, ops } from "@ovstage/ovstage/graph";
 * const graph = new Graph("affinity");
 * const clip = graph.input("clip", ["N", 64]);
 * const query = graph.input("query", ["M", 64]);
 * graph.output("Z", ops.softmax(ops.matMul(clip, ops.transpose(query, [1, 0])), -1));
 * const bytes = graph.toOnnx();
 * console.log(bytes.length > 0); // true
 * ```
 */
export class Graph {
  /** The graph's name in the ONNX file. */
  readonly name: string;
  /** Inputs in the order of their declaration. */
  readonly inputs: Value[] = [];
  /** Outputs by name, in the order of their declaration. */
  readonly outputs: Map<string, Value> = new Map();
  /** Trained tensors by name; they become initialisers. */
  readonly parameters: Map<string, Value> = new Map();
  /** Operators in the order of their creation, which is a topological one. */
  readonly nodes: GraphNode[] = [];
  /** Constants that operators use. */
  readonly constants: Value[] = [];
  readonly #shared = new Map<string, Value>();
  #counter = 0;
  #origin: Origin | null = null;
  #block: RecomputeBlock | null = null;
  #known: Map<string, Value[]> | null = null;

  /**
   * Begins an empty graph.
   *
   * @param name The graph's name in the ONNX file.
   */
  constructor(name: string) {
    this.name = name;
  }

  /**
   * Declares an input.
   *
   * @throws {ShapeError} If the name is taken.
   */
  input(name: string, shape: readonly Dim[], dtype: DType = "float32"): Value {
    this.#claim(name);
    const value = new Value(this, name, dtype, shape, null, null);
    this.inputs.push(value);
    return value;
  }

  /**
   * Declares a trained tensor, which becomes an initialiser of the ONNX file.
   *
   * @throws {ShapeError} If the name is taken.
   */
  parameter(name: string, tensor: HostTensor): Value {
    this.#claim(name);
    const value = new Value(this, name, tensor.dtype, tensor.shape, null, tensor);
    this.parameters.set(name, value);
    return value;
  }

  /**
   * A constant: a number, or elements with their shape (one axis where left out).
   *
   * @throws {ShapeError} If `data` does not fill `shape`.
   */
  constant<T extends DType = "float32">(
    data: number | readonly number[] | TypedArrayOf[T],
    shape?: readonly number[],
    dtype: T = "float32" as T,
  ): Value {
    const list = typeof data === "number" ? [data] : Array.from(data as ArrayLike<number | bigint>);
    const dims = shape ?? (typeof data === "number" ? [] : [list.length]);
    if (list.length !== sizeOf(dims)) {
      const reason = `takes ${sizeOf(dims)} elements, got ${list.length}`;
      throw new ShapeError(`constant of shape ${formatShape(dims)} ${reason}${this.here()}`);
    }
    const tensor = new HostTensor(dtype, dims);
    const target = tensor.data as unknown as { [i: number]: number | bigint };
    if (dtype === "float16" && !(data instanceof Uint16Array)) {
      (tensor.data as Uint16Array).set(toFloat16Array(Float32Array.from(list, Number)));
    } else {
      const whole = !dtype.startsWith("float");
      for (let i = 0; i < list.length; i++) {
        if (whole && typeof list[i] === "number" && !Number.isSafeInteger(list[i])) {
          throw new ShapeError(`constant: ${list[i]} is no ${dtype}${this.here()}`);
        }
        target[i] = dtype === "int64" ? BigInt(list[i]!) : list[i]!;
      }
    }
    return this.#constantOf(tensor);
  }

  /** The constant of these elements; small ones that are alike are one. */
  #constantOf(tensor: HostTensor): Value {
    const { dtype, shape, data } = tensor;
    const elements = () =>
      Array.from(data as ArrayLike<number>, (x) => Object.is(x, -0) ? "-0" : x);
    const key = data.length <= 16 ? `${dtype}:${shape}:${elements()}` : null;
    const known = key === null ? undefined : this.#shared.get(key);
    if (known !== undefined) return known;
    const value = new Value(this, `constant_${this.#counter++}`, dtype, shape, null, tensor);
    this.constants.push(value);
    if (key !== null) this.#shared.set(key, value);
    return value;
  }

  /**
   * Names a value as an output.
   *
   * @throws {ShapeError} If the name is taken.
   */
  output(name: string, value: Value): Value {
    this.#claim(name);
    this.outputs.set(name, value);
    return value;
  }

  /**
   * Adds an operator; for the authors of operators. Checks nothing. What follows from constants alone
   * is worked out at once and becomes a constant, as long as that doesn't grow.
   */
  add(
    op: string,
    inputs: readonly (Value | null)[],
    results: readonly ResultSpec[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value[] {
    for (const input of inputs) {
      if (input !== null && input.graph !== this) {
        const owner = `belongs to graph "${input.graph.name}", not "${this.name}"`;
        throw new ShapeError(`${op}: value "${input.name}" ${owner}${this.here()}`);
      }
    }
    const folded = fold(op, inputs, results, attributes);
    if (folded !== null) return [this.#constantOf(folded)];
    const key = this.#known && nodeKey(op, inputs, attributes);
    const known = key === null ? undefined : this.#known?.get(key);
    if (known !== undefined) return known;
    const outputs: Value[] = [];
    if (key !== null) this.#known?.set(key, outputs);
    const origin = this.#origin ?? new Origin();
    const node: GraphNode = { op, inputs, outputs, attributes, origin, block: this.#block };
    for (const { dtype, shape } of results) {
      outputs.push(new Value(this, `${op}_${this.#counter++}`, dtype, shape, node, null));
    }
    this.nodes.push(node);
    return outputs;
  }

  /** The graph as the bytes of an ONNX file, without the operators that no output needs. */
  toOnnx(options?: EncodeOptions): Uint8Array {
    return encodeModel(this, options);
  }

  /** One line per input, parameter, operator and output, with element types and shapes. */
  toString(): string {
    return formatGraph(this);
  }

  /** ` (at file:line:column)` for messages, or an empty string; for the authors of operators. */
  here(): string {
    return (this.#origin ?? new Origin()).note();
  }

  /** Runs `body`, whose operators get `origin` as their place; for the authors of transformations. */
  at<T>(origin: Origin, body: () => T): T {
    const before = this.#origin;
    this.#origin = origin;
    try {
      return body();
    } finally {
      this.#origin = before;
    }
  }

  /** Runs `body`, whose operators become part of a block; use {@linkcode recompute}. */
  inBlock<T>(block: RecomputeBlock, body: () => T): T {
    const before = this.#block;
    // A block within a block is computed again with the whole of it.
    this.#block = before ?? block;
    try {
      return body();
    } finally {
      this.#block = before;
    }
  }

  /**
   * Runs `body`, in which an operator on the same operands is one operator, and drops those of its
   * operators that the values it returns don't need; for the authors of transformations.
   */
  lean(body: () => Value[]): Value[] {
    const before = this.#known;
    const first = this.nodes.length;
    this.#known = new Map();
    try {
      const results = body();
      if (before !== null) return results;
      const live = new Set(results.map((value) => value.node));
      for (const node of this.nodes.slice(first).reverse()) {
        if (live.has(node)) node.inputs.forEach((value) => live.add(value?.node ?? null));
      }
      this.nodes.push(...this.nodes.splice(first).filter((node) => live.has(node)));
      return results;
    } finally {
      this.#known = before;
    }
  }

  #claim(name: string): void {
    const taken = this.inputs.some((v) => v.name === name) || this.parameters.has(name) ||
      this.outputs.has(name);
    if (taken) {
      throw new ShapeError(`graph "${this.name}": the name "${name}" is taken${this.here()}`);
    }
    if (/^(constant|[A-Z]\w*)_\d+$/.test(name)) {
      const reason = "is a name that operators give their results; take another";
      throw new ShapeError(`graph "${this.name}": "${name}" ${reason}${this.here()}`);
    }
  }
}

/** The same for operators that give the same. */
function nodeKey(
  op: string,
  inputs: readonly (Value | null)[],
  attributes: Readonly<Record<string, Attribute>>,
): string {
  return `${op}(${inputs.map((value) => value?.name ?? "")})${JSON.stringify(attributes)}`;
}
