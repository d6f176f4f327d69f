/**
 * Opens any pipeline document with the stages and models of this package.
 *
 * @module
 */
import type { Device } from "../../lib/runtime.ts";
import { buildPipeline, type PipelineDocument } from "../../lib/stages/document.ts";
import { modelsAt, type ModelSource } from "../../lib/stages/models.ts";
import type { Pipeline } from "../../lib/stages/pipeline.ts";
import type { Registry } from "../../lib/stages/registry.ts";
import type { SlotName } from "../../lib/stages/slots.ts";
import { builtinRegistry } from "../builtin.ts";

/** What a pipeline runs on. */
export interface OpenOptions {
  /** Where to compute; the pipeline does not dispose of it. */
  device: Device;
  /** Where the model files are: a folder's URL, or a source; those of this package if left out. */
  models?: ModelSource | URL | string;
}

/**
 * The models that come with this package, or those that the caller names: what `openStage` reads
 * from where a pipeline is composed by hand.
 *
 * @param models A folder's URL, or a source, which is returned as it is.
 *
 * @example
 * ```ts
 * import { modelSource, readJson } from "@ovstage/ovstage";
 * console.log(Object.keys(await readJson(modelSource(), "ovsnet.json") as object).length > 0); // true
 * ```
 */
export function modelSource(models?: ModelSource | URL | string): ModelSource {
  if (models === undefined) return modelsAt(new URL("../../models/", import.meta.url));
  return typeof models === "string" || models instanceof URL ? modelsAt(models) : models;
}

/**
 * Opens the pipeline that a document describes. After a lost device, open it again on another.
 *
 * @param document Such as {@linkcode ovsnetDocument} makes, or `parseDocument` reads.
 * @param options Device, models, and a registry where plugins of third parties take part.
 * @returns The pipeline; the caller disposes of it.
 * @throws {RegistryError} If a role or name is unknown.
 * @throws {OptionError} If an option is unknown or outside its domain.
 * @throws {PipelineError} If a stage needs a slot that nobody before it gives.
 * @throws {ModelError} If a model is missing, cut short, or not what the stage expects.
 *
 * @example
 * ```ts ignore
 * const device = await acquireDevice("auto");
 * const pipeline = await openPipeline(ovsnetDocument({ fuser: "mean" }), { device });
 * using result = await pipeline.run(
 *   { image, vocabulary: vocabulary(["dog", "guitar"]) },
 *   { outputs: ["segmentation"] },
 * );
 * console.log(await result.outputs.segmentation.labels.read());
 * ```
 */
export function openPipeline(
  document: PipelineDocument,
  { device, models, registry = builtinRegistry() }: OpenOptions & { registry?: Registry },
): Promise<Pipeline<"image" | "vocabulary", SlotName>> {
  return buildPipeline(document, { registry, device, models: modelSource(models) });
}
