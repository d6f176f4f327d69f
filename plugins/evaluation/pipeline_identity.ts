/**
 * What makes two pipelines the same: their stages with all options, and the bytes of their models.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { PipelineDocument } from "../../lib/stages/document.ts";
import type { ModelSource } from "../../lib/stages/models.ts";

/** A pipeline as an evaluation remembers it. */
export interface PipelineIdentity {
  /** Its stages, every option written out. */
  readonly document: PipelineDocument;
  /** SHA-256 of every model file that it reads, by name. */
  readonly models: Readonly<Record<string, string>>;
  /** SHA-256 of the modules that bring stages of third parties, in the order they were loaded. */
  readonly plugins: readonly string[];
  /** Where it computes: results differ in the last bits. */
  readonly device: string;
}

/** SHA-256 in hexadecimal digits. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A model source that remembers the digests of what was read through it. */
export interface WatchedModels extends ModelSource {
  /** SHA-256 by file name, in the order of the names. */
  digests(): Record<string, string>;
}

/**
 * Watches what a pipeline reads while it is opened.
 *
 * @param models Where the files are.
 *
 * @example
 * ```ts
 * import { modelsIn } from "@ovstage/ovstage";
 * import { watchModels } from "@ovstage/ovstage/evaluation";
 * const models = watchModels(modelsIn({ "a.onnx": new Uint8Array(3) }));
 * await models.read("a.onnx");
 * console.log(models.digests()["a.onnx"]?.slice(0, 6)); // 709e80
 * ```
 */
export function watchModels(models: ModelSource): WatchedModels {
  const digests = new Map<string, string>();
  return {
    location: models.location,
    async read(name) {
      const bytes = await models.read(name);
      digests.set(name, sha256(bytes));
      return bytes;
    },
    digests: () => Object.fromEntries([...digests].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}
