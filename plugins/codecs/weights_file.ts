/**
 * Files of weights on disk, read by random access, in Deno and Node.
 *
 * @module
 */
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { InputError } from "../../lib/errors.ts";
import {
  type ByteSource,
  openWeights,
  type TorchOptions,
  type WeightFile,
} from "../../lib/weights/mod.ts";

/** A file on disk that bytes can be read from until it is disposed of. */
export interface FileSource extends ByteSource, AsyncDisposable {}

/**
 * Opens a file on disk.
 *
 * @param path The file.
 * @throws {InputError} If it isn't there or can't be read.
 */
export async function fileSource(path: string): Promise<FileSource> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    const reason = code === "ENOENT"
      ? `no such file (looked for ${resolve(path)})`
      : `can't be read: ${message}`;
    throw new InputError(`${path}: ${reason}`, { cause });
  }
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw new InputError(`${path}: is not a file; name the file in it`);
  }
  return {
    name: path,
    size: stat.size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const { bytesRead } = await file.read(bytes, at, length - at, offset + at);
        if (bytesRead === 0) return bytes.subarray(0, at);
        at += bytesRead;
      }
      return bytes;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/**
 * Opens a file of weights on disk: safetensors, a PyTorch checkpoint, an ONNX file, or an index of
 * sharded weights, whose files lie next to it. Only what is asked for is read.
 *
 * @param path The file.
 * @returns Its tensors, until it is disposed of.
 * @throws {InputError} If a file isn't there or can't be read.
 * @throws {ModelError} If it isn't valid; see `openWeights`.
 *
 * @example
 * ```ts ignore
 * import { openWeightsFile } from "@ovstage/ovstage/read-weights";
 * await using file = await openWeightsFile("clip/model.safetensors.index.json");
 * const { data } = await file.read("text_model.embeddings.token_embedding.weight");
 * ```
 */
export async function openWeightsFile(
  path: string,
  options: TorchOptions = {},
): Promise<WeightFile & AsyncDisposable> {
  const opened = new Map<string, Promise<FileSource>>();
  const source = (name: string) => {
    const known = opened.get(name) ?? fileSource(name);
    opened.set(name, known);
    return known;
  };
  const close = async () => {
    const settled = await Promise.allSettled(opened.values());
    opened.clear();
    for (const { value } of settled.filter((result) => result.status === "fulfilled")) {
      await value[Symbol.asyncDispose]();
    }
  };
  try {
    const sibling = (name: string) => source(join(dirname(path), name));
    const weights = await openWeights(await source(path), { ...options, sibling });
    return { ...weights, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}
