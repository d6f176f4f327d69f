/**
 * Sessions that are loaded when they are first needed.
 *
 * @module
 */
import type { Engine, Session } from "../../lib/runtime.ts";
import type { Tensor } from "../../lib/tensor.ts";

/** A session of an engine, loaded once on first use and owned by this object. */
export class LazySession {
  readonly #engine: Engine;
  readonly #build: () => Uint8Array;
  #session: Promise<Session> | null = null;

  /**
   * @param engine Loads and runs the model.
   * @param build Makes the model's bytes.
   */
  constructor(engine: Engine, build: () => Uint8Array) {
    this.#engine = engine;
    this.#build = build;
  }

  /** Loads the model unless that has been done, and executes it. */
  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    if (this.#session === null) {
      const loading = this.#engine.load(this.#build());
      this.#session = loading;
      loading.catch(() => this.#session = null);
    }
    return await (await this.#session).run(inputs);
  }

  /** Frees the session, if it was loaded. */
  async dispose(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await (await session)?.dispose();
  }
}
