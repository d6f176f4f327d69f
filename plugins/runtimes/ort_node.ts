/**
 * ONNX Runtime on the CPU, for Deno and Node.
 *
 * @module
 */
import type { InferenceSession } from "onnxruntime-common";
import { DeviceError } from "../../lib/errors.ts";
import type { Engine, LoadOptions, Session } from "../../lib/runtime.ts";
import { checkThreads, modelError, type Ort, OrtSession, reason } from "./ort_session.ts";

// Loading a session twice in one process need not load the library twice.
let library: Promise<Ort> | null = null;

async function importLibrary(): Promise<Ort> {
  try {
    // A CommonJS package: Deno and Node hand out its exports under `default` as well.
    const module: Ort & { default?: Ort } = await import("onnxruntime-node");
    return module.InferenceSession ? module : module.default!;
  } catch (error) {
    library = null;
    throw new DeviceError(
      "the CPU engine needs onnxruntime-node 1.30: run `deno install`, or in Node " +
        `\`npm install --ignore-scripts onnxruntime-node@1.30.0\` (${reason(error)})`,
      { cause: error },
    );
  }
}

/** Options of {@linkcode ortNodeEngine}. */
export interface OrtNodeOptions {
  /** Threads inside one operator, unless a model's own options say otherwise. */
  threads?: number;
}

/**
 * The engine over `onnxruntime-node`: graph optimisation on, operators one after another, memory
 * arena on, memory patterns off.
 *
 * @throws {DeviceError} If the package is missing or has no build for this machine.
 * @throws {OptionError} If the number of threads is no positive integer.
 */
export async function ortNodeEngine(options: OrtNodeOptions = {}): Promise<Engine> {
  checkThreads(options.threads);
  const ort = await (library ??= importLibrary());
  return {
    name: `onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common}`,
    kind: "cpu",
    async load(model: Uint8Array, loadOptions: LoadOptions = {}): Promise<Session> {
      const threads = loadOptions.threads ?? options.threads;
      checkThreads(threads);
      const sessionOptions: InferenceSession.SessionOptions = {
        executionProviders: ["cpu"],
        graphOptimizationLevel: "all",
        executionMode: "sequential",
        interOpNumThreads: 1,
        enableCpuMemArena: true,
        // Planning all buffers as one block keeps that block beside the chunks of the first run: a
        // training step of ConvNeXt-T took 1.5 times the memory, and no less time.
        enableMemPattern: false,
        // Threads that wait busily for the next operator are left to do so within a run. After it they
        // would take the CPU from whatever comes next, such as another session's run.
        extra: { session: { force_spinning_stop: "1" } },
        // Errors reach the caller as exceptions; warnings are about the graph's authors.
        logSeverityLevel: 4,
        ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      };
      try {
        const session = await ort.InferenceSession.create(model, sessionOptions);
        return new OrtSession(ort, session, { writesToHost: true });
      } catch (error) {
        throw modelError(error, model.length);
      }
    },
  };
}
