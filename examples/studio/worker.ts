/**
 * The worker: everything that computes.
 *
 * @module
 */
import { acquireDevice, OvsError } from "@ovstage/ovstage";
import { fetchModels } from "./model_files.ts";
import type { Picture, RequestMessage, Requests, RequestType, WorkerMessage } from "./protocol.ts";
import { Session } from "./session.ts";

/** The part of a worker's global scope that is used here. */
interface Scope {
  readonly name: string;
  postMessage(message: WorkerMessage, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<RequestMessage>) => void) | null;
}

const scope = globalThis as unknown as Scope;
// Threads share memory, which only cross-origin isolated pages may.
const threads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
/** A change that shows within so many milliseconds needs no draft. */
const quick = 60;
let session: Session | null = null;
let picture: Picture | null = null;

const stageNames: Readonly<Record<string, string>> = {
  "text-encoder": "Reading the classes",
  "image-encoder": "Looking at the image",
  decoder: "Drawing masks",
  pooler: "Pooling features",
  fuser: "Fusing embeddings",
  classifier: "Comparing with the classes",
  segmenter: "Labelling pixels",
};

function progress(text: string, share: number | null): void {
  scope.postMessage({ kind: "progress", text, share });
}

/** Answers of each request, and what of them is handed over rather than copied. */
const answers: {
  [Type in RequestType]: (ask: Requests[Type]["ask"]) => Promise<Requests[Type]["answer"]>;
} = {
  async open({ device: request }) {
    // Models and device at once: neither needs the other.
    const [models, device] = await Promise.all([
      fetchModels(new URL("models/", import.meta.url), (done, total) => {
        progress(
          `Fetching models: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`,
          done / total,
        );
      }),
      acquireDevice(request, {
        threads,
        wasmPaths: new URL("onnxruntime-web/", import.meta.url).href,
      }),
    ]);
    device.gpu?.lost.then(({ message, reason }) => {
      scope.postMessage({ kind: "lost", text: message || reason });
    });
    progress("Opening the models", null);
    session = await Session.open(device, models);
    const { kind, description, fallbackReason, engine } = device;
    return { kind, networks: engine.kind, description, fallbackReason, threads };
  },
  async segment({ pictureKey, picture: sent, settings, mayBeDraft }) {
    if (sent !== undefined) picture = sent;
    if (session === null || picture?.key !== pictureKey) {
      throw new TypeError("segment came before open or without its picture");
    }
    return await session.segment(picture, settings, {
      ...(mayBeDraft && { draftFrom: quick }),
      onStage: (role) => progress(stageNames[role] ?? role, null),
    });
  },
  async rank({ x, y, count }) {
    return await session?.rank(x, y, count) ?? [];
  },
  async labelPng() {
    if (session === null) throw new TypeError("labelPng came before open");
    return await session.labelPng() as Uint8Array<ArrayBuffer>;
  },
};

function transferable(value: unknown): Transferable[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((part) =>
    ArrayBuffer.isView(part) && part.buffer instanceof ArrayBuffer ? [part.buffer] : []
  );
}

// One at a time: a session keeps what the last one computed.
let queue: Promise<void> = Promise.resolve();

scope.onmessage = ({ data: { id, type, ask } }) => {
  queue = queue.then(async () => {
    try {
      const value = await (answers[type] as (ask: unknown) => Promise<unknown>)(ask);
      scope.postMessage({ kind: "answer", id, value }, transferable(value));
    } catch (error) {
      const code = error instanceof OvsError ? error.code : "DEFECT";
      const text = error instanceof Error ? error.message : String(error);
      scope.postMessage({ kind: "failure", id, code, text });
    }
  });
};

// Held as long as this worker lives, however it ends: the page waits for the same lock.
navigator.locks?.request(scope.name, () => {
  scope.postMessage({ kind: "alive" });
  return new Promise(() => {});
});
