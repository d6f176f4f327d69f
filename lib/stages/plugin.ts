/**
 * Plugins: stages by role and name, with the options that they take.
 *
 * @module
 */
import type { Device } from "../runtime.ts";
import type { ModelSource } from "./models.ts";
import { type OptionSchema, type OptionValue, type OptionValues, readOptions } from "./options.ts";
import type { SlotList, Slots, SlotSpecs } from "./slots.ts";
import {
  type AnyStage,
  formatStage,
  type Stage,
  type StageBody,
  type StageContext,
} from "./stage.ts";
import { stageFailure } from "./stage_failure.ts";

/** What a plugin may use to make its stage. */
export interface StageEnvironment {
  /** Where the stage will compute. */
  readonly device: Device;
  /** Where model files are. */
  readonly models: ModelSource;
}

/**
 * A stage that can be asked for by role and name. A plain object: a module of a third party states
 * one as its default export, with nothing but types imported.
 *
 * @example
 * ```ts
 * import type { NoOptions, StagePlugin } from "@ovstage/ovstage";
 * const first: StagePlugin<["pooled"], ["fused"], NoOptions> = {
 *   role: "fuser",
 *   name: "first",
 *   description: "what the image says, and nothing else",
 *   needs: ["pooled"],
 *   gives: ["fused"],
 *   options: {},
 *   create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }),
 * };
 * console.log(first.name); // first
 * ```
 */
export interface StagePlugin<
  Needs extends SlotList,
  Gives extends SlotList,
  Schema extends OptionSchema,
> {
  /** What kind of part it is: "fuser". A new role needs no announcement. */
  readonly role: string;
  /** Which one of that role: "gfa". */
  readonly name: string;
  /** What it computes, in one line. */
  readonly description: string;
  /** The slots that its stage reads. */
  readonly needs: Needs;
  /** The slots that its stage gives. */
  readonly gives: Gives;
  /** Its options. */
  readonly options: Schema;
  /** Specs of the slots that it knows and this package does not. */
  readonly slots?: SlotSpecs;
  /**
   * Makes the stage: loads models, compiles kernels.
   *
   * @param options A value for every option, checked.
   * @param environment The device and the model files.
   */
  create(
    options: OptionValues<Schema>,
    environment: StageEnvironment,
  ): Promise<StageBody<Needs, Gives>> | StageBody<Needs, Gives>;
}

/** A plugin of whatever needs; what the registry holds. */
export interface AnyPlugin {
  /** See {@linkcode StagePlugin.role}. */
  readonly role: string;
  /** See {@linkcode StagePlugin.name}. */
  readonly name: string;
  /** See {@linkcode StagePlugin.description}. */
  readonly description: string;
  /** See {@linkcode StagePlugin.needs}. */
  readonly needs: SlotList;
  /** See {@linkcode StagePlugin.gives}. */
  readonly gives: SlotList;
  /** See {@linkcode StagePlugin.options}. */
  readonly options: OptionSchema;
  /** See {@linkcode StagePlugin.slots}. */
  readonly slots?: SlotSpecs;
  /** See {@linkcode StagePlugin.create}. */
  create(
    options: Readonly<Record<string, OptionValue>>,
    environment: StageEnvironment,
  ): Promise<AnyBody> | AnyBody;
}

/** A {@linkcode StageBody} of whatever needs. */
export interface AnyBody {
  /** See {@linkcode StageBody.run}. */
  run(inputs: Partial<Slots>, context: StageContext): Promise<Partial<Slots>> | Partial<Slots>;
  /** See {@linkcode StageBody.dispose}. */
  dispose?(): Promise<void> | void;
}

/**
 * Makes a plugin's stage.
 *
 * @param plugin The plugin.
 * @param options Those that differ from their defaults.
 * @param environment The device and the model files.
 * @throws {OptionError} If an option is unknown or outside its domain.
 * @throws {ModelError} If a model file is missing or not what the stage expects.
 * @throws {PipelineError} If the plugin's `create` throws what is none of this package's errors.
 */
export function openStage<
  Needs extends SlotList,
  Gives extends SlotList,
  Schema extends OptionSchema,
>(
  plugin: StagePlugin<Needs, Gives, Schema>,
  options: Partial<OptionValues<Schema>>,
  environment: StageEnvironment,
): Promise<Stage<Needs, Gives>>;
/** The same for plugins whose types are not known. */
export function openStage(
  plugin: AnyPlugin,
  options: Readonly<Record<string, OptionValue>>,
  environment: StageEnvironment,
): Promise<AnyStage>;
export async function openStage(
  plugin: AnyPlugin,
  options: Readonly<Record<string, unknown>>,
  environment: StageEnvironment,
): Promise<AnyStage> {
  const { role, name, needs, gives, slots } = plugin;
  const values = readOptions(plugin.options, options, formatStage(plugin));
  let body: AnyBody;
  try {
    body = await plugin.create(values, environment);
  } catch (error) {
    throw stageFailure(plugin, error);
  }
  return {
    role,
    name,
    needs,
    gives,
    ...(slots ? { slots } : {}),
    run: (inputs, context) => body.run(inputs, context),
    dispose: () => body.dispose?.(),
  };
}

/**
 * Waits for stages that are being opened side by side. Where one fails, those that opened are
 * disposed of.
 *
 * @param opening What {@linkcode openStage} returned, once per stage.
 * @returns The stages, in the same order.
 * @throws The first failure, in that order.
 */
export async function openAll<const Stages extends readonly AnyStage[]>(
  opening: { readonly [Index in keyof Stages]: Promise<Stages[Index]> },
): Promise<Stages> {
  const ends: PromiseSettledResult<AnyStage>[] = await Promise.allSettled(opening);
  const failure = ends.find((end) => end.status === "rejected");
  if (failure === undefined) {
    return ends.map((end) =>
      (end as PromiseFulfilledResult<AnyStage>).value
    ) as readonly AnyStage[] as Stages;
  }
  await Promise.allSettled(
    ends.map(async (end) => end.status === "fulfilled" && await end.value.dispose?.()),
  );
  throw failure.reason;
}
