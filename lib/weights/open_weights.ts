/**
 * Opens a file of weights, whatever its format.
 *
 * @module
 */
import { ModelError } from "../errors.ts";
import { type ByteSource, readRange } from "./byte_source.ts";
import { openOnnx } from "./onnx_model.ts";
import { openSafetensors } from "./safetensors.ts";
import { openSharded } from "./sharded.ts";
import { openTorchCheckpoint, type TorchOptions } from "./torch_checkpoint.ts";
import type { WeightFile } from "./weight_file.ts";

/** Options of {@linkcode openWeights}. */
export interface OpenWeightsOptions extends TorchOptions {
  /**
   * Opens a file next to this one by its relative path: the files of an index, the external data
   * of an ONNX file.
   */
  readonly sibling?: (path: string) => Promise<ByteSource>;
}

/**
 * Opens safetensors, PyTorch checkpoints, ONNX files, and indices of sharded weights
 * (`*.index.json`). The format is told by the bytes, not by the name.
 *
 * @param source The file.
 * @throws {ModelError} If the file is of none of these formats, or damaged.
 *
 * @example
 * ```ts
 * import { float32 } from "@ovstage/ovstage";
 * import { bytesSource, openWeights, writeSafetensors } from "@ovstage/ovstage/weights";
 * const bytes = writeSafetensors([["bias", float32([3])]]);
 * const file = await openWeights(bytesSource("model.safetensors", bytes));
 * console.log([...file.entries.keys()]); // ["bias"]
 * ```
 */
export async function openWeights(
  source: ByteSource,
  options: OpenWeightsOptions = {},
): Promise<WeightFile> {
  const head = await readRange(source, 0, Math.min(16, source.size), "the file's start");
  if (head.length === 0) throw new ModelError(`${source.name}: the file is empty`);
  // First, since the length that a safetensors file starts with may look like any other start.
  if (head[8] === 0x7b && head.subarray(4, 8).every((byte) => byte === 0)) {
    return openSafetensors(source);
  }
  // A zip archive starts with "PK"; a bare pickle with its protocol is refused with advice.
  if ((head[0] === 0x50 && head[1] === 0x4b) || (head[0] === 0x80 && head[1]! <= 5)) {
    return openTorchCheckpoint(source, options);
  }
  if (/^\s*\{/.test(String.fromCharCode(...head))) {
    const { sibling } = options;
    if (sibling === undefined) {
      throw new ModelError(
        `${source.name}: an index of several files; give openWeights a way to open them`,
      );
    }
    const { sibling: _, ...rest } = options;
    return openSharded(source, async (file) => openWeights(await sibling(file), rest));
  }
  // An ONNX file starts with its version, which is field 1.
  if (head[0] === 0x08) return openOnnx(source, options);
  throw new ModelError(
    `${source.name}: not a file of weights; known are safetensors, PyTorch's zip checkpoints, ` +
      "ONNX and indices of sharded weights",
  );
}
