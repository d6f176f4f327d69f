/**
 * Operators that ONNX Runtime's WebGPU provider lacks, written out in those that it has.
 *
 * @module
 */
import protobuf from "protobufjs/minimal.js";

/** A node of an ONNX graph, as far as it is looked at here. */
interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly blockSize: number;
}

type Writer = protobuf.Writer;

/** A field of a message: its number and where it lies, its tag included. */
interface Field {
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

const GRAPH = 7;
const NODE = 1;
const BYTES = 2;

/** The fields of a message, and where the contents of each begin after tag and length. */
function* fieldsOf(bytes: Uint8Array): Generator<Field & { readonly contents: Uint8Array }> {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    let contents = bytes.subarray(0, 0);
    if ((tag & 7) === BYTES) {
      const length = reader.uint32();
      contents = bytes.subarray(reader.pos, reader.pos + length);
      reader.skip(length);
    } else reader.skipType(tag & 7);
    yield { number: tag >>> 3, start, end: reader.pos, contents };
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** The attribute's integer if it is the one asked for. */
function integerAttribute(bytes: Uint8Array, wanted: string): number | null {
  const reader = protobuf.Reader.create(bytes);
  let name = "";
  let value = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) name = reader.string();
    else if (tag >>> 3 === 3) value = Number(reader.int64());
    else reader.skipType(tag & 7);
  }
  return name === wanted ? value : null;
}

function readNode(bytes: Uint8Array): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let [op, domain, blockSize] = ["", "", 0];
  for (const { number, contents } of fieldsOf(bytes)) {
    if (number === 1) inputs.push(text(contents));
    else if (number === 2) outputs.push(text(contents));
    else if (number === 4) op = text(contents);
    else if (number === 7) domain = text(contents);
    else if (number === 5) blockSize = integerAttribute(contents, "blocksize") ?? blockSize;
  }
  return { op, domain, inputs, outputs, blockSize };
}

function message(writer: Writer, field: number, body: (w: Writer) => void): void {
  writer.uint32(field << 3 | BYTES).fork();
  body(writer);
  writer.ldelim();
}

/** Writes the nodes and constants that a SpaceToDepth stands for into a graph. */
function writeOut(graph: Writer, { inputs, outputs, blockSize }: Node): void {
  const [x, y] = [inputs[0]!, outputs[0]!];
  const name = (part: string) => `${y}/space_to_depth/${part}`;
  const node = (
    op: string,
    from: readonly string[],
    to: string,
    attribute?: { name: string; ints: readonly number[] } | { name: string; int: number },
  ) =>
    message(graph, NODE, (w) => {
      for (const input of from) w.uint32(10).string(input);
      w.uint32(18).string(to).uint32(34).string(op);
      if (attribute === undefined) return;
      message(w, 5, (a) => {
        a.uint32(10).string(attribute.name);
        if ("int" in attribute) a.uint32(3 << 3).int64(attribute.int).uint32(20 << 3).int32(2);
        else {
          for (const int of attribute.ints) a.uint32(8 << 3).int64(int);
          a.uint32(20 << 3).int32(7);
        }
      });
    });
  const constant = (part: string, ints: readonly number[]) => {
    message(graph, 5, (t) => {
      t.uint32(1 << 3).int64(ints.length).uint32(2 << 3).int32(7);
      message(t, 7, (data) => ints.forEach((int) => data.int64(int)));
      t.uint32((8 << 3) | BYTES).string(name(part));
    });
    return name(part);
  };
  // Sizes are computed on the host, where the provider leaves them.
  const block = constant("block", [blockSize]);
  node("Shape", [x], name("shape"));
  for (const [axis, index] of [["rows", 2], ["columns", 3]] as const) {
    node("Gather", [name("shape"), constant(`axis of ${axis}`, [index])], name(`all ${axis}`), {
      name: "axis",
      int: 0,
    });
    node("Div", [name(`all ${axis}`), block], name(axis));
  }
  // B×C×h×b×w×b → B×b×b×C×h×w; in a target shape, 0 keeps a size and −1 takes what is left.
  const apart = [constant("kept", [0, 0]), name("rows"), block, name("columns"), block];
  node("Concat", apart, name("apart"), { name: "axis", int: 0 });
  node("Reshape", [x, name("apart")], name("split"));
  node("Transpose", [name("split")], name("turned"), { name: "perm", ints: [0, 3, 5, 1, 2, 4] });
  const merged = [constant("merged", [0, -1]), name("rows"), name("columns")];
  node("Concat", merged, name("together"), { name: "axis", int: 0 });
  node("Reshape", [name("turned"), name("together")], y);
}

/**
 * Writes SpaceToDepth out as Reshape, Transpose, Reshape. ONNX Runtime's WebGPU provider has no such
 * operator: the CPU would run it, at the price of a read-back and an upload in the middle of the graph.
 *
 * @param model The bytes of an ONNX file. Whatever is no model comes back as it is.
 * @returns The bytes of one that computes the same; the given ones where there is nothing to do.
 */
export function writeOutSpaceToDepth(model: Uint8Array): Uint8Array {
  try {
    let graph: (Field & { readonly contents: Uint8Array }) | null = null;
    for (const field of fieldsOf(model)) if (field.number === GRAPH) graph = field;
    if (graph === null) return model;
    const targets = new Map<number, Node>();
    for (const { number, start, contents } of fieldsOf(graph.contents)) {
      if (number !== NODE) continue;
      const node = readNode(contents);
      if (node.op !== "SpaceToDepth" || !["", "ai.onnx"].includes(node.domain)) continue;
      if (node.blockSize >= 1) targets.set(start, node);
    }
    if (targets.size === 0) return model;
    const parts: Uint8Array[] = [];
    for (const { start, end } of fieldsOf(graph.contents)) {
      const node = targets.get(start);
      if (node === undefined) parts.push(graph.contents.subarray(start, end));
      else {
        const writer = protobuf.Writer.create();
        writeOut(writer, node);
        parts.push(writer.finish());
      }
    }
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    const head = protobuf.Writer.create().uint32(GRAPH << 3 | BYTES).uint32(size).finish();
    return concatenate([
      model.subarray(0, graph.start),
      head,
      ...parts,
      model.subarray(graph.end),
    ]);
  } catch {
    // No model: whoever loads it says so.
    return model;
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
