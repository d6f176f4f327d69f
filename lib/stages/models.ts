/**
 * Where stages read their model files from: a folder or an address, in any runtime.
 *
 * @module
 */
import { ModelError } from "../errors.ts";

/** Reads model files by name. */
export interface ModelSource {
  /** The folder or address, as shown to people. */
  readonly location: string;
  /**
   * Reads a file.
   *
   * @param name Its name inside the source, such as `image_encoder.onnx`.
   * @throws {ModelError} If it is missing or can't be read; names the file.
   */
  read(name: string): Promise<Uint8Array>;
}

interface FileSystem {
  readFile(path: URL): Promise<Uint8Array>;
}

async function readBytes(url: URL): Promise<Uint8Array> {
  if (url.protocol !== "file:") {
    const response = await fetch(url);
    if (!response.ok) {
      throw new Error(`the server answered ${response.status} ${response.statusText}`.trimEnd());
    }
    return new Uint8Array(await response.arrayBuffer());
  }
  // Not a literal, so that bundlers for the browser leave it alone: there are no file URLs there.
  const module = "node:fs/promises";
  const files: FileSystem = await import(module);
  const bytes = await files.readFile(url);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads models from a folder (`file:` URL) or an address (`https:`).
 *
 * @param base The folder or address; it is taken as a folder even without a slash at its end.
 *
 * @example
 * ```ts
 * import { modelsAt } from "@ovstage/ovstage";
 * console.log(modelsAt("https://example.org/models").location); // https://example.org/models/
 * ```
 */
export function modelsAt(base: URL | string): ModelSource {
  const folder = new URL(base);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  return {
    location: folder.href,
    async read(name) {
      const url = new URL(name, folder);
      try {
        return await readBytes(url);
      } catch (error) {
        const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
        const detail = missing ? "no such file" : (error as Error).message;
        throw new ModelError(`model ${name}: ${detail} (looked at ${url.href})`, { cause: error });
      }
    },
  };
}

/**
 * Models in memory; for tests, and for pages that fetch in ways of their own.
 *
 * @param files Bytes by file name.
 */
export function modelsIn(files: Readonly<Record<string, Uint8Array>>): ModelSource {
  return {
    location: "memory",
    read(name) {
      const bytes = Object.hasOwn(files, name) ? files[name] : undefined;
      return bytes ? Promise.resolve(bytes) : Promise.reject(
        new ModelError(
          `model ${name}: no such file in memory; there are ${Object.keys(files).join(", ")}`,
        ),
      );
    },
  };
}

/**
 * Reads a model that is a JSON document.
 *
 * @throws {ModelError} If the file is missing or no JSON.
 */
export async function readJson(models: ModelSource, name: string): Promise<unknown> {
  const bytes = await models.read(name);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ModelError(
      `model ${name}: its ${bytes.length} bytes are no JSON (cut short?): ${
        (error as Error).message
      }`,
      { cause: error },
    );
  }
}
