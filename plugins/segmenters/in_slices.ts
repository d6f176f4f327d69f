/**
 * Long work on the thread that everything else runs on.
 *
 * @module
 */

/** What inference looks at and calls while it works. */
export interface InferenceOptions {
  /** Aborts the work. */
  readonly signal?: AbortSignal;
  /** Called with the pixels done and the pixels in all. */
  readonly progress?: (done: number, total: number) => void;
}

const SLICE_MILLISECONDS = 50;

/**
 * Runs work step by step, and lets timers and aborts have their turn every 50 ms.
 *
 * @param steps Does a step whenever it is asked for the next, and says how many units it was.
 * @param total Units in all.
 * @throws The signal's reason, if it aborts.
 */
export async function inSlices(
  steps: Iterable<number>,
  total: number,
  { signal, progress }: InferenceOptions = {},
): Promise<void> {
  let done = 0;
  let start = performance.now();
  for (const units of steps) {
    done += units;
    if (performance.now() - start < SLICE_MILLISECONDS) continue;
    signal?.throwIfAborted();
    progress?.(done, total);
    await new Promise((resolve) => setTimeout(resolve, 0));
    start = performance.now();
  }
  signal?.throwIfAborted();
}
