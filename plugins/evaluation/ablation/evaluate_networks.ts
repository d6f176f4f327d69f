/**
 * The measurements of an ablation: every network on every split, in every way that the plan asks for.
 *
 * An image goes through a network once: what encoder, decoder and mask pooling give is shared by all
 * fusers and all their settings. The towers are opened once for all networks, and a split's names are
 * embedded once.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import config from "../../../deno.json" with { type: "json" };
import type { Dataset } from "../../../lib/data/dataset.ts";
import { InputError } from "../../../lib/errors.ts";
import type { Device } from "../../../lib/runtime.ts";
import type { StageDocument } from "../../../lib/stages/document.ts";
import { modelsAt } from "../../../lib/stages/models.ts";
import { disposeAll, Pipeline } from "../../../lib/stages/pipeline.ts";
import { openAll, openStage } from "../../../lib/stages/plugin.ts";
import type { Registry } from "../../../lib/stages/registry.ts";
import type { SlotName, Slots, VocabularySlot } from "../../../lib/stages/slots.ts";
import type { AnyStage } from "../../../lib/stages/stage.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import { sha256 } from "../pipeline_identity.ts";
import type { SemanticFigures } from "../result.ts";
import { borrowStage } from "../split_pipeline.ts";
import { taskOf } from "../tasks/task_of.ts";
import type { Outputs, Task } from "../tasks/task.ts";
import { datasetVocabulary } from "../vocabularies.ts";
import type { AblationWork, Measurement, Network } from "./ablation_work.ts";
import { ScoreFile, type ScoreRecord } from "./score_file.ts";

/** A split that is measured on. */
export interface AblationSplit {
  /** Its name. */
  readonly split: string;
  /** Its images. */
  readonly dataset: Dataset;
  /** How many of them, the first ones. */
  readonly images: number;
  /** See `Dataset.fingerprint`. */
  readonly fingerprint: string;
}

/** How far the measurements have come. */
export interface EvaluateNetworksProgress {
  /** The network and the split under way. */
  readonly what: string;
  /** Images done, each counted once for every network. */
  readonly done: number;
  /** Images in all. */
  readonly total: number;
  /** Seconds that the rest will take. */
  readonly secondsLeft: number;
}

/** Seconds that an image took. */
export interface EvaluationPace {
  /** Reading it, encoder, decoder and mask pooling. */
  readonly image: number;
  /** Each measurement. */
  readonly measurement: number;
}

/** Options of {@linkcode evaluateNetworks}. */
export interface EvaluateNetworksOptions {
  /** Where to compute. */
  readonly device: Device;
  /** Where stages are looked up. */
  readonly registry: Registry;
  /** Stops after the image under way; what was found on whole splits stays. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every image. */
  readonly onProgress?: ((progress: EvaluateNetworksProgress) => void) | undefined;
  /** Told how long it took, after every split. */
  readonly onPace?: ((pace: EvaluationPace) => void) | undefined;
}

/** The file of a network's figures. */
export function scorePath({ config }: Network): string {
  return join(config.out, "scores.jsonl");
}

/** A network as it lies in its folder. */
export class TrainedNetwork {
  /** The network. */
  readonly network: Network;
  /** The folder of its model files. */
  readonly models: string;
  /** SHA-256 of its model files. */
  readonly digests: Readonly<Record<string, string>>;

  private constructor(network: Network, models: string, digests: Record<string, string>) {
    this.network = network;
    this.models = models;
    this.digests = digests;
  }

  /** Looks at a network's files; null where there are none. */
  static find(network: Network): TrainedNetwork | null {
    const models = join(network.config.out, "models");
    if (!existsSync(models)) return null;
    const files = readdirSync(models).filter((name) => !name.startsWith(".")).sort();
    const digest = (name: string) => sha256(readFileSync(join(models, name)));
    return new TrainedNetwork(
      network,
      models,
      Object.fromEntries(files.map((name) => [name, digest(name)])),
    );
  }

  /** The key of a measurement on a split: a digest of all that its figures depend on. */
  key({ dataset, images, fingerprint }: AblationSplit, { stages }: Measurement): string {
    const { name, othersIndex } = dataset;
    return sha256(JSON.stringify({
      version: config.version,
      dataset: { name, fingerprint, images, others: othersIndex },
      stages,
      models: this.digests,
    }));
  }
}

/** The roles whose stages may differ between the measurements of a network. */
const varied: readonly string[] = ["fuser", "classifier"];
/** What is the same for all networks of a plan. */
const towerFiles = ["image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"];

/** Stages that all networks have in common. */
class SharedStages {
  readonly #options: EvaluateNetworksOptions;
  readonly #stages = new Map<string, AnyStage>();
  readonly #texts = new Map<string, HostTensor<"float32">>();
  #towers: { readonly network: string; readonly digests: string } | null = null;

  constructor(options: EvaluateNetworksOptions) {
    this.#options = options;
  }

  /** Opens a stage of a network, or gives the one that is open: all networks have the same towers. */
  async open(stage: StageDocument, trained: TrainedNetwork): Promise<AnyStage> {
    this.#check(trained);
    const key = JSON.stringify(stage);
    let opened = this.#stages.get(key);
    if (opened === undefined) {
      opened = await openDocumentStage(stage, trained, this.#options);
      this.#stages.set(key, opened);
    }
    return opened;
  }

  #check({ network, digests }: TrainedNetwork): void {
    const towers = JSON.stringify(towerFiles.map((name) => digests[name]));
    this.#towers ??= { network: network.name, digests: towers };
    if (this.#towers.digests === towers) return;
    throw new InputError(
      `${network.config.out}: has other towers than ${this.#towers.network}; networks of one plan ` +
        "share theirs",
    );
  }

  /** The embeddings of a split's names, C×D. */
  async text(
    document: StageDocument,
    { split, dataset }: AblationSplit,
    trained: TrainedNetwork,
  ): Promise<HostTensor<"float32">> {
    const known = this.#texts.get(split);
    if (known !== undefined) return known;
    const { device, signal } = this.#options;
    const stage = borrowStage(await this.open(document, trained), {});
    const encoder = new Pipeline<"vocabulary", SlotName>(device, ["vocabulary"], [stage]);
    using result = await encoder.run({ vocabulary: datasetVocabulary(dataset, null, []) }, {
      outputs: ["text"],
      ...(signal === undefined ? {} : { signal }),
    });
    const { text } = result.outputs;
    const copy = new HostTensor("float32", text.shape, (await text.read()).slice());
    this.#texts.set(split, copy);
    return copy;
  }

  async dispose(): Promise<void> {
    await disposeAll(this.#stages.values());
  }
}

function openDocumentStage(
  { role, name, options }: StageDocument,
  { models }: TrainedNetwork,
  { registry, device }: EvaluateNetworksOptions,
): Promise<AnyStage> {
  return openStage(registry.get(role, name), options ?? {}, {
    device,
    models: modelsAt(pathToFileURL(resolve(models) + "/")),
  });
}

type FirstPart = Pipeline<"image", SlotName>;
type SecondPart = Pipeline<SlotName, SlotName>;

/** A network with all the ways of using it. */
class OpenNetwork {
  readonly #first: FirstPart;
  readonly #between: readonly SlotName[];
  readonly #second: ReadonlyMap<Measurement, SecondPart>;
  readonly #owned: readonly AnyStage[];

  private constructor(
    first: FirstPart,
    between: readonly SlotName[],
    second: ReadonlyMap<Measurement, SecondPart>,
    owned: readonly AnyStage[],
  ) {
    this.#first = first;
    this.#between = between;
    this.#second = second;
    this.#owned = owned;
  }

  /** Opens the stages; those of all networks stay the caller's. */
  static async open(
    trained: TrainedNetwork,
    measurements: readonly Measurement[],
    shared: SharedStages,
    options: EvaluateNetworksOptions,
  ): Promise<OpenNetwork> {
    const { device } = options;
    const owned: AnyStage[] = [];
    const own = async (stages: readonly StageDocument[]) => {
      const opened = await openAll(
        stages.map((stage) => openDocumentStage(stage, trained, options)),
      );
      owned.push(...opened);
      return opened;
    };
    const lend = (stage: AnyStage) => borrowStage(stage, stage.slots ?? {});
    try {
      // Text apart, what comes before the fuser is the same for all measurements.
      const { stages } = measurements[0]!;
      const cut = stages.findIndex(({ role }) => varied.includes(role));
      const front: AnyStage[] = [];
      for (const stage of stages.slice(0, cut)) {
        if (stage.role === "text-encoder") continue;
        front.push(
          stage.role === "decoder" ? (await own([stage]))[0]! : await shared.open(stage, trained),
        );
      }
      const given = new Set(front.flatMap(({ gives }) => gives));
      const between = new Set<SlotName>();
      const second = new Map<Measurement, readonly AnyStage[]>();
      for (const measurement of measurements) {
        const back = measurement.stages.slice(cut);
        const fusers = await own(back.filter(({ role }) => varied.includes(role)));
        const ends = await Promise.all(
          back.filter(({ role }) => !varied.includes(role))
            .map((stage) => shared.open(stage, trained)),
        );
        const all = [...fusers, ...ends];
        for (const { needs } of all) {
          for (const slot of needs) if (given.has(slot)) between.add(slot);
        }
        second.set(measurement, all);
      }
      const inputs: SlotName[] = ["image", "vocabulary", "text", ...between];
      return new OpenNetwork(
        new Pipeline<"image", SlotName>(device, ["image"], front.map(lend)),
        [...between],
        new Map([...second].map(([measurement, all]) => [
          measurement,
          new Pipeline<SlotName, SlotName>(device, inputs, all.map(lend)),
        ])),
        owned,
      );
    } catch (error) {
      await disposeAll(owned);
      throw error;
    }
  }

  /**
   * Runs the network on an image, and then every way of using it.
   *
   * @param visit Called for each of them with what it gave, which is freed afterwards.
   * @returns Milliseconds of what is shared.
   */
  async run(
    inputs: Pick<Slots, "image" | "vocabulary" | "text">,
    outputs: readonly SlotName[],
    visit: (outputs: Outputs, measurement: Measurement) => Promise<void>,
  ): Promise<number> {
    const start = performance.now();
    using first = await this.#first.run({ image: inputs.image }, { outputs: this.#between });
    const milliseconds = performance.now() - start;
    for (const [measurement, pipeline] of this.#second) {
      using result = await pipeline.run({ ...first.outputs, ...inputs } as Slots, { outputs });
      await visit(result.outputs, measurement);
    }
    return milliseconds;
  }

  async dispose(): Promise<void> {
    await disposeAll(this.#owned);
  }
}

/** What is left to measure with a network on a split. */
interface Unit {
  readonly trained: TrainedNetwork;
  readonly split: AblationSplit;
  readonly measurements: readonly Measurement[];
}

function taskFor({ dataset }: AblationSplit): Task {
  return taskOf({
    task: "semantic",
    classes: dataset.classes,
    dataset: { others: dataset.othersIndex },
  });
}

/** Measures one network on one split. */
async function measure(
  unit: Unit,
  shared: SharedStages,
  options: EvaluateNetworksOptions,
  onImage: (image: number) => void,
): Promise<{ records: ScoreRecord[]; pace: EvaluationPace }> {
  const { trained, split, measurements } = unit;
  const { dataset, images } = split;
  const { signal } = options;
  const task = taskFor(split);
  const sums = new Map(measurements.map((measurement) => [measurement, task.accumulate()]));
  const vocabulary: VocabularySlot = datasetVocabulary(dataset, null, []);
  const words = measurements[0]!.stages.find(({ role }) => role === "text-encoder")!;
  const text = await shared.text(words, split, trained);
  const network = await OpenNetwork.open(trained, measurements, shared, options);
  const spent = { image: 0, all: 0 };
  try {
    for (let i = 0; i < images; i++) {
      signal?.throwIfAborted();
      const start = performance.now();
      const sample = await dataset.read(i, signal === undefined ? {} : { signal });
      const read = performance.now() - start;
      const inside = await network.run(
        { image: sample.image, vocabulary, text },
        task.outputs,
        async (outputs, measurement) =>
          sums.get(measurement)!.add(await task.score(sample, outputs)),
      );
      spent.image += read + inside;
      spent.all += performance.now() - start;
      onImage(i);
    }
  } finally {
    await network.dispose();
  }
  const records = measurements.map((measurement): ScoreRecord => ({
    key: trained.key(split, measurement),
    split: split.split,
    images,
    measurement: measurement.name,
    figures: sums.get(measurement)!.figures("either") as SemanticFigures,
  }));
  const seconds = 1000 * images;
  return {
    records,
    pace: {
      image: spent.image / seconds,
      measurement: (spent.all - spent.image) / seconds / measurements.length,
    },
  };
}

/**
 * What is left to measure with the networks that are trained.
 *
 * @param networks The trained ones.
 * @param options See {@linkcode ScoreFile.open}.
 * @throws {InputError} If a file of figures is damaged.
 */
export async function unitsLeft(
  networks: readonly TrainedNetwork[],
  { measurements }: Pick<AblationWork, "measurements">,
  splits: readonly AblationSplit[],
  options: { readonly mend?: boolean } = {},
): Promise<Unit[]> {
  const units: Unit[] = [];
  for (const trained of networks) {
    const scores = await ScoreFile.open(scorePath(trained.network), options);
    for (const split of splits) {
      const missing = measurements.get(trained.network.variant)!
        .filter((measurement) => scores.get(trained.key(split, measurement)) === null);
      if (missing.length > 0) units.push({ trained, split, measurements: missing });
    }
  }
  return units;
}

/**
 * Measures what isn't measured yet. Figures are written for a network and a split at a time; where it
 * was interrupted, it goes on with the first that isn't there.
 *
 * @param networks The trained networks.
 * @param work What is measured with each.
 * @param splits What is measured on.
 * @throws {InputError} If an image or a file of figures is damaged, or networks differ in their towers.
 * @throws {ModelError} If a model is missing or damaged.
 * @throws {OutputError} If figures can't be written.
 * @throws The signal's reason once it is aborted.
 */
export async function evaluateNetworks(
  networks: readonly TrainedNetwork[],
  work: Pick<AblationWork, "measurements">,
  splits: readonly AblationSplit[],
  options: EvaluateNetworksOptions,
): Promise<void> {
  const units = await unitsLeft(networks, work, splits, { mend: true });
  const cost = ({ split, measurements }: Unit) => split.images * (measurements.length + 1);
  const all = units.reduce((sum, { split }) => sum + split.images, 0);
  const start = performance.now();
  let [before, spent, left] = [0, 0, units.reduce((sum, unit) => sum + cost(unit), 0)];
  const shared = new SharedStages(options);
  try {
    for (const unit of units) {
      const { trained, split, measurements } = unit;
      const { records, pace } = await measure(unit, shared, options, (image) => {
        const each = measurements.length + 1;
        spent += each;
        left -= each;
        options.onProgress?.({
          what: `${trained.network.name} on ${split.split}`,
          done: before + image + 1,
          total: all,
          secondsLeft: left * (performance.now() - start) / 1000 / spent,
        });
      });
      before += split.images;
      (await ScoreFile.open(scorePath(trained.network))).append(records);
      options.onPace?.(pace);
    }
  } finally {
    await shared.dispose();
  }
}
