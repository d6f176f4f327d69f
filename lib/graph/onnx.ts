/**
 * Serialises a {@linkcode Graph} as an ONNX file. Field numbers are those of `onnx.proto3`.
 *
 * @module
 */
import protobuf from "protobufjs/minimal.js";
import { toFloat16Array } from "../float16.ts";
import { type DType, HostTensor } from "../tensor.ts";
import type { Attribute, Dim, Graph, GraphNode, Value } from "./graph.ts";

type Writer = protobuf.Writer;

/** Options of {@linkcode Graph.toOnnx}. */
export interface EncodeOptions {
  /**
   * How float32 parameters are stored. `float16` halves the file; a Cast brings them back to
   * float32, which ONNX Runtime folds away when it loads the model.
   */
  parameterStorage?: "float32" | "float16";
  /** Key and value pairs kept in the file's metadata. */
  metadata?: Readonly<Record<string, string>>;
  /**
   * Asked for every initialiser: where its bytes lie outside the file, or null to keep them in it.
   * `writeOnnx` of `@ovstage/ovstage/weights` answers it.
   */
  external?: (name: string, bytes: Uint8Array) => ExternalData | null;
}

/** The place of an initialiser's bytes in another file. */
export interface ExternalData {
  /** The file's path, relative to the ONNX file. */
  readonly location: string;
  /** Its first byte in that file. */
  readonly offset: number;
}

/** The version of the operator set in use. */
export const opset = 20;

const irVersion = 9;
const dataType: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
};

/** The number that ONNX gives an element type, as `Cast` wants it. */
export function onnxDataType(dtype: DType): number {
  return dataType[dtype];
}

/** The nodes that some output depends on, in their order. */
export function liveNodes(graph: Graph): GraphNode[] {
  const live = new Set<GraphNode>();
  const mark = (value: Value | null) => {
    if (value?.node) live.add(value.node);
  };
  for (const value of graph.outputs.values()) mark(value);
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i]!;
    if (live.has(node)) node.inputs.forEach(mark);
  }
  return graph.nodes.filter((node) => live.has(node));
}

/** Serialises a graph; see {@linkcode Graph.toOnnx}. */
export function encodeModel(graph: Graph, options: EncodeOptions = {}): Uint8Array {
  const writer = protobuf.Writer.create();
  writer.uint32(8).int64(irVersion);
  writer.uint32(18).string("ovstage");
  message(writer, 7, (w) => encodeGraph(w, graph, options));
  message(writer, 8, (w) => w.uint32(10).string("").uint32(16).int64(opset));
  for (const [key, value] of Object.entries(options.metadata ?? {})) {
    message(writer, 14, (w) => w.uint32(10).string(key).uint32(18).string(value));
  }
  return writer.finish();
}

function message(writer: Writer, field: number, body: (w: Writer) => void): void {
  writer.uint32((field << 3) | 2).fork();
  body(writer);
  writer.ldelim();
}

function encodeGraph(w: Writer, graph: Graph, options: EncodeOptions): void {
  const nodes = liveNodes(graph);
  const used = new Set<Value | null>(nodes.flatMap((node) => node.inputs));
  for (const value of graph.outputs.values()) used.add(value);
  const half = options.parameterStorage === "float16";

  for (const value of graph.parameters.values()) {
    if (used.has(value) && half && value.dtype === "float32") {
      encodeNode(w, "Cast", [`${value.name}.float16`], [value.name], {
        to: { int: dataType.float32 },
      });
    }
  }
  for (const node of nodes) {
    const inputs = node.inputs.map((value) => value?.name ?? "");
    while (inputs.at(-1) === "") inputs.pop();
    encodeNode(w, node.op, inputs, node.outputs.map((value) => value.name), node.attributes);
  }
  for (const [name, value] of graph.outputs) encodeNode(w, "Identity", [value.name], [name], {});

  w.uint32(18).string(graph.name);
  for (const value of [...graph.parameters.values(), ...graph.constants]) {
    if (!used.has(value)) continue;
    const tensor = value.data!;
    if (half && graph.parameters.has(value.name) && tensor.dtype === "float32") {
      const bits = toFloat16Array(tensor.data as Float32Array);
      const stored = new HostTensor("float16", tensor.shape, bits);
      encodeTensor(w, `${value.name}.float16`, stored, options);
    } else encodeTensor(w, value.name, tensor, options);
  }
  for (const value of graph.inputs) encodeValueInfo(w, 11, value.name, value.dtype, value.shape);
  for (const [name, value] of graph.outputs) {
    encodeValueInfo(w, 12, name, value.dtype, value.shape);
  }
}

function encodeNode(
  w: Writer,
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, Attribute>>,
): void {
  message(w, 1, (n) => {
    for (const name of inputs) n.uint32(10).string(name);
    for (const name of outputs) n.uint32(18).string(name);
    n.uint32(34).string(op);
    for (const [name, value] of Object.entries(attributes)) {
      message(n, 5, (a) => encodeAttribute(a, name, value));
    }
  });
}

function encodeAttribute(a: Writer, name: string, value: Attribute): void {
  a.uint32(10).string(name);
  let type: number;
  if ("float" in value) {
    a.uint32((2 << 3) | 5).float(value.float);
    type = 1;
  } else if ("int" in value) {
    a.uint32(3 << 3).int64(value.int);
    type = 2;
  } else if ("string" in value) {
    a.uint32((4 << 3) | 2).string(value.string);
    type = 3;
  } else if ("floats" in value) {
    for (const x of value.floats) a.uint32((7 << 3) | 5).float(x);
    type = 6;
  } else {
    for (const x of value.ints) a.uint32(8 << 3).int64(x);
    type = 7;
  }
  a.uint32(20 << 3).int32(type);
}

function encodeTensor(w: Writer, name: string, tensor: HostTensor, options: EncodeOptions): void {
  const { buffer, byteOffset, byteLength } = tensor.data;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const external = options.external?.(name, bytes) ?? null;
  message(w, 5, (t) => {
    for (const dim of tensor.shape) t.uint32(1 << 3).int64(dim);
    t.uint32(2 << 3).int32(dataType[tensor.dtype]);
    t.uint32((8 << 3) | 2).string(name);
    if (external === null) {
      t.uint32((9 << 3) | 2).bytes(bytes);
      return;
    }
    const { location, offset } = external;
    for (const [key, value] of Object.entries({ location, offset, length: byteLength })) {
      message(t, 13, (e) => e.uint32(10).string(key).uint32(18).string(String(value)));
    }
    t.uint32(14 << 3).int32(1);
  });
}

function encodeValueInfo(
  w: Writer,
  field: number,
  name: string,
  dtype: DType,
  shape: readonly Dim[],
): void {
  message(w, field, (v) => {
    v.uint32(10).string(name);
    message(v, 2, (type) =>
      message(type, 1, (tensor) => {
        tensor.uint32(1 << 3).int32(dataType[dtype]);
        message(tensor, 2, (s) => {
          for (const dim of shape) {
            message(s, 1, (d) => {
              if (typeof dim === "number") d.uint32(1 << 3).int64(dim);
              else d.uint32((2 << 3) | 2).string(dim);
            });
          }
        });
      }));
  });
}
