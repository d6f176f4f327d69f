/**
 * Progress of long work.
 *
 * @module
 */
import process from "node:process";

/** Shows how far a piece of work is. */
export interface Progress {
  /** Says how many units are done, and what is under way. */
  update(done: number, what?: string): void;
  /** Takes the bar away, or ends the lines. */
  stop(): void;
}

/** Options of {@linkcode openProgress}. */
export interface ProgressOptions {
  /** What the work is called. */
  readonly title: string;
  /** Units of work in all. */
  readonly total: number;
  /** Writes nothing at all. */
  readonly silent?: boolean;
}

/**
 * Opens a progress display on standard error: a bar on a terminal, elsewhere a plain line for every
 * tenth of the work.
 *
 * @returns The display; call `stop` at the end, also after an error.
 */
export async function openProgress(options: ProgressOptions): Promise<Progress> {
  const { title, total, silent = false } = options;
  if (silent) return { update() {}, stop() {} };
  if (process.stderr.isTTY) {
    const { default: { SingleBar } } = await import("cli-progress");
    const bar = new SingleBar({
      format: `${title} {bar} {percentage} % · {what}`,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      stream: process.stderr,
    });
    bar.start(total, 0, { what: "" });
    return {
      update: (done, what) => bar.update(done, what === undefined ? {} : { what }),
      stop: () => bar.stop(),
    };
  }
  let tenth = 0;
  return {
    update(done, what) {
      const reached = Math.floor((done / total) * 10);
      if (reached <= tenth) return;
      tenth = reached;
      process.stderr.write(`${title}: ${reached * 10} %${what ? ` (${what})` : ""}\n`);
    },
    stop() {},
  };
}
