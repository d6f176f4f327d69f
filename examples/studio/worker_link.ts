/**
 * The page's end of the line to one worker.
 *
 * @module
 */
import type { Requests, RequestType, WorkerMessage } from "./protocol.ts";

/** What the worker answered in place of a result. */
export class RequestFailure extends Error {
  /** As in `OvsError`, or DEFECT. */
  readonly code: string;

  /** @param message What a person is told. */
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The worker, or its GPU, is gone, and with it whatever was asked of it. */
export class WorkerGone extends Error {}

/** What happens without being asked for. */
export interface WorkerEvents {
  /** What it is busy with, and the share that is done, where known. */
  onProgress(text: string, share: number | null): void;
  /**
   * It is gone; called once.
   *
   * @param isGpu Whether only the GPU is, which a new worker may get again.
   * @param hasBegun Whether its program ever ran.
   */
  onGone(text: string, isGpu: boolean, hasBegun: boolean): void;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

let numLinks = 0;

/** One worker. */
export class WorkerLink {
  readonly #worker: Worker;
  readonly #events: WorkerEvents;
  readonly #pending = new Map<number, Pending>();
  readonly #abort = new AbortController();
  #numAsked = 0;
  #isGone = false;
  #hasBegun = false;

  /** Starts it. */
  constructor(events: WorkerEvents) {
    this.#events = events;
    const name = `ovstage-studio-${performance.timeOrigin}-${++numLinks}`;
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.#take(data, name);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(event.message || "it is missing or can't be reached", false);
    };
  }

  /**
   * Asks for something.
   *
   * @throws {RequestFailure} If the worker says so.
   * @throws {WorkerGone} If it ends before it answers.
   */
  request<Type extends RequestType>(
    type: Type,
    ask: Requests[Type]["ask"],
  ): Promise<Requests[Type]["answer"]> {
    if (this.#isGone) return Promise.reject(new WorkerGone("the worker is gone"));
    const id = ++this.#numAsked;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { resolve, reject });
    this.#worker.postMessage({ id, type, ask });
    return promise as Promise<Requests[Type]["answer"]>;
  }

  /** Ends it without a word. */
  close(): void {
    this.#isGone = true;
    this.#abort.abort();
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new WorkerGone("closed"));
    this.#pending.clear();
  }

  #take(message: WorkerMessage, name: string): void {
    this.#hasBegun = true;
    switch (message.kind) {
      case "answer":
        this.#pending.get(message.id)?.resolve(message.value);
        this.#pending.delete(message.id);
        break;
      case "failure":
        if (message.code === "DEVICE_LOST") return this.#lose(message.text, true);
        this.#pending.get(message.id)?.reject(new RequestFailure(message.code, message.text));
        this.#pending.delete(message.id);
        break;
      case "progress":
        this.#events.onProgress(message.text, message.share);
        break;
      case "lost":
        this.#lose(message.text, true);
        break;
      case "alive":
        // Granted only when the worker has ended, whatever ended it: no event tells of that.
        navigator.locks.request(name, { signal: this.#abort.signal }, () => {
          this.#lose("it ended", false);
        }).catch(() => {});
    }
  }

  #lose(text: string, isGpu: boolean): void {
    if (this.#isGone) return;
    this.close();
    this.#events.onGone(text, isGpu, this.#hasBegun);
  }
}
