/**
 * Pipelines: chains of stages that the compiler checks, and that check their data as they run.
 *
 * @module
 */
import { DeviceLostError, PipelineError, ShapeError } from "../errors.ts";
import type { Device } from "../runtime.ts";
import { formatShape, HostTensor, sizeOf, type Tensor } from "../tensor.ts";
import {
  formatSize,
  type SlotList,
  type SlotName,
  type Slots,
  type SlotSpec,
  slotSpecs,
  type SlotTensor,
} from "./slots.ts";
import { type AnyStage, formatStage, type Stage } from "./stage.ts";
import { stageFailure } from "./stage_failure.ts";

/** What the compiler shows when a stage is put where its needs are not met. */
export interface MissingSlot<Missing extends SlotName> {
  /** Never there: its type is the message. */
  readonly "no stage upstream gives the slot": Missing;
}

/** Accepts a stage whose needs are all available, and names the missing slots otherwise. */
export type Fits<Needs extends SlotList, Available extends SlotName> =
  [Exclude<Needs[number], Available>] extends [never] ? unknown
    : MissingSlot<Exclude<Needs[number], Available>>;

/** How long one stage took. */
export interface StageTiming {
  /** The stage's role. */
  readonly role: string;
  /** The stage's name. */
  readonly name: string;
  /**
   * Wall time in milliseconds until the stage handed over its slots. On a GPU the work may still be
   * under way by then, and shows up in the stage that first reads a result.
   */
  readonly milliseconds: number;
}

/** How far a run has come. */
export interface PipelineProgress {
  /** The role of the stage under way. */
  readonly role: string;
  /** The name of the stage under way. */
  readonly name: string;
  /** Its index in the chain. */
  readonly index: number;
  /** Number of stages. */
  readonly count: number;
  /** Units of the stage's own work that are done, 0 when it begins. */
  readonly done: number;
  /** Units of the stage's own work in all, 1 for a stage that does not report. */
  readonly total: number;
}

/** Options of {@linkcode Pipeline.run}. */
export interface RunOptions<Wanted extends SlotName> {
  /** The slots to hand back; those that the last stage gives where left out. */
  outputs?: readonly Wanted[];
  /** Aborts between stages, and inside those whose work is long. */
  signal?: AbortSignal;
  /** Called when a stage begins, and as it reports. */
  onProgress?: (progress: PipelineProgress) => void;
}

/** What a run gives. The caller owns it: `using result = await pipeline.run(…)` frees it. */
export class PipelineResult<Wanted extends SlotName> {
  /** The slots that were asked for. */
  readonly outputs: { readonly [Name in Wanted]: Slots[Name] };
  /** Wall time per stage, in order. */
  readonly timings: readonly StageTiming[];
  readonly #owned: Iterable<Tensor>;

  /** Made by {@linkcode Pipeline.run}. */
  constructor(
    outputs: { readonly [Name in Wanted]: Slots[Name] },
    timings: readonly StageTiming[],
    owned: Iterable<Tensor>,
  ) {
    this.outputs = outputs;
    this.timings = timings;
    this.#owned = owned;
  }

  /** Frees the tensors in `outputs`; those that came in as inputs stay the caller's. */
  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }

  /** Lets `using` free it. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Says who could give a slot, for messages: the registry knows, a pipeline does not. */
export type Givers = (slot: SlotName) => readonly string[];

/**
 * Checks the order of a chain at run time, for chains that the compiler has not seen.
 *
 * @param inputs The slots that a run begins with.
 * @param stages The chain.
 * @param givers Who could give a slot that is missing, for the message.
 * @throws {PipelineError} If a stage needs a slot that nobody upstream gives, or lists one twice.
 */
export function checkOrder(
  inputs: SlotList,
  stages: readonly Pick<AnyStage, "role" | "name" | "needs" | "gives">[],
  givers: Givers = () => [],
): void {
  const available = new Set<SlotName>(inputs);
  stages.forEach((stage, index) => {
    for (const slot of stage.needs) {
      if (available.has(slot)) continue;
      const later = stages.find((other, at) => at > index && other.gives.includes(slot));
      const known = givers(slot);
      const remedy = later
        ? `${formatStage(later)} gives it, but comes after; put it before`
        : known.length > 0
        ? `put one of these before it: ${known.join(", ")}`
        : "nothing known gives it";
      throw new PipelineError(
        `${formatStage(stage)} needs slot "${slot}", which no stage before it gives; ${remedy}`,
      );
    }
    if (stage.gives.length === 0) {
      throw new PipelineError(`${formatStage(stage)} gives no slot; it must give at least one`);
    }
    for (const slot of stage.gives) available.add(slot);
  });
}

/** The slots that are still needed after each stage. */
function liveAfter(stages: readonly AnyStage[], wanted: SlotList): Set<SlotName>[] {
  const live: Set<SlotName>[] = [];
  let later = new Set<SlotName>(wanted);
  for (let i = stages.length - 1; i >= 0; i--) {
    live[i] = later;
    const stage = stages[i]!;
    later = new Set(later);
    for (const slot of stage.gives) later.delete(slot);
    for (const slot of stage.needs) later.add(slot);
  }
  return live;
}

function formatLabel(slot: SlotName, field: string): string {
  return field === "" ? slot : `${slot} (${field})`;
}

/** Checks values against their specs, binding sizes by name as it goes. */
class Binding {
  readonly #bound = new Map<string, { size: number; slot: string }>();
  readonly #specOf: (slot: SlotName) => SlotSpec<unknown>;
  readonly #where: string;

  constructor(where: string, specOf: (slot: SlotName) => SlotSpec<unknown>) {
    this.#where = where;
    this.#specOf = specOf;
  }

  check(slot: SlotName, value: unknown): void {
    const spec = this.#specOf(slot);
    const wrong = spec.check?.(value);
    if (wrong) throw new ShapeError(`${this.#where}: ${slot} ${wrong}`);
    const own = new Map<string, { size: number; slot: string }>();
    for (const [dim, size] of Object.entries(spec.sizes?.(value) ?? {})) {
      this.#bind(own, dim, size, slot);
    }
    for (const part of spec.tensors(value)) this.#checkTensor(own, slot, part);
  }

  #checkTensor(
    own: Map<string, { size: number; slot: string }>,
    slot: SlotName,
    { field, tensor, dtype, dims }: SlotTensor,
  ): void {
    const label = formatLabel(slot, field);
    if (tensor.dtype !== dtype) {
      throw new ShapeError(`${this.#where}: ${label} is ${tensor.dtype}; it must be ${dtype}`);
    }
    if (tensor.shape.length !== dims.length) {
      throw new ShapeError(
        `${this.#where}: ${label} has shape ${formatShape(tensor.shape)}; it must be ${
          formatShape(dims)
        }`,
      );
    }
    dims.forEach((dim, axis) => {
      const [name, more] = dim.split("+");
      this.#bind(own, name!, tensor.shape[axis]! - Number(more ?? 0), label);
    });
  }

  #bind(
    own: Map<string, { size: number; slot: string }>,
    dim: string,
    size: number,
    label: string,
  ): void {
    const scope = /^[A-Z]/.test(dim) ? this.#bound : own;
    const before = scope.get(dim);
    if (before === undefined) scope.set(dim, { size, slot: label });
    else if (before.size !== size) {
      throw new ShapeError(
        `${this.#where}: ${label} has ${
          formatSize(dim, size)
        }, ${before.slot} has ${before.size}; both must be ${dim}`,
      );
    }
  }
}

/**
 * A chain of stages. It owns them: disposing of the pipeline disposes of its stages. It also owns
 * every tensor that passes between them, and frees each as soon as nobody downstream needs it, when
 * a stage fails, and when a run is aborted.
 *
 * Runs may overlap. A pipeline that has lost its device throws `DeviceLostError` from then on; open
 * another one on a new device.
 *
 * `Available` holds the slots that are there after the last stage, `Last` those that it gave.
 */
export class Pipeline<
  Inputs extends SlotName,
  Available extends SlotName = Inputs,
  Last extends SlotName = never,
> {
  /** Where it computes. */
  readonly device: Device;
  /** The slots that a run begins with. */
  readonly inputs: readonly Inputs[];
  /** The chain. */
  readonly stages: readonly AnyStage[];
  readonly #last: SlotList;
  readonly #specs = new Map<SlotName, SlotSpec<unknown>>();
  readonly #active = new Set<Promise<unknown>>();
  #disposed: Promise<void> | null = null;

  /**
   * Made by {@linkcode pipeline} and {@linkcode Pipeline.pipe}.
   *
   * @throws {PipelineError} If a stage's needs are not met.
   */
  constructor(
    device: Device,
    inputs: readonly Inputs[],
    stages: readonly AnyStage[],
    givers?: Givers,
  ) {
    checkOrder(inputs, stages, givers);
    this.device = device;
    this.inputs = inputs;
    this.stages = stages;
    this.#last = stages.at(-1)?.gives ?? [];
    for (const specs of [slotSpecs, ...stages.map((stage) => stage.slots ?? {})]) {
      for (const [slot, spec] of Object.entries(specs)) {
        this.#specs.set(slot as SlotName, spec as SlotSpec<unknown>);
      }
    }
    for (const stage of stages) {
      for (const slot of stage.gives) {
        if (this.#specs.has(slot)) continue;
        throw new PipelineError(
          `${formatStage(stage)} gives slot "${slot}", which has no spec; list it in its "slots"`,
        );
      }
    }
  }

  /**
   * Adds a stage at the end. The compiler refuses one whose needs nobody upstream gives.
   *
   * @param stage The next stage; the new pipeline owns it, and those before it.
   * @returns The longer pipeline. Use this one no more, except to add another tail.
   * @throws {PipelineError} If the needs are not met, where the types were not known.
   */
  pipe<const Needs extends SlotList, const Gives extends SlotList>(
    stage: Stage<Needs, Gives> & Fits<Needs, Available>,
  ): Pipeline<Inputs, Available | Gives[number], Gives[number]> {
    return new Pipeline<Inputs, Available | Gives[number], Gives[number]>(
      this.device,
      this.inputs,
      [...this.stages, stage as AnyStage],
    );
  }

  /**
   * Runs the stages in order.
   *
   * @param inputs A value for every input slot; they stay the caller's.
   * @param options Which slots to hand back, an abort signal, a progress callback.
   * @returns The slots that were asked for, and the time that each stage took.
   * @throws {ShapeError} If a value does not fit its slot; names stage and slot.
   * @throws {DeviceLostError} If the device went away.
   * @throws {PipelineError} If the pipeline was disposed of, or a stage broke its contract.
   */
  run<Wanted extends Available = Last & Available>(
    inputs: { readonly [Name in Inputs]: Slots[Name] },
    options: RunOptions<Wanted> = {},
  ): Promise<PipelineResult<Wanted>> {
    const run = this.#run(inputs as Partial<Slots>, options);
    const settled = run.then(() => {}, () => {});
    this.#active.add(settled);
    settled.then(() => this.#active.delete(settled));
    return run;
  }

  async #run<Wanted extends SlotName>(
    inputs: Partial<Slots>,
    options: RunOptions<Wanted>,
  ): Promise<PipelineResult<Wanted>> {
    if (this.#disposed) throw new PipelineError("the pipeline was disposed of; open it again");
    const signal = options.signal ?? new AbortController().signal;
    const wanted: SlotList = options.outputs ?? this.#last;
    this.#checkWanted(wanted);
    const live = liveAfter(this.stages, wanted);
    const values = new Map<SlotName, unknown>();
    const lent = new Set<Tensor>();
    const owned = new Set<Tensor>();
    const timings: StageTiming[] = [];
    let current: AnyStage | undefined;

    const before = new Binding("pipeline input", (slot) => this.#specOf(slot));
    for (const slot of this.inputs) {
      const value = inputs[slot];
      if (value === undefined) throw new PipelineError(`pipeline input: slot "${slot}" is missing`);
      before.check(slot, value);
      values.set(slot, value);
      for (const tensor of this.#tensors(slot, value)) lent.add(tensor);
    }

    try {
      for (const [index, stage] of this.stages.entries()) {
        current = stage;
        signal.throwIfAborted();
        this.device.assertAlive();
        const report = (done: number, total: number) =>
          options.onProgress?.({
            role: stage.role,
            name: stage.name,
            index,
            count: this.stages.length,
            done,
            total,
          });
        report(0, 1);
        const needed: Record<string, unknown> = {};
        for (const slot of stage.needs) needed[slot] = values.get(slot);
        const start = performance.now();
        const given = await stage.run(
          needed,
          { device: this.device, signal, progress: report },
        ) as Readonly<Record<string, unknown>>;
        timings.push({
          role: stage.role,
          name: stage.name,
          milliseconds: performance.now() - start,
        });
        await this.#take(stage, given, values, lent, owned, live[index]!);
      }
      signal.throwIfAborted();
      // A lost device fails quietly: its buffers read as zeros.
      this.device.assertAlive();
    } catch (error) {
      for (const tensor of owned) tensor.dispose();
      throw this.#explain(error, signal, current);
    }
    const outputs = Object.fromEntries(wanted.map((slot) => [slot, values.get(slot)]));
    return new PipelineResult(
      outputs as { readonly [Name in Wanted]: Slots[Name] },
      timings,
      owned,
    );
  }

  /** Takes over what a stage gave: owns it first, then checks it, then frees what is over. */
  async #take(
    stage: AnyStage,
    given: Readonly<Record<string, unknown>>,
    values: Map<SlotName, unknown>,
    lent: ReadonlySet<Tensor>,
    owned: Set<Tensor>,
    live: ReadonlySet<SlotName>,
  ): Promise<void> {
    const where = formatStage(stage);
    for (const slot of stage.gives) {
      if (given?.[slot] === undefined) {
        throw new PipelineError(
          `${where} did not return slot "${slot}", which it lists in "gives"`,
        );
      }
      for (const tensor of this.#tensors(slot, given[slot])) {
        if (!lent.has(tensor)) owned.add(tensor);
      }
    }
    for (const slot of Object.keys(given)) {
      if (!stage.gives.includes(slot as SlotName)) {
        throw new PipelineError(`${where} returned slot "${slot}"; list it in "gives"`);
      }
    }
    // What a stage only adds to must fit what it read; what it gives anew must fit what stays.
    const regives = stage.gives.some((slot) => values.has(slot));
    const binding = new Binding(where, (slot) => this.#specOf(slot));
    for (const [slot, value] of values) {
      const stays = live.has(slot) || (!regives && stage.needs.includes(slot));
      if (stays && !stage.gives.includes(slot)) binding.check(slot, value);
    }
    for (const slot of stage.gives) {
      binding.check(slot, given[slot]);
      await this.#checkElements(where, slot, given[slot]);
      values.set(slot, given[slot]);
    }
    const kept = new Set<Tensor>();
    for (const [slot, value] of values) {
      if (!live.has(slot)) values.delete(slot);
      else for (const tensor of this.#tensors(slot, value)) kept.add(tensor);
    }
    for (const tensor of owned) {
      if (kept.has(tensor)) continue;
      owned.delete(tensor);
      tensor.dispose();
    }
  }

  /** A host tensor of a plugin's own making may hold more or less than its shape says. */
  async #checkElements(where: string, slot: SlotName, value: unknown): Promise<void> {
    for (const { field, tensor } of this.#specOf(slot).tensors(value)) {
      if (tensor.location !== "host" || tensor instanceof HostTensor) continue;
      const { length } = await tensor.read();
      const size = sizeOf(tensor.shape);
      if (length === size) continue;
      throw new ShapeError(
        `${where}: ${formatLabel(slot, field)} holds ${length} elements; its shape ${
          formatShape(tensor.shape)
        } takes ${size}`,
      );
    }
  }

  #tensors(slot: SlotName, value: unknown): Tensor[] {
    return this.#specOf(slot).tensors(value).map(({ field, tensor }) => {
      if (typeof tensor?.dispose === "function" && Array.isArray(tensor.shape)) return tensor;
      throw new PipelineError(
        `slot "${slot}" holds no tensor${field === "" ? "" : ` in ${field}`}; it must`,
      );
    });
  }

  #specOf(slot: SlotName): SlotSpec<unknown> {
    return this.#specs.get(slot)!;
  }

  #checkWanted(wanted: SlotList): void {
    const available = new Set<SlotName>(this.inputs);
    for (const stage of this.stages) for (const slot of stage.gives) available.add(slot);
    for (const slot of wanted) {
      if (available.has(slot)) continue;
      throw new PipelineError(
        `no stage gives the output "${slot}"; there are ${[...available].join(", ")}`,
      );
    }
  }

  /** A lost device and an abort come out as themselves, whatever they made a stage throw. */
  #explain(error: unknown, signal: AbortSignal, stage: AnyStage | undefined): unknown {
    if (error instanceof DeviceLostError) return error;
    try {
      this.device.assertAlive();
    } catch (lost) {
      return lost;
    }
    if (signal.aborted) return signal.reason;
    return stage === undefined ? error : stageFailure(stage, error);
  }

  /** Disposes of the stages once the runs under way have ended; a second call changes nothing. */
  dispose(): Promise<void> {
    this.#disposed ??= (async () => {
      await Promise.all(this.#active);
      await disposeAll(this.stages);
    })();
    return this.#disposed;
  }

  /** Lets `await using` free it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Disposes of stages, all of them even where one fails; the first failure is thrown at the end. */
export async function disposeAll(stages: Iterable<AnyStage>): Promise<void> {
  const ends = await Promise.allSettled(
    [...new Set(stages)].map(async (stage) => await stage.dispose?.()),
  );
  const failure = ends.find((end) => end.status === "rejected");
  if (failure) throw failure.reason;
}

/**
 * Begins a pipeline; {@linkcode Pipeline.pipe} adds the stages.
 *
 * @param device Where it computes. The pipeline does not dispose of it.
 * @param inputs The slots that a run begins with: `image` and `vocabulary` where left out.
 *
 * @example
 * ```ts ignore
 * const segment = pipeline(device)
 *   .pipe(imageEncoder).pipe(textEncoder).pipe(maskDecoder).pipe(maskPooling)
 *   .pipe(gfa).pipe(cosine).pipe(semantic);
 * using result = await segment.run({ image, vocabulary: vocabulary(["dog", "guitar"]) });
 * ```
 */
export function pipeline<const Inputs extends SlotList = readonly ["image", "vocabulary"]>(
  device: Device,
  inputs?: Inputs,
): Pipeline<Inputs[number]> {
  const begin: SlotList = inputs ?? ["image", "vocabulary"];
  return new Pipeline(device, begin as readonly Inputs[number][], []);
}
