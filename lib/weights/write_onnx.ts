/**
 * Writes ONNX files whose large tensors lie in a second file, as they must where the first would
 * exceed protobuf's 2 GB.
 *
 * @module
 */
import { OptionError } from "../errors.ts";
import type { EncodeOptions, Graph } from "../graph/mod.ts";
import { checkSibling } from "./byte_source.ts";

/** Options of {@linkcode writeOnnx}. */
export interface WriteOnnxOptions extends Omit<EncodeOptions, "external"> {
  /** The name of the file for tensors, next to the ONNX file; `weights.bin` where left out. */
  readonly location?: string;
  /** Tensors of at least this many bytes go there; 1024 where left out. */
  readonly minBytes?: number;
}

/** An ONNX file and its tensors. */
export interface OnnxParts {
  /** The bytes of the ONNX file. */
  readonly model: Uint8Array;
  /** The file of tensors; null where none is large enough. */
  readonly external: {
    /** Its name. */
    readonly location: string;
    /** Its length in bytes. */
    readonly size: number;
    /** Its bytes, in pieces that follow one another and share the tensors' memory. */
    readonly pieces: readonly Uint8Array[];
  } | null;
}

/** Large tensors start where a system can map them into memory, small ones where a vector fits. */
const alignmentOf = (bytes: number) => bytes >= 1 << 20 ? 4096 : 64;

/**
 * Writes a graph as an ONNX file with external data.
 *
 * @param graph The graph.
 * @returns The ONNX file, and the file that must lie next to it.
 * @throws {ModelError} If `location` isn't a relative path inside of the folder.
 *
 * @example
 * ```ts
 * import { float32 } from "@ovstage/ovstage";
 * import { Graph, ops } from "@ovstage/ovstage/graph";
 * import { writeOnnx } from "@ovstage/ovstage/weights";
 * const graph = new Graph("project");
 * const weight = graph.parameter("weight", float32([64, 32]));
 * graph.output("y", ops.matMul(graph.input("x", ["N", 64]), weight));
 * const { model, external } = writeOnnx(graph, { location: "project.bin" });
 * console.log(model.length < 1000, external!.size); // true 8192
 * ```
 */
export function writeOnnx(graph: Graph, options: WriteOnnxOptions = {}): OnnxParts {
  const { location = "weights.bin", minBytes = 1024, ...rest } = options;
  checkSibling("writeOnnx: location", location);
  if (!(minBytes >= 0)) {
    throw new OptionError(`writeOnnx: minBytes is ${minBytes}; it must be at least 0`);
  }
  const pieces: Uint8Array[] = [];
  let size = 0;
  const model = graph.toOnnx({
    ...rest,
    external(_name, bytes) {
      if (bytes.length < minBytes || bytes.length === 0) return null;
      const alignment = alignmentOf(bytes.length);
      const offset = Math.ceil(size / alignment) * alignment;
      if (offset > size) pieces.push(new Uint8Array(offset - size));
      pieces.push(bytes);
      size = offset + bytes.length;
      return { location, offset };
    },
  });
  return { model, external: pieces.length === 0 ? null : { location, size, pieces } };
}
