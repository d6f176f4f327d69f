/**
 * Stages: the parts that a pipeline is made of. `docs/stages.md` explains the contract.
 *
 * @module
 */
import type { Device } from "../runtime.ts";
import type { SlotList, Slots, SlotsOf, SlotSpecs } from "./slots.ts";

/** What a stage may use while it runs. */
export interface StageContext {
  /** Where to compute. */
  readonly device: Device;
  /** Long work looks at it now and then, and throws its reason. */
  readonly signal: AbortSignal;
  /**
   * Reports how far long work has come.
   *
   * @param done Units done.
   * @param total Units in all.
   */
  progress(done: number, total: number): void;
}

/** The part of a stage that computes. */
export interface StageBody<Needs extends SlotList, Gives extends SlotList> {
  /**
   * Computes the slots in `gives` from those in `needs`.
   *
   * The pipeline owns what is returned and frees it; inputs are only lent. A tensor that came in
   * may go out again as it is. May be called again before an earlier call is done.
   */
  run(
    inputs: SlotsOf<Needs>,
    context: StageContext,
  ): Promise<SlotsOf<Gives>> | SlotsOf<Gives>;
  /** Frees what the stage itself holds (sessions, caches). */
  dispose?(): Promise<void> | void;
}

/**
 * One step of a pipeline: it reads the slots in `needs` and adds those in `gives`. It may give a
 * slot anew that it or somebody upstream gave before; the new value then replaces the old one.
 */
export interface Stage<Needs extends SlotList, Gives extends SlotList>
  extends StageBody<Needs, Gives> {
  /** What kind of part it is, in the field's words: "fuser". Any stage may stand anywhere. */
  readonly role: string;
  /** Which one of that role: "gfa". */
  readonly name: string;
  /** The slots that it reads, and no others. */
  readonly needs: Needs;
  /** The slots that it returns, all of them and no others. */
  readonly gives: Gives;
  /** Specs of the slots that it knows and this package does not. */
  readonly slots?: SlotSpecs;
}

/** A stage of whatever needs; what the run-time side works with. */
export interface AnyStage {
  /** See {@linkcode Stage.role}. */
  readonly role: string;
  /** See {@linkcode Stage.name}. */
  readonly name: string;
  /** See {@linkcode Stage.needs}. */
  readonly needs: SlotList;
  /** See {@linkcode Stage.gives}. */
  readonly gives: SlotList;
  /** See {@linkcode Stage.slots}. */
  readonly slots?: SlotSpecs;
  /** See {@linkcode StageBody.run}. */
  run(
    inputs: Partial<Slots>,
    context: StageContext,
  ): Promise<Partial<Slots>> | Partial<Slots>;
  /** See {@linkcode StageBody.dispose}. */
  dispose?(): Promise<void> | void;
}

/**
 * Declares a stage; the compiler takes its needs and gives from the lists themselves, so that the
 * two can't drift apart.
 *
 * @example
 * ```ts
 * import { defineStage } from "@ovstage/ovstage";
 * const fuser = defineStage({
 *   role: "fuser",
 *   name: "first",
 *   needs: ["pooled"],
 *   gives: ["fused"],
 *   run: ({ pooled }) => ({ fused: pooled.embeddings }),
 * });
 * console.log(fuser.needs); // ["pooled"]
 * ```
 */
export function defineStage<const Needs extends SlotList, const Gives extends SlotList>(
  stage: Stage<Needs, Gives>,
): Stage<Needs, Gives> {
  return stage;
}

/** Names a stage in messages: `fuser "gfa"`. */
export function formatStage(stage: { readonly role: string; readonly name: string }): string {
  return `${stage.role} "${stage.name}"`;
}
