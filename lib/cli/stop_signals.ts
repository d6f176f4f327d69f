/**
 * The wish to stop, from a terminal or a scheduler.
 *
 * @module
 */
import process from "node:process";

/**
 * Turns SIGINT and SIGTERM into an `AbortSignal`, so that work ends at a place that it can go on
 * from. A second one ends the process at once.
 *
 * @example
 * ```ts ignore
 * using stop = new StopSignals();
 * await work(stop.signal);
 * stop.exitIfAsked();
 * ```
 */
export class StopSignals implements Disposable {
  readonly #stop = new AbortController();
  #exitCode = 0;

  /** Listens until it is disposed of. */
  constructor() {
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);
  }

  /** Aborted by the first of them. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether one has come. */
  get isAsked(): boolean {
    return this.#exitCode !== 0;
  }

  /** Exits as shells expect of whom a signal ended: what comes after a finished run shall not start. */
  exitIfAsked(): void {
    if (this.isAsked) process.exit(this.#exitCode);
  }

  /** Listens no more. */
  [Symbol.dispose](): void {
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.exitIfAsked();
    this.#exitCode = signal === "SIGINT" ? 130 : 143;
    this.#stop.abort();
  };
}
