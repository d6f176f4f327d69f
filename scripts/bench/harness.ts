/**
 * How two implementations of one task are timed against each other.
 *
 * @module
 */

/** An implementation with one task's inputs in place, ready to be timed. */
export interface Side {
  /**
   * Runs the task.
   *
   * @param times How often, one after the other.
   * @returns Milliseconds in all, from the first call until the last result is complete in the
   *   memory of the device that computed it.
   */
  time(times: number): Promise<number>;
  /** Runs the task once more and reads its result; absent where it is another one by design. */
  result?(): Promise<ArrayLike<number>>;
  /** Frees what it holds. */
  dispose(): Promise<void>;
}

/** Something that can do tasks: this project, or a library that a user would otherwise pick. */
export interface Competitor<Task> {
  /** As the rows call it. */
  readonly name: string;
  /** Its version. */
  readonly version: string;
  /** The WebGPU device that it works on, where there is one to count the memory of. */
  readonly gpu?: GPUDevice | null;
  /**
   * Puts a task's inputs in place and compiles what can be compiled ahead.
   *
   * @throws {Error} If it can't do the task; the message goes into the row's note.
   */
  open(task: Task): Promise<Side>;
}

/** How long a pair may be measured. */
export interface Budget {
  /** Milliseconds for all rounds of one row together. */
  readonly row: number;
  /** The most rounds. */
  readonly rounds: number;
  /** Runs shorter than this many milliseconds are repeated within a round. */
  readonly sample: number;
  /** A peer that takes longer than this many milliseconds for one run is not measured. */
  readonly limit: number;
  /** Milliseconds of rest before each turn, in which the threads of the other side go to sleep. */
  readonly pause: number;
}

/** Budgets by name. */
export const budgets: { readonly [Name in "full" | "quick"]: Budget } = {
  full: { row: 8_000, rounds: 25, sample: 20, limit: 60_000, pause: 10 },
  quick: { row: 1_000, rounds: 5, sample: 2, limit: 10_000, pause: 5 },
};

/** What was measured of a pair. */
export interface Measurement {
  /** Median of one run's milliseconds. */
  readonly ms: number;
  /** The same of the peer. */
  readonly peerMs: number;
  /** Median over the rounds of peerMs / ms: above 1 the peer is slower. */
  readonly ratio: number;
  /** How many rounds that took. */
  readonly rounds: number;
}

/** The median; of an even number of values, the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return Number.isInteger(middle)
    ? (sorted[middle - 1]! + sorted[middle]!) / 2
    : sorted[Math.floor(middle)]!;
}

/** How often a run that takes `ms` is repeated within one round, to last `sample`. */
export function repeatsFor(ms: number, sample: number): number {
  return Math.min(1000, Math.max(1, Math.ceil(sample / Math.max(ms, 1e-3))));
}

/** Runs a side until it is warm. */
export async function warmUp(side: Side, budget: Budget): Promise<number> {
  // The first run compiles; unless it is long, it tells little about the next.
  let ms = await side.time(1);
  for (let i = 0; i < 2 && ms < budget.row / 4; i++) ms = await side.time(1);
  return ms;
}

/**
 * Times two sides in turn. Each must have been warmed up. The order within a round alternates, so
 * that neither gains from what the other leaves in caches; what else the machine does slows both
 * of a round, and the ratio of that round cancels it.
 *
 * @param ours This project.
 * @param peer The other side.
 * @param guess Milliseconds that one run of each is expected to take.
 * @param budget How long it may go on. One round is always made, and three where they fit into
 *   twice the row's time.
 */
export async function measurePair(
  ours: Side,
  peer: Side,
  guess: { readonly ms: number; readonly peerMs: number },
  budget: Budget,
): Promise<Measurement> {
  const times: number[] = [], peerTimes: number[] = [];
  const turn = async (side: Side, repeats: number, into: number[]) => {
    await new Promise((resolve) => setTimeout(resolve, budget.pause));
    into.push(await side.time(repeats) / repeats);
  };
  const repeats = repeatsFor(guess.ms, budget.sample);
  const peerRepeats = repeatsFor(guess.peerMs, budget.sample);
  const begin = performance.now();
  for (let round = 0; round < budget.rounds; round++) {
    const elapsed = performance.now() - begin;
    if (round >= 3 ? elapsed > budget.row : round >= 1 && elapsed > 2 * budget.row) break;
    if (round % 2 === 0) await turn(ours, repeats, times);
    await turn(peer, peerRepeats, peerTimes);
    if (round % 2 === 1) await turn(ours, repeats, times);
  }
  return {
    ms: median(times),
    peerMs: median(peerTimes),
    ratio: median(times.map((ms, i) => peerTimes[i]! / ms)),
    rounds: times.length,
  };
}

/** How far two results are apart: the largest difference over the largest magnitude. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let difference = 0, magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const distance = Math.abs(a[i]! - b[i]!);
    // A NaN on either side must not pass for agreement.
    if (!(distance <= difference)) difference = Number.isNaN(distance) ? Infinity : distance;
    magnitude = Math.max(magnitude, Math.abs(a[i]!));
  }
  return difference === 0 ? 0 : difference / magnitude;
}

/** The share of elements in which two results differ. */
export function disagreement(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return 1;
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count++;
  return count / a.length;
}
