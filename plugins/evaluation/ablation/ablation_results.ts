/**
 * What an ablation found: means and spreads over seeds.
 *
 * @module
 */
import config from "../../../deno.json" with { type: "json" };
import { totalSteps } from "../../training/train_config.ts";
import type { AblationWork, Measured, Network } from "./ablation_work.ts";
import { type AblationSplit, scorePath, TrainedNetwork } from "./evaluate_networks.ts";
import { ScoreFile } from "./score_file.ts";

/** A mean over seeds and how far they lie apart. */
export interface Spread {
  /** The mean. */
  readonly mean: number;
  /** The sample standard deviation (n − 1); null of a single one. */
  readonly spread: number | null;
}

/** mIoU on one split, in percent. */
export interface SplitScore {
  /** For each seed; null where it isn't measured yet. */
  readonly values: readonly (number | null)[];
  /** Over the seeds that are measured; null where none is. */
  readonly over: Spread | null;
  /**
   * What it has more than the table's first row, seed by seed: the same seed means the same first
   * parameters and the same batches. Null for the first row itself, and where nothing can be compared.
   */
  readonly difference: Spread | null;
}

/** Scores by split. */
export type SplitScores = Readonly<Record<string, SplitScore>>;

/** A row of a table. */
export interface ResultRow extends Measured {
  /** What people read. */
  readonly label: string;
  /** What was found. */
  readonly scores: SplitScores;
}

/** Everything that was found: the file `results.json`. */
export interface AblationResults {
  /** The version of this file. */
  readonly format: "ovstage ablation 1";
  /** The version of this package. */
  readonly version: string;
  /** The seeds. */
  readonly seeds: readonly number[];
  /** What every network was trained with. */
  readonly budget: { readonly steps: number; readonly batch: number };
  /** What was measured on. */
  readonly dataset: string;
  /** Its splits. */
  readonly splits: readonly {
    readonly split: string;
    readonly images: number;
    readonly fingerprint: string;
  }[];
  /** How many figures are not there yet, of how many. */
  readonly missing: { readonly figures: number; readonly of: number };
  /** The tables. */
  readonly tables: readonly {
    readonly title: string;
    readonly note: string;
    readonly rows: readonly ResultRow[];
  }[];
  /** The sweeps. */
  readonly sweeps: readonly {
    readonly title: string;
    readonly note: string;
    readonly parameter: string;
    readonly lines: readonly {
      readonly label: string;
      readonly points: readonly (Measured & {
        readonly value: number;
        readonly scores: SplitScores;
      })[];
    }[];
  }[];
}

/** Mean and sample standard deviation; null of nothing. */
export function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length === 1) return { mean, spread: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, spread: Math.sqrt(squares / (values.length - 1)) };
}

/** The values that are there. */
const present = (values: readonly (number | null)[]) =>
  values.filter((value): value is number => value !== null);

function splitScore(
  values: readonly (number | null)[],
  first: readonly (number | null)[] | null,
): SplitScore {
  const differences = values.map((value, i) => {
    const other = first?.[i] ?? null;
    return value === null || other === null ? null : value - other;
  });
  return { values, over: spreadOf(present(values)), difference: spreadOf(present(differences)) };
}

/** mIoU of a network's measurement on a split. */
type Lookup = (variant: string, seed: number, measurement: string, split: string) => number | null;

/** Reads the figures of all networks that are trained. */
async function readScores(
  work: AblationWork,
  splits: readonly AblationSplit[],
): Promise<{ lookup: Lookup; missing: AblationResults["missing"] }> {
  const found = new Map<string, number | null>();
  let [figures, of] = [0, 0];
  for (const network of work.networks) {
    const trained = TrainedNetwork.find(network);
    const scores = await ScoreFile.open(scorePath(network));
    for (const split of splits) {
      for (const measurement of work.measurements.get(network.variant)!) {
        of++;
        const record = trained && scores.get(trained.key(split, measurement));
        if (record === null) {
          figures++;
          continue;
        }
        const { variant, seed } = network;
        const key = JSON.stringify([variant, seed, measurement.name, split.split]);
        found.set(key, record.figures.mIoU);
      }
    }
  }
  const lookup: Lookup = (...parts) => found.get(JSON.stringify(parts)) ?? null;
  return { lookup, missing: { figures, of } };
}

/**
 * Puts together what was found.
 *
 * @param work The networks, trained or not, and what is measured with each.
 * @param dataset What is measured on.
 * @param splits Its splits.
 * @throws {InputError} If a file of figures is damaged.
 */
export async function ablationResults(
  work: AblationWork,
  dataset: string,
  splits: readonly AblationSplit[],
): Promise<AblationResults> {
  const { lookup, missing } = await readScores(work, splits);
  const seeds = [...new Set(work.networks.map(({ seed }) => seed))];
  const valuesOf = ({ variant, measurement }: Measured, split: string) =>
    seeds.map((seed) => lookup(variant, seed, measurement, split));
  const scoresOf = (measured: Measured, first: Measured | null): SplitScores =>
    Object.fromEntries(splits.map(({ split }) => [
      split,
      splitScore(valuesOf(measured, split), first && valuesOf(first, split)),
    ]));
  const [{ config: trained }] = work.networks as readonly [Network];
  return {
    format: "ovstage ablation 1",
    version: config.version,
    seeds,
    budget: { steps: totalSteps(trained), batch: trained.batch },
    dataset,
    splits: splits.map(({ split, images, fingerprint }) => ({ split, images, fingerprint })),
    missing,
    tables: work.tables.map(({ title, note, rows }) => ({
      title,
      note,
      rows: rows.map((row, r) => ({ ...row, scores: scoresOf(row, r === 0 ? null : rows[0]!) })),
    })),
    sweeps: work.sweeps.map(({ title, note, parameter, lines }) => ({
      title,
      note,
      parameter,
      lines: lines.map(({ label, points }) => ({
        label,
        points: points.map((point) => ({ ...point, scores: scoresOf(point, null) })),
      })),
    })),
  };
}
