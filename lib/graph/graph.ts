/**
 * Networks as ONNX graphs, built in TypeScript: every operator checks its operands' shapes when it
 * is called, so that a mistake is reported on the line that makes it.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { type DType, formatShape, HostTensor, sizeOf, type TypedArrayOf } from "../tensor.ts";
import { encodeModel, type EncodeOptions } from "./onnx.ts";

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

  /** @param name The graph's name in the ONNX file. */
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
    const key = list.length <= 16 ? `${dtype}:${dims.join(",")}:${list.join(",")}` : null;
    const known = key === null ? undefined : this.#shared.get(key);
    if (known !== undefined) return known;
    const tensor = new HostTensor(dtype, dims);
    if (list.length !== sizeOf(dims)) {
      throw new ShapeError(
        `constant of shape ${formatShape(dims)} takes ${sizeOf(dims)} elements, got ${list.length}`,
      );
    }
    const target = tensor.data as unknown as { [i: number]: number | bigint };
    for (let i = 0; i < list.length; i++) {
      target[i] = dtype === "int64" ? BigInt(list[i]!) : list[i]!;
    }
    const value = new Value(this, `constant_${this.#counter++}`, dtype, dims, null, tensor);
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

  /** Adds an operator; for the authors of operators. Checks nothing. */
  add(
    op: string,
    inputs: readonly (Value | null)[],
    results: readonly ResultSpec[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value[] {
    for (const input of inputs) {
      if (input !== null && input.graph !== this) {
        throw new ShapeError(
          `${op}: value "${input.name}" belongs to graph "${input.graph.name}", not "${this.name}"`,
        );
      }
    }
    const outputs: Value[] = [];
    const node: GraphNode = { op, inputs, outputs, attributes };
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

  #claim(name: string): void {
    const taken = this.inputs.some((v) => v.name === name) || this.parameters.has(name) ||
      this.outputs.has(name);
    if (taken) throw new ShapeError(`graph "${this.name}": the name "${name}" is taken`);
    if (/^(constant|[A-Z]\w*)_\d+$/.test(name)) {
      throw new ShapeError(
        `graph "${this.name}": "${name}" is a name that operators give their results; take another`,
      );
    }
  }
}
