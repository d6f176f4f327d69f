/**
 * Brings an ONNX file back as a {@linkcode Graph}, so that a network from elsewhere can be
 * inspected, changed, differentiated and written again.
 *
 * @module
 */
import { ModelError, OvsError } from "../errors.ts";
import { type Dim, Graph, ops, type Value } from "../graph/mod.ts";
import { type DType, HostTensor, sizeOf, type TypedArrayOf } from "../tensor.ts";
import {
  type OnnxAttribute,
  onnxElementType,
  type OnnxFile,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
} from "./onnx_model.ts";
import { toFloat32, type WeightTensor } from "./weight_file.ts";

/** Older operator sets give some operators another meaning. */
const oldestOpset = 13;
/** ONNX's word for "to the end" starts here. */
const endless = 2 ** 31 - 1;
/** Most elements of a tensor that an operator makes of nothing. */
const mostFilled = 1 << 20;

/** One size in a vector of sizes; null where it is computed in a way that isn't followed. */
type Size = number | ops.DimOf | null;

const dtypes: readonly string[] = [
  "float32",
  "float64",
  "float16",
  "int32",
  "int64",
  "uint8",
  "bool",
];

/**
 * Rebuilds the graph of an ONNX file with this project's operators. Initialisers become parameters
 * under their names (integers, and those that the graph builder named itself, constants); operators
 * that the builder has no counterpart of are refused by name. Identity operators vanish.
 *
 * @param file An opened file; tensors outside of it are read.
 * @returns A graph with the file's inputs, outputs and parameters.
 * @throws {ModelError} If an operator, or a use of one, isn't supported.
 *
 * @example
 * ```ts
 * import { Graph, ops } from "@ovstage/ovstage/graph";
 * import { bytesSource, graphFromOnnx, openOnnx } from "@ovstage/ovstage/weights";
 * const graph = new Graph("activation");
 * graph.output("y", ops.gelu(graph.input("x", ["N", 2])));
 * const again = await graphFromOnnx(await openOnnx(bytesSource("a.onnx", graph.toOnnx())));
 * console.log(again.outputs.get("y")!.shape); // ["N", 2]
 * ```
 */
export async function graphFromOnnx(file: OnnxFile): Promise<Graph> {
  const { graph: source, opsets } = file.model;
  const version = opsets.get("") ?? 0;
  if (version < oldestOpset) {
    throw new ModelError(
      `${file.name}: operator set ${version}; ${oldestOpset} is the oldest that is read`,
    );
  }
  const importer = new Importer(file, new Graph(source.name || "imported"));
  for (const info of source.inputs) {
    if (!source.initializers.has(info.name)) importer.input(info);
  }
  const wanted = new Set(source.nodes.flatMap((node) => node.inputs));
  for (const { name } of source.outputs) wanted.add(name);
  for (const tensor of source.initializers.values()) {
    if (wanted.has(tensor.name)) importer.tensors.set(tensor.name, await file.read(tensor.name));
  }
  for (const node of source.nodes) await importer.node(node);
  for (const { name } of source.outputs) importer.output(name);
  return importer.graph;
}

/** The operators whose one operand decides their result's shape, without attributes. */
const unary: Readonly<Record<string, (x: Value) => Value>> = {
  Neg: ops.neg,
  Abs: ops.abs,
  Sign: ops.sign,
  Floor: ops.floor,
  Ceil: ops.ceil,
  Round: ops.round,
  Sqrt: ops.sqrt,
  Exp: ops.exp,
  Log: ops.log,
  Sin: ops.sin,
  Cos: ops.cos,
  Erf: ops.erf,
  Sigmoid: ops.sigmoid,
  Softplus: ops.softplus,
  Tanh: ops.tanh,
  Relu: ops.relu,
  Not: ops.not,
  Reciprocal: (x) => ops.div(1, x),
};

const binary: Readonly<Record<string, (a: Value, b: Value) => Value>> = {
  Add: ops.add,
  Sub: ops.sub,
  Mul: ops.mul,
  Div: ops.div,
  Pow: ops.pow,
  Greater: ops.greater,
  GreaterOrEqual: ops.greaterOrEqual,
  Less: ops.less,
  LessOrEqual: ops.lessOrEqual,
  Equal: ops.equal,
  And: ops.and,
  Or: ops.or,
  Xor: ops.xor,
  MatMul: ops.matMul,
};

type Reduction = (x: Value, axes: readonly number[] | null, keepDims: boolean) => Value;

const reductions: Readonly<Record<string, Reduction>> = {
  ReduceSum: ops.reduceSum,
  ReduceMean: ops.reduceMean,
  ReduceMax: ops.reduceMax,
  ReduceMin: ops.reduceMin,
  ReduceLogSumExp: ops.reduceLogSumExp,
  ReduceL2: ops.reduceL2,
};

/** Fails with a message that {@linkcode Importer.node} completes. */
function fail(reason: string): never {
  throw new ModelError(reason);
}

/** An operator's attributes, by name and kind. */
class Attributes {
  readonly #all: ReadonlyMap<string, OnnxAttribute>;
  constructor(all: ReadonlyMap<string, OnnxAttribute>) {
    this.#all = all;
  }

  int(name: string, otherwise: number): number {
    const value = this.#all.get(name);
    if (value === undefined) return otherwise;
    return "int" in value ? value.int : fail(`its attribute "${name}" must be an integer`);
  }

  float(name: string, otherwise: number): number {
    const value = this.#all.get(name);
    if (value === undefined) return otherwise;
    return "float" in value ? value.float : fail(`its attribute "${name}" must be a float`);
  }

  string(name: string, otherwise: string): string {
    const value = this.#all.get(name);
    if (value === undefined) return otherwise;
    return "string" in value ? value.string : fail(`its attribute "${name}" must be a string`);
  }

  ints(name: string): readonly number[] | null {
    const value = this.#all.get(name);
    if (value === undefined) return null;
    return "ints" in value ? value.ints : fail(`its attribute "${name}" must be integers`);
  }

  /** Two sizes, as 2-D operators have them. */
  pair(name: string): [number, number] {
    const values = this.ints(name) ?? [1, 1];
    if (values.length !== 2) {
      fail(`its attribute "${name}" must have two elements; only 2-D is read`);
    }
    return [values[0]!, values[1]!];
  }

  tensor(name: string): OnnxTensor | null {
    const value = this.#all.get(name);
    return value !== undefined && "tensor" in value ? value.tensor : null;
  }

  /** Refuses values other than the ones that the counterpart has. */
  only(name: string, found: string | number, ...allowed: (string | number)[]): void {
    if (!allowed.includes(found)) {
      fail(`its attribute "${name}" is ${found}; supported is ${allowed.join(" or ")}`);
    }
  }
}

class Importer {
  readonly graph: Graph;
  /** Initialisers that no operator has asked for yet. */
  readonly tensors = new Map<string, WeightTensor>();
  readonly #file: OnnxFile;
  readonly #values = new Map<string, Value>();
  /** What is known of vectors of sizes. */
  readonly #sizes = new Map<Value, readonly Size[]>();

  constructor(file: OnnxFile, graph: Graph) {
    this.#file = file;
    this.graph = graph;
  }

  input({ name, dtype, shape }: OnnxValueInfo): void {
    if (dtype === null || !dtypes.includes(dtype) || shape === null) {
      throw new ModelError(
        `${this.#file.name}: input "${name}" must be a tensor of known rank, of ` +
          dtypes.join(", "),
      );
    }
    const bad = shape.find((dim) => typeof dim === "number" && !(dim >= 0));
    if (bad !== undefined) {
      throw new ModelError(`${this.#file.name}: input "${name}" has an axis of size ${bad}`);
    }
    const dims: Dim[] = shape.map((dim, i) => dim === null || dim === "" ? `${name}.${i}` : dim);
    this.#values.set(name, this.#named(() => this.graph.input(name, dims, dtype as DType)));
  }

  output(name: string): void {
    const value = this.#value(name);
    this.#named(() => this.graph.output(name, value));
  }

  async node(node: OnnxNode): Promise<void> {
    try {
      if (node.domain !== "") fail(`it is of the operator set "${node.domain}"`);
      const results = await this.#build(node);
      node.outputs.forEach((name, i) => {
        if (name === "") return;
        if (this.#values.has(name)) fail(`its result "${name}" is there already`);
        this.#values.set(name, results[i] ?? fail(`its result ${i} isn't supported`));
      });
    } catch (cause) {
      if (!(cause instanceof OvsError)) throw cause;
      const label = node.name === "" ? "" : ` "${node.name}"`;
      throw new ModelError(`${this.#file.name}: operator ${node.op}${label}: ${cause.message}`, {
        cause,
      });
    }
  }

  /** Names that the graph refuses are the file's fault. */
  #named<T>(make: () => T): T {
    try {
      return make();
    } catch (cause) {
      if (!(cause instanceof OvsError)) throw cause;
      throw new ModelError(`${this.#file.name}: ${cause.message}`, { cause });
    }
  }

  #value(name: string): Value {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const tensor = this.tensors.get(name) ??
      fail(`${this.#file.name}: nothing gives the value "${name}"`);
    // Names that the graph builder gives, and refuses from others.
    const isConstant = /^(constant|[A-Z]\w*)_\d+$/.test(name) || !tensor.dtype.includes("float");
    const host = this.#host(name, tensor);
    const value = isConstant
      ? this.graph.constant(host.data as TypedArrayOf[DType], host.shape, host.dtype)
      : this.#named(() => this.graph.parameter(name, host));
    this.#values.set(name, value);
    return value;
  }

  #host(name: string, { dtype, shape, data }: WeightTensor): HostTensor {
    if (!dtypes.includes(dtype)) {
      fail(`tensor "${name}" is ${dtype}; graphs have ${dtypes.join(", ")}`);
    }
    return new HostTensor(dtype as DType, shape, data as TypedArrayOf[DType]);
  }

  /** The whole numbers of a value that is known; null where the operand is left out. */
  #numbers(value: Value | null | undefined, what: string): number[] | null {
    if (value === null || value === undefined) return null;
    if (value.data === null) return fail(`${what} must be known when the graph is read`);
    return Array.from(value.data.data as ArrayLike<number | bigint>, Number);
  }

  #sizesOf(value: Value): readonly Size[] | null {
    const whole = ["int64", "int32", "bool"].includes(value.dtype);
    if (value.data !== null && whole && value.rank <= 1) return this.#numbers(value, "sizes");
    return this.#sizes.get(value) ?? null;
  }

  /** Sizes for a shape: at most one that isn't followed, which follows from the others. */
  #target(value: Value): (number | ops.DimOf)[] {
    const sizes = this.#sizesOf(value) ??
      fail("its sizes are computed in a way that isn't followed");
    const open = sizes.filter((size) => size === null).length;
    if (open > 1 || (open === 1 && sizes.includes(-1))) {
      fail("more than one of its sizes is computed in a way that isn't followed");
    }
    return sizes.map((size) => size ?? -1);
  }

  async #build(node: OnnxNode): Promise<readonly Value[]> {
    const { op, name } = node;
    const a = new Attributes(node.attributes);
    if (op === "Cast") {
      const stored = this.#storedParameter(node, a);
      if (stored !== null) return [stored];
    }
    const inputs = node.inputs.map((input) => input === "" ? null : this.#value(input));
    const at = (i: number): Value => inputs[i] ?? fail(`its operand ${i} is missing`);
    const numbers = (i: number, what: string) => this.#numbers(inputs[i], what);
    const need = (i: number, what: string) => numbers(i, what) ?? fail(`${what} is missing`);
    const followed = (value: Value, sizes: readonly Size[] | null): readonly Value[] => {
      if (sizes !== null && value.data === null) this.#sizes.set(value, sizes);
      return [value];
    };

    if (op in unary) return [unary[op]!(at(0))];
    if (op in binary) {
      const value = binary[op]!(at(0), at(1));
      const [left, right] = [at(0), at(1)].map((operand) => this.#sizesOf(operand));
      const sizes = left && right && value.rank <= 1
        ? zip([left, right], ([x, y]) => combineSizes(op, x!, y!))
        : null;
      return followed(value, sizes);
    }
    if (op in reductions) {
      const axes = numbers(1, "its axes") ?? a.ints("axes");
      const none = axes === null || axes.length === 0;
      const keepDims = a.int("keepdims", 1) !== 0;
      if (none && a.int("noop_with_empty_axes", 0) !== 0) {
        return [reductions[op]!(at(0), [], keepDims)];
      }
      return [reductions[op]!(at(0), none ? null : axes, keepDims)];
    }
    switch (op) {
      case "Identity":
      case "Dropout":
        return [at(0)];
      case "Constant": {
        const tensor = a.tensor("value") ?? fail("only constants that are tensors are read");
        const { dtype, shape, data } = this.#host(name, await this.#file.readTensor(tensor));
        return [this.graph.constant(data, shape, dtype)];
      }
      case "ConstantOfShape": {
        const tensor = a.tensor("value");
        const { dtype, data } = tensor === null
          ? { dtype: "float32" as const, data: Float32Array.of(0) }
          : this.#host(name, await this.#file.readTensor(tensor));
        const value = this.graph.constant(data, [], dtype);
        const dims = this.#target(at(0));
        if (dims.includes(-1)) fail("its sizes are computed in a way that isn't followed");
        return [dims.length === 0 ? value : ops.expand(value, dims)];
      }
      case "Range": {
        const [start, limit, step] = [0, 1, 2].map((i) => need(i, "its range")[0] ?? NaN);
        const count = Math.max(0, Math.ceil((limit! - start!) / step!));
        if (!(count <= mostFilled)) fail(`its range has ${count} elements`);
        const list = Array.from({ length: count }, (_, i) => start! + i * step!);
        return [this.graph.constant(list, [count], at(0).dtype)];
      }

      case "Min":
      case "Max": {
        const pick = op === "Min" ? ops.min : ops.max;
        return [inputs.map((_, i) => at(i)).reduce((x, y) => pick(x, y))];
      }
      case "Mod":
        a.only("fmod", a.int("fmod", 0), 0);
        return [ops.mod(at(0), at(1))];
      case "Where": {
        const value = ops.where(at(0), at(1), at(2));
        const lists = inputs.map((_, i) => this.#sizesOf(at(i)));
        const known = value.rank <= 1 && lists.every((list) => list !== null);
        const pick = ([c, x, y]: readonly Size[]) => typeof c === "number" ? (c ? x! : y!) : null;
        return followed(value, known ? zip(lists.map((list) => list!), pick) : null);
      }
      case "Cast": {
        const dtype = onnxElementType(a.int("to", 0));
        if (dtype === null || !dtypes.includes(dtype)) fail("its type isn't one that graphs have");
        const value = ops.cast(at(0), dtype as DType);
        return followed(value, dtype.startsWith("int") ? this.#sizesOf(at(0)) : null);
      }
      case "Clip": {
        const bound = (i: number, otherwise: number) => numbers(i, "its bounds")?.[0] ?? otherwise;
        return [ops.clip(at(0), bound(1, -Infinity), bound(2, Infinity))];
      }
      case "Gelu":
        return [
          a.string("approximate", "none") === "tanh" ? ops.geluTanh(at(0)) : ops.gelu(at(0)),
        ];
      case "LeakyRelu":
        return [ops.where(ops.less(at(0), 0), ops.mul(at(0), a.float("alpha", 0.01)), at(0))];
      case "HardSigmoid":
        return [
          ops.clip(ops.add(ops.mul(at(0), a.float("alpha", 0.2)), a.float("beta", 0.5)), 0, 1),
        ];

      case "Softmax":
        return [ops.softmax(at(0), a.int("axis", -1))];
      case "LogSoftmax":
        return [ops.logSoftmax(at(0), a.int("axis", -1))];
      case "LayerNormalization": {
        const axis = a.int("axis", -1);
        if (axis !== -1 && axis !== at(0).rank - 1) fail("it normalises more than the last axis");
        const y = ops.layerNorm(at(0), at(1), inputs[2] ?? null, a.float("epsilon", 1e-5));
        // The mean and the inverse deviation are results, too.
        return y.node?.outputs ?? [y];
      }
      case "GroupNormalization":
        return [ops.groupNorm(
          at(0),
          a.int("num_groups", 0),
          at(1),
          at(2),
          a.float("epsilon", 1e-5),
        )];

      case "Gemm": {
        const product = ops.gemm(at(0), at(1), {
          transposeA: a.int("transA", 0) !== 0,
          transposeB: a.int("transB", 0) !== 0,
        });
        const scaled = (x: Value, factor: number) => factor === 1 ? x : ops.mul(x, factor);
        const left = scaled(product, a.float("alpha", 1));
        return [inputs[2] ? ops.add(left, scaled(at(2), a.float("beta", 1))) : left];
      }
      case "Einsum":
        return [ops.einsum(a.string("equation", ""), ...inputs.map((_, i) => at(i)))];
      case "Conv":
      case "ConvTranspose": {
        a.only("auto_pad", a.string("auto_pad", "NOTSET"), "NOTSET");
        const pads = a.ints("pads") ?? [0, 0, 0, 0];
        if (pads.length !== 4) fail('its attribute "pads" must have four elements');
        const geometry = {
          strides: a.pair("strides"),
          dilations: a.pair("dilations"),
          pads: [pads[0]!, pads[1]!, pads[2]!, pads[3]!] as const,
          groups: a.int("group", 1),
        };
        const all = [...geometry.strides, ...geometry.dilations, geometry.groups];
        if (all.some((n) => !(n >= 1)) || pads.some((n) => !(n >= 0))) {
          fail("its strides, dilations and groups must be at least 1, its padding at least 0");
        }
        if (op === "Conv") return [ops.conv(at(0), at(1), inputs[2] ?? null, geometry)];
        if (a.ints("output_shape") !== null) fail('its attribute "output_shape" isn\'t supported');
        const more = a.ints("output_padding") ?? [0, 0];
        const outputPadding = [more[0] ?? 0, more[1] ?? 0] as const;
        const options = { ...geometry, outputPadding };
        return [ops.convTranspose(at(0), at(1), inputs[2] ?? null, options)];
      }
      case "GlobalAveragePool":
        return [ops.reduceMean(at(0), at(0).shape.map((_, i) => i).slice(2), true)];

      case "Shape": {
        const x = at(0);
        const clamp = (n: number) => Math.min(Math.max(n < 0 ? n + x.rank : n, 0), x.rank);
        const [start, end] = [clamp(a.int("start", 0)), clamp(a.int("end", x.rank))];
        const axes = x.shape.map((_, i) => i).slice(start, end);
        const sizes = axes.map((axis) => ops.dimOf(x, axis));
        if (sizes.every((size) => typeof size === "number")) {
          return [this.graph.constant(sizes as number[], [sizes.length], "int64")];
        }
        const value = this.graph.add("Shape", [x], [{ dtype: "int64", shape: [sizes.length] }], {
          start: { int: start },
          end: { int: end },
        });
        return followed(value[0]!, sizes);
      }
      case "Reshape": {
        const x = at(0);
        const copies = a.int("allowzero", 0) === 0;
        const sizes = this.#target(at(1)).map((size, i) =>
          size === 0 && copies && i < x.rank ? ops.dimOf(x, i) : size
        );
        const value = ops.reshape(x, sizes);
        return followed(value, value.rank <= 1 ? this.#sizesOf(x) : null);
      }
      case "Flatten": {
        const [x, axis] = [at(0), a.int("axis", 1)];
        const cut = axis < 0 ? axis + x.rank : axis;
        const lead = x.shape.slice(0, cut);
        const known = lead.every((dim) => typeof dim === "number");
        const rows = cut === 1 ? ops.dimOf(x, 0) : known ? sizeOf(lead as number[]) : null;
        return [ops.reshape(x, [rows ?? fail("its leading sizes must be known"), -1])];
      }
      case "Transpose":
        return [
          ops.transpose(at(0), a.ints("perm") ?? at(0).shape.map((_, i) => i).reverse()),
        ];
      case "Unsqueeze":
        return followed(
          ops.unsqueeze(at(0), numbers(1, "its axes") ?? a.ints("axes") ?? fail("no axes")),
          this.#sizesOf(at(0)),
        );
      case "Squeeze": {
        const ones = at(0).shape.flatMap((dim, i) => dim === 1 ? [i] : []);
        const axes = numbers(1, "its axes") ?? a.ints("axes") ?? ones;
        return followed(ops.squeeze(at(0), axes), this.#sizesOf(at(0)));
      }
      case "Expand": {
        const x = at(0);
        const target = this.#target(at(1));
        if (target.includes(-1)) fail("its sizes are computed in a way that isn't followed");
        // Both sides broadcast: where the shape says 1, or nothing, the operand's own size stays.
        const rank = Math.max(x.rank, target.length);
        const dims = Array.from({ length: rank }, (_, i) => {
          const size = target[i - rank + target.length] ?? 1;
          const own = i - rank + x.rank;
          return size === 1 && own >= 0 ? ops.dimOf(x, own) : size;
        });
        return [ops.expand(x, dims)];
      }
      case "Tile":
        return [ops.tile(at(0), need(1, "its counts"))];
      case "Concat": {
        const values = inputs.map((_, i) => at(i));
        const parts = values.map((value) => this.#sizesOf(value) ?? openSizes(value));
        const joined = ops.concat(values, a.int("axis", 0));
        const known = parts.every((part) => part !== null) && joined.dtype === "int64";
        return followed(joined, known ? parts.flatMap((part) => part!) : null);
      }
      case "Split": {
        const axis = ops.normalizeAxis("split", at(0), a.int("axis", 0));
        const given = numbers(1, "its sizes") ?? a.ints("split");
        if (given !== null) return ops.split(at(0), given, axis);
        const dim = at(0).shape[axis];
        if (typeof dim !== "number") fail(`axis ${axis} must have a known size`);
        const count = node.outputs.length;
        const part = Math.ceil(dim / count);
        const sizes = Array.from({ length: count }, (_, i) => Math.min(part, dim - i * part));
        if (sizes.some((size) => size < 1)) fail(`${dim} elements don't make ${count} parts`);
        return ops.split(at(0), sizes, axis);
      }
      case "Slice":
        return this.#slice(inputs, followed);
      case "Pad": {
        a.only("mode", a.string("mode", "constant"), "constant");
        const x = at(0);
        const widths = need(1, "its widths");
        const axes = (numbers(3, "its axes") ?? x.shape.map((_, i) => i))
          .map((axis) => ops.normalizeAxis("pad", x, axis));
        if (widths.length !== 2 * axes.length) fail("it needs two widths for each axis");
        const [before, after] = [x.shape.map(() => 0), x.shape.map(() => 0)];
        axes.forEach((axis, i) => {
          before[axis] = widths[i]!;
          after[axis] = widths[i + axes.length]!;
        });
        return [ops.pad(x, before, after, numbers(2, "its value")?.[0] ?? 0)];
      }
      case "SpaceToDepth":
        return [ops.spaceToDepth(at(0), a.int("blocksize", 1))];
      case "DepthToSpace":
        a.only("mode", a.string("mode", "DCR"), "DCR");
        return [ops.depthToSpace(at(0), a.int("blocksize", 1))];

      case "Gather": {
        const value = ops.gather(at(0), at(1), a.int("axis", 0));
        const sizes = this.#sizesOf(at(0));
        const picks = at(1).data === null ? null : this.#numbers(at(1), "its indices");
        if (sizes === null || picks === null) return [value];
        return followed(value, picks.map((i) => sizes[i < 0 ? i + sizes.length : i] ?? null));
      }
      case "GatherElements":
        return [ops.gatherElements(at(0), at(1), a.int("axis", 0))];
      case "GatherND":
        return [ops.gatherND(at(0), at(1), a.int("batch_dims", 0))];
      case "ScatterElements":
      case "ScatterND": {
        const reduction = a.string("reduction", "none");
        a.only("reduction", reduction, "none", "add");
        const how = reduction === "add" ? "add" : "none";
        return op === "ScatterND"
          ? [ops.scatterND(at(0), at(1), at(2), how)]
          : [ops.scatterElements(at(0), at(1), at(2), a.int("axis", 0), how)];
      }
      case "CumSum":
        a.only("exclusive", a.int("exclusive", 0), 0);
        return [ops.cumSum(at(0), need(1, "its axis")[0] ?? NaN, a.int("reverse", 0) !== 0)];
      case "ArgMax": {
        a.only("select_last_index", a.int("select_last_index", 0), 0);
        const axis = a.int("axis", 0);
        const index = ops.argMax(at(0), axis);
        if (a.int("keepdims", 1) === 0) return [index];
        return [ops.unsqueeze(index, [ops.normalizeAxis("argMax", at(0), axis)])];
      }
      case "TopK": {
        a.only("largest", a.int("largest", 1), 1);
        const { values, indices } = ops.topK(at(0), need(1, "its count")[0]!, a.int("axis", -1));
        return [values, indices];
      }
      case "GridSample": {
        a.only("mode", a.string("mode", "linear"), "linear", "bilinear");
        a.only("padding_mode", a.string("padding_mode", "zeros"), "zeros");
        const alignCorners = a.int("align_corners", 0) !== 0;
        return [ops.gridSample(at(0), at(1), { alignCorners })];
      }
      case "Resize":
        return [this.#resize(inputs, a)];
      default:
        return fail("the graph builder has no such operator");
    }
  }

  /** A parameter that the file stores in fewer bits, which a Cast brings back. */
  #storedParameter(node: OnnxNode, a: Attributes): Value | null {
    const [name] = node.inputs;
    const [result] = node.outputs;
    const tensor = this.tensors.get(name ?? "");
    const narrow = tensor?.dtype === "float16" || tensor?.dtype === "bfloat16";
    if (!narrow || onnxElementType(a.int("to", 0)) !== "float32" || !result) return null;
    return this.graph.parameter(result, toFloat32(tensor));
  }

  #slice(
    inputs: readonly (Value | null)[],
    followed: (value: Value, sizes: readonly Size[] | null) => readonly Value[],
  ): readonly Value[] {
    const [x, from, to, third, fourth] = inputs;
    if (!x || !from || !to) return fail("its operands are missing");
    const starts = this.#numbers(from, "its starts")!;
    const ends = this.#sizesOf(to) ?? fail("its ends are computed in a way that isn't followed");
    const axes = this.#numbers(third, "its axes") ?? starts.map((_, i) => i);
    const steps = this.#numbers(fourth, "its steps") ?? starts.map(() => 1);
    if ([ends, axes, steps].some((list) => list.length !== starts.length)) {
      fail("starts, ends, axes and steps must be as many");
    }
    const open = (n: number) => n >= endless ? Infinity : n <= -endless ? -Infinity : n;
    let sizes = this.#sizesOf(x);
    let value = x;
    for (const [i, axis] of axes.entries()) {
      const step = steps[i]!;
      const end = ends[i] ?? fail("its ends are computed in a way that isn't followed");
      const start = open(starts[i]!);
      const stop = typeof end === "number" ? open(end) : end;
      value = ops.slice(value, axis, start, stop, step);
      if (typeof stop === "number" && step === 1) sizes = sizes?.slice(start, stop) ?? null;
      else sizes = null;
    }
    return followed(value, sizes);
  }

  #resize(inputs: readonly (Value | null)[], a: Attributes): Value {
    const [x, , scales, sizes] = inputs;
    if (!x) return fail("its operand is missing");
    const coordinates = a.string("coordinate_transformation_mode", "half_pixel");
    a.only("mode", a.string("mode", "nearest"), "linear");
    a.only("coordinate_transformation_mode", coordinates, "half_pixel", "align_corners");
    a.only("antialias", a.int("antialias", 0), 0);
    if (a.ints("axes") !== null) fail('its attribute "axes" isn\'t supported');
    let target: readonly Size[];
    if (sizes) {
      target = this.#sizesOf(sizes) ?? fail("its sizes are computed in a way that isn't followed");
    } else {
      const factors = this.#numbers(scales, "its scales") ??
        fail("it has neither sizes nor scales");
      target = x.shape.map((dim, i) =>
        typeof dim === "number"
          ? Math.floor(dim * factors[i]!)
          : factors[i] === 1
          ? ops.dimOf(x, i)
          : null
      );
    }
    if (target.length !== 4) fail("it needs four axes");
    const [, , height, width] = target;
    const missing = "its height and width must be known";
    const dims = [height ?? fail(missing), width ?? fail(missing)] as const;
    if (dims.some((dim) => typeof dim === "number" && !(dim >= 1))) fail(missing);
    return ops.resizeBilinear(x, dims[0], dims[1], {
      alignCorners: coordinates === "align_corners",
    });
  }
}

/** As many unknown sizes as a vector has elements. */
function openSizes(value: Value): readonly Size[] | null {
  const [count] = value.shape;
  const isVector = value.rank === 1 && typeof count === "number" && count <= 64;
  return isVector ? new Array<Size>(count).fill(null) : null;
}

/** Vectors of sizes element by element; those of one element broadcast. */
function zip(
  lists: readonly (readonly Size[])[],
  combine: (elements: readonly Size[]) => Size,
): readonly Size[] {
  const count = Math.max(...lists.map((list) => list.length));
  return Array.from(
    { length: count },
    (_, i) => combine(lists.map((list) => (list.length === 1 ? list[0] : list[i]) ?? null)),
  );
}

/** What exporters compute with sizes: mostly whether one is the -1 of "leave it as it is". */
function combineSizes(op: string, x: Size, y: Size): Size {
  if (x === null || y === null) return null;
  if (typeof x === "number" && typeof y === "number") {
    if (op === "Equal") return Number(x === y);
    if (op === "Mul") return x * y;
    if (op === "Add") return x + y;
    return op === "Sub" ? x - y : null;
  }
  if (op === "Equal") return Number(x) < 0 || Number(y) < 0 ? 0 : null;
  if (op === "Mul" && (x === 1 || y === 1)) return x === 1 ? y : x;
  return null;
}
