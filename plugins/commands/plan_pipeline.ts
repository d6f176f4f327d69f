/**
 * From flags to an open pipeline.
 *
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { FlagSpec } from "../../lib/cli/arguments.ts";
import { OptionError, OvsError, PipelineError } from "../../lib/errors.ts";
import type { Device, DeviceRequest } from "../../lib/runtime.ts";
import {
  checkDocument,
  parseDocument,
  type PipelineDocument,
  type StageDocument,
} from "../../lib/stages/document.ts";
import { loadPlugin } from "../../lib/stages/load_plugin.ts";
import { formatDomain, optionFromText, type OptionValue } from "../../lib/stages/options.ts";
import type { Pipeline } from "../../lib/stages/pipeline.ts";
import type { Registry } from "../../lib/stages/registry.ts";
import type { SlotName } from "../../lib/stages/slots.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import type { Task, TaskSlot } from "../methods/ovsnet.ts";
import { readUserText } from "./read_user_file.ts";

/** The pipeline that a command runs. */
export type OpenPipeline = Pipeline<"image" | "vocabulary", SlotName>;

/** The flags that say which pipeline runs where. */
export const pipelineFlags = {
  fuser: {
    value: "NAME",
    description: "How pooled and query embeddings are joined: gfa (the default), mean, clip, " +
      "query, self_attention, cross_attention, or one that a plugin brings.",
  },
  omega: {
    value: "NUMBER",
    description: "How far the fuser gfa goes, above 0 and below 1.",
  },
  lambda: {
    value: "NUMBER",
    description: "How sharp the affinity of the fuser gfa is, above 0 and at most 1,000,000.",
  },
  classifier: {
    value: "NAME",
    description:
      "How embeddings are compared with the classes: trained_words (the default), query_void, " +
      "cosine, geometric_ensemble, or one that a plugin brings.",
  },
  pipeline: {
    value: "FILE.json",
    description: "A pipeline document in place of OVSNet; the four flags above change its fuser " +
      "and its classifier.",
  },
  plugin: {
    value: "PATH",
    multiple: true,
    description: "A module with stages of your own; may be given several times. It runs with all " +
      "rights of this program.",
  },
  models: {
    value: "DIR",
    description: "A folder with model files of your own; those of this package where left out.",
  },
  device: {
    value: "KIND",
    description: "auto (the default: a GPU through WebGPU where there is one), cpu or webgpu.",
  },
} as const satisfies Record<string, FlagSpec>;

/** The flags that say what the segmentation is of. */
export const taskFlags = {
  task: {
    value: "KIND",
    description: "semantic (the default: one class per pixel), panoptic (things and stuff, each " +
      "pixel in at most one segment) or instance (objects, whose masks may overlap).",
  },
  "object-threshold": {
    value: "NUMBER",
    description: "panoptic: masks count whose best class is more probable than this; 0.8.",
  },
  "overlap-threshold": {
    value: "NUMBER",
    description: "panoptic: masks count that keep at least this share of their pixels from " +
      "other masks; 0.8.",
  },
  "top-k": {
    value: "NUMBER",
    description: "instance: how many pairs of a mask and a class are looked at; 100.",
  },
} as const satisfies Record<string, FlagSpec>;

/** Values of {@linkcode taskFlags}. */
export type TaskFlagValues = { readonly [Name in keyof typeof taskFlags]?: string | undefined };

/** Values of {@linkcode pipelineFlags}. */
export interface PipelineFlagValues {
  /** See {@linkcode pipelineFlags}. */
  readonly fuser?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly omega?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly lambda?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly classifier?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly pipeline?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly plugin: readonly string[];
  /** See {@linkcode pipelineFlags}. */
  readonly models?: string | undefined;
  /** See {@linkcode pipelineFlags}. */
  readonly device?: string | undefined;
}

/** A pipeline that was checked, and is not open yet. */
export interface PlannedPipeline {
  /** Stages with all their options. */
  readonly document: PipelineDocument;
  /** Where the stages' names are looked up. */
  readonly registry: Registry;
  /** Where model files are; those of this package where left out. */
  readonly models: URL | undefined;
  /** What was asked for. */
  readonly device: DeviceRequest;
  /** What its last segmenter gives; null where it has none. */
  readonly task: Task | null;
}

/**
 * Works out which pipeline the flags ask for, and checks it as a whole. Reads no model.
 *
 * @throws {OptionError} If an option, task or device is unknown or outside its domain, or a flag
 * is for another task.
 * @throws {RegistryError} If a fuser, classifier or plugin is unknown.
 * @throws {PipelineError} If the document's file is no document, or one that can't run even without
 * the flags; names the file. If the stages don't fit together.
 * @throws {InputError} If the document's file can't be read.
 */
export async function planPipeline(
  flags: PipelineFlagValues & TaskFlagValues,
): Promise<PlannedPipeline> {
  const device = readDevice(flags.device);
  const wanted = readTask(flags.task);
  const [{ builtinRegistry }, { ovsnetDocument }] = await Promise.all([
    import("../builtin.ts"),
    import("../methods/ovsnet.ts"),
  ]);
  const registry = builtinRegistry();
  for (const path of flags.plugin) await loadPlugin(path, registry);
  const base = flags.pipeline === undefined
    ? ovsnetDocument()
    : await readDocument(flags.pipeline, registry);
  const joined = withClassifier(
    withFuser(withTask(base, wanted, registry), flags, registry),
    flags,
  );
  const document = checkDocument(withThresholds(joined, flags, registry), registry);
  const models = flags.models === undefined ? undefined : pathToFileURL(resolve(flags.models));
  return { document, registry, models, device, task: taskOf(document, registry) };
}

/**
 * Acquires the device and opens the pipeline on it; the caller disposes of both.
 *
 * @throws {DeviceError} If the device can't be had.
 * @throws {ModelError} If a model is missing or not what its stage expects.
 */
export async function openPlanned(
  { document, registry, models, device: request }: PlannedPipeline,
): Promise<{ pipeline: OpenPipeline; device: Device }> {
  const [{ acquireDevice }, { openPipeline }] = await Promise.all([
    import("../runtimes/mod.ts"),
    import("../methods/open_pipeline.ts"),
  ]);
  const device = await acquireDevice(request);
  try {
    const options = { device, registry, ...(models === undefined ? {} : { models }) };
    return { pipeline: await openPipeline(document, options), device };
  } catch (error) {
    await device.dispose();
    throw error;
  }
}

/** The device in words, with the reason where `auto` fell back. */
export function formatDevice({ description, fallbackReason }: Device): string {
  return fallbackReason === null ? description : `${description} (${fallbackReason})`;
}

/** Reads a document, and checks it before any flag changes it: what is wrong is the file's fault. */
async function readDocument(file: string, registry: Registry): Promise<PipelineDocument> {
  const text = await readUserText(file, "name a pipeline document in it");
  try {
    const document = parseDocument(text);
    checkDocument(document, registry);
    return document;
  } catch (cause) {
    if (!(cause instanceof OvsError)) throw cause;
    throw new PipelineError(`${file}: ${cause.message}`, { cause });
  }
}

function readDevice(text = "auto"): DeviceRequest {
  if (text === "auto" || text === "cpu" || text === "webgpu") return text;
  throw new OptionError(`--device "${text}" is unknown; it must be auto, cpu or webgpu`);
}

const taskSlots = {
  semantic: "segmentation",
  panoptic: "panoptic",
  instance: "instances",
} as const satisfies { readonly [T in Task]: TaskSlot<T> };

function readTask(text: string | undefined): Task | undefined {
  if (text === undefined || Object.hasOwn(taskSlots, text)) return text as Task | undefined;
  throw new OptionError(
    `--task "${text}" is unknown; ${knownNames(text, Object.keys(taskSlots))}`,
  );
}

/** What the last segmenter of a document gives. */
function taskOf({ stages }: PipelineDocument, registry: Registry): Task | null {
  const tasks = Object.keys(taskSlots) as Task[];
  const gives = (role: string, name: string) => registry.get(role, name).gives;
  for (const { role, name } of stages.toReversed()) {
    const task = tasks.find((task) => gives(role, name).includes(taskSlots[task]));
    if (task !== undefined) return task;
  }
  return null;
}

/** The document with the segmenter of another task. */
function withTask(
  document: PipelineDocument,
  task: Task | undefined,
  registry: Registry,
): PipelineDocument {
  if (task === undefined || taskOf(document, registry) === task) return document;
  const at = document.stages.findLastIndex(({ role }) => role === "segmenter");
  if (at < 0) {
    throw new OptionError(
      `--task ${task}: this pipeline has no segmenter to exchange; it has ` +
        document.stages.map(({ role }) => role).join(", "),
    );
  }
  return { ...document, stages: document.stages.with(at, { role: "segmenter", name: task }) };
}

/** The document with other options of its segmenter. */
function withThresholds(
  document: PipelineDocument,
  flags: TaskFlagValues,
  registry: Registry,
): PipelineDocument {
  const at = document.stages.findLastIndex(({ role }) => role === "segmenter");
  return ([
    ["object-threshold", "objectThreshold"],
    ["overlap-threshold", "overlapThreshold"],
    ["top-k", "topK"],
  ] as const).reduce((changed, [flag, option]) => {
    const text = flags[flag];
    if (text === undefined) return changed;
    const stage = changed.stages[at];
    if (stage === undefined) {
      throw new OptionError(`--${flag}: this pipeline has no segmenter; leave it out`);
    }
    const options = { ...stage.options, [option]: readOption(flag, option, text, stage, registry) };
    return { ...changed, stages: changed.stages.with(at, { ...stage, options }) };
  }, document);
}

/** Reads the value of a flag that is an option of a stage. */
function readOption(
  flag: string,
  option: string,
  text: string,
  { role, name }: StageDocument,
  registry: Registry,
): OptionValue {
  const spec = registry.get(role, name).options[option];
  if (spec === undefined) {
    throw new OptionError(`--${flag}: the ${role} "${name}" has no option ${option}; leave it out`);
  }
  const value = optionFromText(spec, text);
  if (Number.isNaN(value)) {
    throw new OptionError(`--${flag} ${text}: is no number; it must be ${formatDomain(spec)}`);
  }
  return value;
}

/** The first stage of a role, which a flag changes, and where it stands. */
function stageToChange(
  { stages }: PipelineDocument,
  role: string,
  flag: string,
): { at: number; stage: StageDocument } {
  const at = stages.findIndex((stage) => stage.role === role);
  const stage = stages[at];
  if (stage !== undefined) return { at, stage };
  throw new OptionError(
    `--${flag}: this pipeline has no ${role}; it has ${stages.map(({ role }) => role).join(", ")}`,
  );
}

/** The document with another fuser, or with other options of its fuser. */
function withFuser(
  document: PipelineDocument,
  flags: PipelineFlagValues,
  registry: Registry,
): PipelineDocument {
  const { fuser } = flags;
  const changes = (["omega", "lambda"] as const).filter((name) => flags[name] !== undefined);
  if (fuser === undefined && changes.length === 0) return document;
  const flag = fuser === undefined ? changes[0]! : "fuser";
  const { at, stage } = stageToChange(document, "fuser", flag);
  const name = fuser ?? stage.name;
  const options = { ...(name === stage.name ? stage.options : {}) };
  for (const option of changes) {
    options[option] = readOption(option, option, flags[option]!, { role: "fuser", name }, registry);
  }
  return { ...document, stages: document.stages.with(at, { role: "fuser", name, options }) };
}

/** The document with another classifier. */
function withClassifier(
  document: PipelineDocument,
  { classifier: name }: PipelineFlagValues,
): PipelineDocument {
  if (name === undefined) return document;
  const { at, stage } = stageToChange(document, "classifier", "classifier");
  if (name === stage.name) return document;
  return { ...document, stages: document.stages.with(at, { role: "classifier", name }) };
}
