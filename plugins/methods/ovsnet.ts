/**
 * OVSNet: "Stepping Out of Similar Semantic Space for Open-Vocabulary Segmentation" (ICCV 2025).
 *
 * @module
 */
import { OptionError, PipelineError } from "../../lib/errors.ts";
import type { PipelineDocument, StageDocument } from "../../lib/stages/document.ts";
import type { OptionValue } from "../../lib/stages/options.ts";
import { type Pipeline, pipeline } from "../../lib/stages/pipeline.ts";
import { type AnyPlugin, openAll, openStage } from "../../lib/stages/plugin.ts";
import type { Stage } from "../../lib/stages/stage.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import { trainedWordsClassifier } from "../classifiers/trained_words.ts";
import { maskDecoder } from "../decoders/mask_decoder.ts";
import { imageEncoder } from "../encoders/image_encoder.ts";
import { textEncoder } from "../encoders/text_encoder.ts";
import { gfaFuser } from "../fusers/gfa.ts";
import { maskPooling } from "../poolers/mask_pooling.ts";
import { instanceSegmenter } from "../segmenters/instance.ts";
import { panopticSegmenter } from "../segmenters/panoptic.ts";
import { semanticSegmenter } from "../segmenters/semantic.ts";
import { modelSource, type OpenOptions } from "./open_pipeline.ts";

/** The segmenter of each task: pixels by class, segments that don't overlap, or objects. */
export const taskSegmenters = {
  semantic: semanticSegmenter,
  panoptic: panopticSegmenter,
  instance: instanceSegmenter,
} as const;

/** What a segmentation is of. */
export type Task = keyof typeof taskSegmenters;

/** The slot that a task's segmenter gives. */
export type TaskSlot<T extends Task> = (typeof taskSegmenters)[T]["gives"][number];

/** Options of single stages, by role, beyond what the stages take by themselves. */
export type StageOptions = Readonly<Record<string, Readonly<Record<string, OptionValue>>>>;

/** What may differ from the defaults, which are those of the stages themselves. */
export interface OvsnetOptions {
  /** What the segmentation is of; semantic where left out. */
  task?: Task;
  /** Which fuser joins pooled and query embeddings: gfa, mean, clip, query, or a plugin's. */
  fuser?: string;
  /** Which classifier: trained_words, query_void, cosine, geometric_ensemble, or a plugin's. */
  classifier?: string;
  /** GFA's ω, in (0, 1): how far fusion goes. */
  omega?: number;
  /** GFA's λ, above 0 and at most 1,000,000: how sharp the affinity is. */
  lambda?: number;
  /** Longer side at which the image is encoded, in pixels. */
  inputSize?: number;
  /** Options of any stage, by its role: `{ pooler: { mode: "soft" } }`. */
  stages?: StageOptions;
}

const chain: readonly StageDocument[] = [
  imageEncoder,
  textEncoder,
  maskDecoder,
  maskPooling,
  gfaFuser,
  trainedWordsClassifier,
  semanticSegmenter,
].map(({ role, name }) => ({ role, name }));

const documentOptions = Object.keys(
  {
    task: true,
    fuser: true,
    classifier: true,
    omega: true,
    lambda: true,
    inputSize: true,
    stages: true,
  } satisfies Record<keyof OvsnetOptions, true>,
);

/** JavaScript has no compiler that refuses a name, and a setting that is lost goes unnoticed. */
function refuseUnknown(options: object, known: readonly string[], owner: string): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const elsewhere = documentOptions.includes(name)
      ? `"${name}" is one of ovsnetDocument, whose document openPipeline opens; `
      : "";
    throw new OptionError(
      `${owner} has no option "${name}"; ${elsewhere}${knownNames(name, known)}`,
    );
  }
}

/**
 * OVSNet as a document: image encoder → text encoder → decoder → mask pooling → fuser →
 * classifier → the segmenter of the task.
 *
 * @param options What differs from the defaults. Opening the document checks the values.
 * @throws {OptionError} If there is no option of that name.
 * @throws {PipelineError} If `stages` names a role that the method does not have.
 *
 * @example
 * ```ts
 * import { ovsnetDocument } from "@ovstage/ovstage";
 * const document = ovsnetDocument({ fuser: "gfa", omega: 0.3 });
 * console.log(document.stages.map((stage) => stage.role).join(" "));
 * // image-encoder text-encoder decoder pooler fuser classifier segmenter
 * ```
 */
export function ovsnetDocument(options: OvsnetOptions = {}): PipelineDocument {
  refuseUnknown(options, documentOptions, "ovsnetDocument");
  const { task, fuser, classifier, omega, lambda, inputSize, stages = {} } = options;
  const roles = chain.map(({ role }) => role);
  for (const role of Object.keys(stages)) {
    if (roles.includes(role)) continue;
    throw new PipelineError(`OVSNet has no stage of role "${role}"; it has ${roles.join(", ")}`);
  }
  const shorthand: Record<string, Record<string, OptionValue | undefined>> = {
    [gfaFuser.role]: { omega, lambda },
    [imageEncoder.role]: { inputSize },
  };
  const names: Record<string, string | undefined> = {
    [gfaFuser.role]: fuser,
    [trainedWordsClassifier.role]: classifier,
    [semanticSegmenter.role]: task,
  };
  return {
    version: 1,
    stages: chain.map(({ role, name }) => {
      const given = Object.entries({ ...shorthand[role], ...stages[role] })
        .filter((entry): entry is [string, OptionValue] => entry[1] !== undefined);
      const chosen = names[role] ?? name;
      if (given.length === 0) return { role, name: chosen };
      return { role, name: chosen, options: Object.fromEntries(given) };
    }),
  };
}

/** {@linkcode OvsnetOptions} of the method proper, whose fuser is GFA. */
export interface OpenOvsnetOptions<T extends Task = "semantic"> extends OpenOptions {
  /** What the segmentation is of; semantic where left out. */
  task?: T;
  /** GFA's ω, in (0, 1): how far fusion goes. */
  omega?: number;
  /** GFA's λ, above 0 and at most 1,000,000: how sharp the affinity is. */
  lambda?: number;
  /** Longer side at which the image is encoded, in pixels. */
  inputSize?: number;
}

const openOptions = Object.keys(
  {
    device: true,
    models: true,
    task: true,
    omega: true,
    lambda: true,
    inputSize: true,
  } satisfies Record<keyof OpenOvsnetOptions, true>,
);

/** OVSNet as a pipeline whose slots the compiler knows. */
export type Ovsnet<T extends Task = "semantic"> = Pipeline<
  "image" | "vocabulary",
  | "image"
  | "vocabulary"
  | "features"
  | "pyramid"
  | "text"
  | "maskLogits"
  | "queryEmbeddings"
  | "pooled"
  | "fused"
  | "classLogits"
  | TaskSlot<T>,
  TaskSlot<T>
>;

function defined<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/**
 * Opens OVSNet. The order of its stages is checked by the compiler.
 *
 * @param options Device, models, the task, and what differs from the defaults.
 * @returns The pipeline; the caller disposes of it.
 * @throws {OptionError} If an option is unknown or outside its domain.
 * @throws {ModelError} If a model is missing, cut short, or not what the stage expects.
 *
 * @example
 * ```ts ignore
 * await using ovsnet = await openOvsnet({ device: await acquireDevice("auto") });
 * using result = await ovsnet.run({ image, vocabulary: vocabulary(["dog", "guitar"]) });
 * const labels = await result.outputs.segmentation.labels.read(); // H × W
 * ```
 * With `task: "panoptic"`, `result.outputs.panoptic` has segments; with `task: "instance"`,
 * `result.outputs.instances` has objects.
 */
export async function openOvsnet<T extends Task = "semantic">(
  options: OpenOvsnetOptions<T>,
): Promise<Ovsnet<T>> {
  refuseUnknown(options, openOptions, "openOvsnet");
  const { device, omega, lambda, inputSize, task = "semantic" } = options;
  if (!Object.hasOwn(taskSegmenters, task)) {
    const known = knownNames(String(task), Object.keys(taskSegmenters));
    throw new OptionError(`openOvsnet has no task "${task}"; ${known}`);
  }
  const environment = { device, models: modelSource(options.models) };
  const [image, text, decoder, pooler, fuser, classifier, segmenter] = await openAll([
    openStage(imageEncoder, defined({ inputSize }), environment),
    openStage(textEncoder, {}, environment),
    openStage(maskDecoder, {}, environment),
    openStage(maskPooling, {}, environment),
    openStage(gfaFuser, defined({ omega, lambda }), environment),
    openStage(trainedWordsClassifier, {}, environment),
    openStage(taskSegmenters[task] as AnyPlugin, {}, environment),
  ]);
  return pipeline(device).pipe(image).pipe(text).pipe(decoder).pipe(pooler).pipe(fuser)
    .pipe(classifier)
    .pipe(segmenter as Stage<typeof semanticSegmenter.needs, readonly [TaskSlot<T>]>);
}
