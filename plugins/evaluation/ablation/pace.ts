/**
 * How fast an ablation went so far, to tell how long the rest will take.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readMetrics } from "../../training/metrics_log.ts";
import { writeTextAtomically } from "../../training/run_files.ts";

/** Seconds that pieces of the work took when they were last done; null where none was. */
export interface Pace {
  /** A step of training. */
  readonly step: number | null;
  /** Of an image: reading it, its encoder, decoder and mask pooling. */
  readonly image: number | null;
  /** Of an image: one way of using the network, and its score. */
  readonly measurement: number | null;
}

const nothing: Pace = { step: null, image: null, measurement: null };
const fileName = "pace.json";

/** Reads what was noted in a folder. It is no result: whatever is wrong with the file, it is nothing. */
export function readPace(folder: string): Pace {
  try {
    const pace = JSON.parse(readFileSync(join(folder, fileName), "utf8")) as Partial<Pace>;
    const positive = (value: unknown) => typeof value === "number" && value > 0 ? value : null;
    return {
      step: positive(pace.step),
      image: positive(pace.image),
      measurement: positive(pace.measurement),
    };
  } catch {
    return nothing;
  }
}

/** Notes what was measured; what isn't given stays. */
export function notePace(folder: string, pace: Partial<Pace>): void {
  const text = JSON.stringify({ ...readPace(folder), ...pace }) + "\n";
  writeTextAtomically(join(folder, fileName), text);
}

/**
 * The speed that a run of training has logged: the mean over its last ten lines.
 *
 * @param folder The run's folder.
 * @param batch Its batch.
 */
export function loggedPace(folder: string, batch: number): number | null {
  const speeds = readMetrics(join(folder, "metrics.jsonl")).slice(-10)
    .map(({ samplesPerSecond }) => samplesPerSecond)
    .filter((speed): speed is number => typeof speed === "number" && speed > 0);
  if (speeds.length === 0) return null;
  return speeds.reduce((sum, speed) => sum + batch / speed, 0) / speeds.length;
}
