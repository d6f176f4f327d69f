/**
 * A pipeline as a JSON document: which stages, in which order, with which options.
 *
 * ```json
 * {
 *   "version": 1,
 *   "stages": [
 *     { "role": "fuser", "name": "gfa", "options": { "omega": 0.5 } }
 *   ]
 * }
 * ```
 *
 * @module
 */
import { PipelineError } from "../errors.ts";
import { type OptionValue, readOptions } from "./options.ts";
import { checkOrder, Pipeline } from "./pipeline.ts";
import { openAll, openStage, type StageEnvironment } from "./plugin.ts";
import type { Registry } from "./registry.ts";
import type { SlotList, SlotName } from "./slots.ts";
import { formatStage } from "./stage.ts";

/** One stage of a document. */
export interface StageDocument {
  /** Its role. */
  readonly role: string;
  /** Its name. */
  readonly name: string;
  /** The options that differ from their defaults. */
  readonly options?: Readonly<Record<string, OptionValue>>;
}

/** A pipeline as data. */
export interface PipelineDocument {
  /** The version of this format. */
  readonly version: 1;
  /** The slots that a run begins with; `image` and `vocabulary` where left out. */
  readonly inputs?: readonly string[];
  /** The stages, in order. */
  readonly stages: readonly StageDocument[];
}

const defaultInputs: SlotList = ["image", "vocabulary"];

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuseOtherKeys(
  value: Readonly<Record<string, unknown>>,
  known: readonly string[],
  where: string,
): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw new PipelineError(`${where} has "${key}"; it takes ${known.join(", ")}`);
    }
  }
}

function isOptionValue(value: unknown): value is OptionValue {
  return ["number", "boolean", "string"].includes(typeof value) ||
    Array.isArray(value) && value.every((item) => typeof item === "string");
}

function readStage(value: unknown, index: number): StageDocument {
  const where = `pipeline document: stages[${index}]`;
  if (!isRecord(value)) {
    throw new PipelineError(`${where} must be an object such as {"role": "fuser", "name": "gfa"}`);
  }
  refuseOtherKeys(value, ["role", "name", "options"], where);
  const { role, name, options } = value;
  if (typeof role !== "string") throw new PipelineError(`${where}: "role" must be a string`);
  if (typeof name !== "string") throw new PipelineError(`${where}: "name" must be a string`);
  if (options === undefined) return { role, name };
  if (!isRecord(options)) throw new PipelineError(`${where}: "options" must be an object`);
  for (const [option, given] of Object.entries(options)) {
    if (isOptionValue(given)) continue;
    throw new PipelineError(
      `${where}: option "${option}" must be a number, a boolean, a string or a list of strings`,
    );
  }
  return { role, name, options: options as Readonly<Record<string, OptionValue>> };
}

/**
 * Reads a document, without looking up its names.
 *
 * @param source JSON text, or what it parses to.
 * @returns A copy that holds nothing but the document.
 * @throws {PipelineError} If it is no JSON or not of this form; says which part.
 *
 * @example
 * ```ts
 * import { parseDocument } from "@ovstage/ovstage";
 * const document = parseDocument('{"version":1,"stages":[{"role":"fuser","name":"gfa"}]}');
 * console.log(document.stages[0]!.name); // gfa
 * ```
 */
export function parseDocument(source: unknown): PipelineDocument {
  let value = source;
  if (typeof source === "string") {
    try {
      value = JSON.parse(source);
    } catch (error) {
      throw new PipelineError(`pipeline document: no JSON: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  if (!isRecord(value)) throw new PipelineError("pipeline document: it must be an object");
  refuseOtherKeys(value, ["version", "inputs", "stages"], "pipeline document");
  if (value["version"] !== 1) {
    throw new PipelineError(
      `pipeline document: version is ${JSON.stringify(value["version"])}; this is version 1`,
    );
  }
  const { inputs, stages } = value;
  if (!Array.isArray(stages) || stages.length === 0) {
    throw new PipelineError('pipeline document: "stages" must be a list of at least one stage');
  }
  if (inputs === undefined) return { version: 1, stages: stages.map(readStage) };
  if (!Array.isArray(inputs) || !inputs.every((slot) => typeof slot === "string")) {
    throw new PipelineError('pipeline document: "inputs" must be a list of slot names');
  }
  return { version: 1, inputs: [...inputs as string[]], stages: stages.map(readStage) };
}

/** Writes a document as JSON; {@linkcode parseDocument} reads it back. */
export function formatDocument(document: PipelineDocument): string {
  return JSON.stringify(parseDocument(document), null, 2) + "\n";
}

/**
 * Checks a document against a registry: names, options and the order of the stages. Reads no model.
 *
 * @returns The document with every option written out, defaults included.
 * @throws {RegistryError} If a role or name is unknown.
 * @throws {OptionError} If an option is unknown or outside its domain.
 * @throws {PipelineError} If a stage needs a slot that nobody before it gives.
 */
export function checkDocument(
  document: PipelineDocument,
  registry: Registry,
): Required<PipelineDocument> {
  const inputs = (document.inputs ?? defaultInputs) as SlotList;
  const stages = document.stages.map(({ role, name, options }) => {
    const plugin = registry.get(role, name);
    const values: Record<string, OptionValue> = readOptions(
      plugin.options,
      options ?? {},
      formatStage(plugin),
    );
    return { role, name, options: values };
  });
  checkOrder(
    inputs,
    document.stages.map(({ role, name }) => registry.get(role, name)),
    (slot) => registry.givers(slot),
  );
  return { version: 1, inputs, stages };
}

/** What {@linkcode buildPipeline} needs besides the document. */
export interface BuildOptions extends StageEnvironment {
  /** Where the document's names are looked up. */
  readonly registry: Registry;
}

/**
 * Opens the pipeline that a document describes. The document is checked as a whole before the first
 * model is read. After a lost device, build it again on another one.
 *
 * @returns The pipeline; the caller disposes of it. Its outputs are known only at run time, so ask
 * for them by name: `run(inputs, { outputs: ["segmentation"] })`.
 * @throws {RegistryError} If a role or name is unknown.
 * @throws {OptionError} If an option is unknown or outside its domain.
 * @throws {PipelineError} If a stage needs a slot that nobody before it gives.
 * @throws {ModelError} If a model is missing or not what the stage expects.
 */
export async function buildPipeline(
  document: PipelineDocument,
  { registry, device, models }: BuildOptions,
): Promise<Pipeline<"image" | "vocabulary", SlotName>> {
  const { inputs, stages } = checkDocument(document, registry);
  const opened = await openAll(
    stages.map(({ role, name, options }) =>
      openStage(registry.get(role, name), options ?? {}, { device, models })
    ),
  );
  return new Pipeline<"image" | "vocabulary", SlotName>(
    device,
    inputs as readonly ("image" | "vocabulary")[],
    opened,
    (slot) => registry.givers(slot),
  );
}
