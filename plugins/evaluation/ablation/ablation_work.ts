/**
 * What a plan comes to: the networks to train, and what to measure with each.
 *
 * @module
 */
import { join } from "node:path";
import { InputError, OvsError } from "../../../lib/errors.ts";
import { checkDocument, type StageDocument } from "../../../lib/stages/document.ts";
import type { OptionValue } from "../../../lib/stages/options.ts";
import type { Registry } from "../../../lib/stages/registry.ts";
import { knownNames } from "../../../lib/stages/suggest.ts";
import { ovsnetDocument } from "../../methods/ovsnet.ts";
import { type OvsnetConfig, readTrainConfig } from "../../training/train_config.ts";
import {
  type AblationPlan,
  type FusionPlan,
  type MeasuredPlan,
  type SweepPlan,
  trainedParameter,
  type VariantPlan,
} from "./ablation_plan.ts";

/** A network: a variant trained with a seed. */
export interface Network {
  /** Its folder's name, such as `baseline-1`. */
  readonly name: string;
  /** The variant's name. */
  readonly variant: string;
  /** The seed of its parameters and batches. */
  readonly seed: number;
  /** How it is trained; `out` is its folder. */
  readonly config: OvsnetConfig;
}

/** A way of using a network. */
export interface Measurement {
  /** Unique in the plan, such as `gfa` or `gfa, omega 0.3`. */
  readonly name: string;
  /** The whole pipeline, every option written out. */
  readonly stages: readonly StageDocument[];
}

/** A variant and a way of using it: what rows and points stand for, once for each seed. */
export interface Measured {
  /** The variant's name. */
  readonly variant: string;
  /** The measurement's name. */
  readonly measurement: string;
}

/** A table. */
export interface TableWork {
  /** Its heading. */
  readonly title: string;
  /** What to know about it. */
  readonly note: string;
  /** Its rows. */
  readonly rows: readonly (Measured & { readonly label: string })[];
}

/** A sweep. */
export interface SweepWork {
  /** Its heading. */
  readonly title: string;
  /** What to know about it. */
  readonly note: string;
  /** What varies. */
  readonly parameter: string;
  /** The lines of its chart. */
  readonly lines: readonly {
    readonly label: string;
    readonly points: readonly (Measured & { readonly value: number })[];
  }[];
}

/** All that a plan asks for. */
export interface AblationWork {
  /** The networks, a seed after the other: the first third of the time gives whole tables. */
  readonly networks: readonly Network[];
  /** What is measured with each variant. */
  readonly measurements: ReadonlyMap<string, readonly Measurement[]>;
  /** The tables. */
  readonly tables: readonly TableWork[];
  /** The sweeps. */
  readonly sweeps: readonly SweepWork[];
}

type JsonRecord = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Objects are merged field by field; everything else is replaced. */
function merge(base: JsonRecord, changes: JsonRecord): JsonRecord {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const old = merged[key];
    merged[key] = isRecord(old) && isRecord(value) ? merge(old, value) : value;
  }
  return merged;
}

/** Says where in the plan something is that others found wrong. */
function at<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof OvsError)) throw cause;
    throw new InputError(`${where}: ${cause.message}`, { cause });
  }
}

/** The variants as configs, those that sweeps add included. */
class Variants {
  /** Configs by variant; `out` and `seed` mean nothing yet. */
  readonly configs = new Map<string, OvsnetConfig>();
  readonly #base: JsonRecord;
  readonly #where: string;

  constructor(plan: AblationPlan, recipe: unknown, where: string) {
    this.#where = where;
    const name = `${plan.recipe} with the changes of ${where}`;
    if (!isRecord(recipe)) throw new InputError(`${plan.recipe}: must be an object`);
    this.#base = { ...merge(recipe, plan.changes), out: plan.out, seed: 0 };
    const config = readTrainConfig(this.#base, name);
    if (config.stage !== "ovsnet") {
      throw new InputError(`${name}: stage is "${config.stage}"; it must be "ovsnet"`);
    }
    if (config.fuser !== undefined) {
      throw new InputError(`${name}: has a fuser; which are trained is for variants to say`);
    }
    for (const [i, variant] of plan.variants.entries()) {
      const same = this.#add(variant, `variants[${i}]`);
      if (same === variant.name) continue;
      throw new InputError(
        `${where}: variants[${i}], "${variant.name}", is the same network as "${same}"; one is enough`,
      );
    }
  }

  /** Adds a variant; the name of the one that it is the same network as. */
  #add({ name, loss, fuser }: VariantPlan, field: string): string {
    const config = readTrainConfig(
      merge(this.#base, { loss, ...(fuser === undefined ? {} : { fuser }) }),
      `${this.#where}: ${field}, "${name}"`,
    ) as OvsnetConfig;
    const text = JSON.stringify(config);
    for (const [other, known] of this.configs) {
      if (JSON.stringify(known) === text) return other;
    }
    if (this.configs.has(name)) {
      throw new InputError(
        `${this.#where}: ${field}: would train another network by the name "${name}"; rename the ` +
          "variant that has it",
      );
    }
    this.configs.set(name, config);
    return name;
  }

  /** The variant that is another one but for its γ. */
  withGamma(variant: VariantPlan, gamma: number, field: string): string {
    const { proxyQuery, proxyClip } = this.configs.get(variant.name)!.loss;
    if (proxyQuery === 0 && proxyClip === 0) {
      throw new InputError(
        `${this.#where}: ${field}: "${variant.name}" has no Proxy Calibration; gamma changes ` +
          "nothing there",
      );
    }
    return this.#add({
      ...variant,
      name: `${variant.name}-gamma-${gamma}`,
      loss: { ...variant.loss, gamma },
    }, field);
  }
}

/** Ways of using networks; what is the same pipeline is measured once. */
class Measurements {
  readonly #evaluation: AblationPlan["evaluation"];
  readonly #size: number;
  readonly #registry: Registry;
  readonly #byStages = new Map<string, Measurement>();

  constructor(plan: AblationPlan, size: number, registry: Registry) {
    this.#evaluation = plan.evaluation;
    this.#size = size;
    this.#registry = registry;
  }

  /** The measurement of a fusion, perhaps with other options of its fuser. */
  of(fusion: FusionPlan, changed: Readonly<Record<string, OptionValue>> = {}): Measurement {
    const { stages } = checkDocument(
      ovsnetDocument({
        fuser: fusion.fuser,
        classifier: fusion.classifier ?? this.#evaluation.classifier,
        inputSize: this.#size,
        stages: {
          fuser: { ...fusion.options, ...changed },
          classifier: fusion.classifierOptions,
        },
      }),
      this.#registry,
    );
    const key = JSON.stringify(stages);
    const known = this.#byStages.get(key);
    if (known !== undefined) return known;
    const changes = Object.entries(changed).map(([name, value]) => `${name} ${value}`);
    const measurement = { name: [fusion.name, ...changes].join(", "), stages };
    this.#byStages.set(key, measurement);
    return measurement;
  }

  /** Refuses a parameter that isn't an option of the fuser. */
  checkOption({ fuser }: FusionPlan, parameter: string): void {
    const { options } = this.#registry.get("fuser", fuser);
    const numeric = Object.keys(options).filter((name) =>
      ["number", "integer"].includes(options[name]!.type)
    );
    if (numeric.includes(parameter)) return;
    throw new InputError(
      `fuser "${fuser}" has no number "${parameter}"; ${knownNames(parameter, numeric)}, and ` +
        `${trainedParameter}, for which networks are trained`,
    );
  }
}

const learned: readonly string[] = ["self_attention", "cross_attention"];

/**
 * Works out what a plan comes to. Everything is checked before anything is computed.
 *
 * @param plan The plan.
 * @param recipe What the file `plan.recipe` holds.
 * @param where What to call the plan in messages.
 * @param registry Where fusers and classifiers are looked up.
 * @throws {InputError} If the recipe can't be trained by, a fuser or option is unknown, a network
 *   lacks the fuser that it is used with, or two networks are the same.
 */
export function planWork(
  plan: AblationPlan,
  recipe: unknown,
  where: string,
  registry: Registry,
): AblationWork {
  const variants = new Variants(plan, recipe, where);
  const { size } = [...variants.configs.values()][0]!.data;
  const measurements = new Measurements(plan, size, registry);
  const fusions = new Map(plan.fusions.map((fusion, i) => {
    at(`${where}: fusions[${i}], "${fusion.name}"`, () => measurements.of(fusion));
    return [fusion.name, fusion];
  }));
  const wanted = new Map<string, Set<Measurement>>();
  const measure = (variant: string, measurement: Measurement): Measured => {
    wanted.set(variant, (wanted.get(variant) ?? new Set()).add(measurement));
    return { variant, measurement: measurement.name };
  };
  const resolve = ({ variant, fusion }: MeasuredPlan, field: string) => {
    const { fuser } = fusions.get(fusion)!;
    const trained = variants.configs.get(variant)!.fuser?.kind;
    if (learned.includes(fuser) && fuser !== trained) {
      throw new InputError(
        `${where}: ${field}: the fuser "${fuser}" is learned, and the variant "${variant}" trains ` +
          `${trained === undefined ? "none" : `"${trained}"`}; take one that trains it`,
      );
    }
    return { fusion: fusions.get(fusion)!, variant };
  };

  const tables = plan.tables.map(({ title, note = "", rows }, t): TableWork => ({
    title,
    note,
    rows: rows.map((row, r) => {
      const { fusion, variant } = resolve(row, `tables[${t}].rows[${r}]`);
      return { label: row.label, ...measure(variant, measurements.of(fusion)) };
    }),
  }));
  const point = (
    { parameter }: SweepPlan,
    { variant, fusion }: ReturnType<typeof resolve>,
    value: number,
    field: string,
  ) => {
    if (parameter === trainedParameter) {
      const own = plan.variants.find(({ name }) => name === variant)!;
      return measure(variants.withGamma(own, value, field), measurements.of(fusion));
    }
    return at(`${where}: ${field}`, () => {
      measurements.checkOption(fusion, parameter);
      return measure(variant, measurements.of(fusion, { [parameter]: value }));
    });
  };
  const sweeps = plan.sweeps.map((sweep, s): SweepWork => ({
    title: sweep.title,
    note: sweep.note ?? "",
    parameter: sweep.parameter,
    lines: sweep.lines.map((line, l) => {
      const field = `sweeps[${s}].lines[${l}]`;
      const resolved = resolve(line, field);
      return {
        label: line.label,
        points: sweep.values.map((value) => ({ value, ...point(sweep, resolved, value, field) })),
      };
    }),
  }));

  const networks = plan.seeds.flatMap((seed) =>
    [...variants.configs].map(([variant, config]): Network => {
      const name = `${variant}-${seed}`;
      return { name, variant, seed, config: { ...config, seed, out: join(plan.out, name) } };
    })
  );
  const lists = [...wanted].map(([variant, set]): [string, Measurement[]] => [variant, [...set]]);
  return { networks, measurements: new Map(lists), tables, sweeps };
}
