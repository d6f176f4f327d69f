/**
 * `deno task bench kernels`: this project's kernels and what else does their tasks.
 *
 * @module
 */
import { cpus } from "node:os";
import config from "../../deno.json" with { type: "json" };
import type { Device } from "../../lib/runtime.ts";
import { Rng } from "../../lib/rng.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { ortNodeEngine } from "../../plugins/runtimes/ort_node.ts";
import { ortWebEngine } from "../../plugins/runtimes/ort_web.ts";
import { BufferMeter } from "./buffer_meter.ts";
import { classificationContests } from "./classification.ts";
import type { Contest } from "./contest.ts";
import { gfaContests } from "./gfa.ts";
import {
  type Budget,
  type Competitor,
  disagreement,
  measurePair,
  relativeError,
  type Side,
  warmUp,
} from "./harness.ts";
import { poolingContests } from "./mask_pooling.ts";
import { jaxJs } from "./peers/jax_js.ts";
import { bareOrt, bareProduct } from "./peers/ort.ts";
import { type PyTorch, startPyTorch } from "./peers/pytorch.ts";
import { type KernelTask, operations } from "./tasks.ts";

/** One row: this project and one peer on one task. */
export interface KernelRow {
  /** The kernel, and which of its passes where it is not the forward one. */
  readonly kernel: string;
  /** The sizes. */
  readonly shape: string;
  /** The processor or the adapter. */
  readonly device: string;
  /** What this project ran on. */
  readonly engine: string;
  /** Median of this project's runs; null where it could not do it. */
  readonly ms: number | null;
  /** The other side. */
  readonly peer: string;
  /** Its version. */
  readonly peerVersion: string;
  /** Median of the peer's runs; null where it was not measured, see the note. */
  readonly peerMs: number | null;
  /** Median over the rounds of peerMs / ms. */
  readonly ratio: number | null;
  /** Rounds behind the medians; where the peer was not measured, this project's own. */
  readonly rounds: number;
  /** How far the results are apart: relative to the largest entry, or the share of labels. */
  readonly difference?: number;
  /** The most WebGPU memory in use at once by this project's run, above its inputs. */
  readonly peakBytes?: number;
  /** The same of the peer. */
  readonly peerPeakBytes?: number;
  /** Why something is missing. */
  readonly note?: string;
}

/** What may be chosen on the command line. */
export interface KernelBenchOptions {
  /** Where to run. */
  readonly devices: readonly Device["kind"][];
  /** Words which must all occur in a row's kernel, shape, engine or peer. */
  readonly filter: string;
  /** Only the rows of a quick run. */
  readonly quick: boolean;
  /** How long each may take. */
  readonly budget: Budget;
  /** Threads inside one operator, on the CPU. */
  readonly threads: number;
  /** Gets remarks, such as which peer is missing. */
  readonly say: (line: string) => void;
  /** Gets each row when it is done. */
  readonly report: (row: KernelRow) => void;
}

/** One kind of device with everybody who competes on it. */
interface Arena {
  readonly device: Device;
  readonly name: string;
  readonly engine: string;
  readonly peers: readonly Entrant[];
  readonly close: () => Promise<void>;
}

/** A peer that is started when the first row wants it. */
interface Entrant {
  readonly name: string;
  /** The only kernel that it does; all where left out. */
  readonly only?: string;
  start(): Promise<Competitor<KernelTask>>;
}

/** Stands in for a peer that was not measured. */
const nobody: Side = { time: () => Promise.resolve(0), dispose: () => Promise.resolve() };

const contests = [...poolingContests, ...gfaContests, ...classificationContests];

/** Runs the rows, one after the other. */
export async function benchKernels(options: KernelBenchOptions): Promise<void> {
  const { say, threads } = options;
  const python = once(() => startPyTorch(threads));
  try {
    for (const kind of options.devices) {
      let arena: Arena;
      try {
        arena = await (kind === "cpu" ? openCpu : openGpu)(python.get, options);
      } catch (error) {
        say(`${kind} is left out: ${message(error)}`);
        continue;
      }
      say(`${arena.name}: ovstage ${config.version} on ${arena.engine}`);
      try {
        await new Session(arena, options).run();
      } finally {
        await arena.close();
      }
    }
  } finally {
    await python.made?.then((torch) => torch.close(), () => {});
  }
}

/** Something that is made on first use. */
function once<T>(make: () => Promise<T>): { get: () => Promise<T>; made?: Promise<T> } {
  const cell: { get: () => Promise<T>; made?: Promise<T> } = { get: () => cell.made ??= make() };
  return cell;
}

async function openCpu(
  python: () => Promise<PyTorch>,
  { threads }: KernelBenchOptions,
): Promise<Arena> {
  const device = await acquireDevice("cpu", { threads });
  const bare = async () => {
    const engine = await ortNodeEngine({ threads });
    return { engine, version: engine.name.split(" ").at(-1)! };
  };
  return {
    device,
    name: `${cpus()[0]?.model.trim() ?? "CPU"}, ${threads} threads`,
    engine: device.engine.name,
    peers: [
      {
        name: "onnxruntime-node MatMul",
        only: "pooling",
        start: async () => bareProduct(await bare()),
      },
      { name: "onnxruntime-node", start: async () => bareOrt(await bare(), null) },
      { name: "PyTorch CPU", start: async () => (await python()).on("cpu") },
      { name: "jax-js Wasm", start: () => jaxJs("wasm", versionOf("@jax-js/jax")) },
    ],
    close: () => device.dispose(),
  };
}

async function openGpu(python: () => Promise<PyTorch>): Promise<Arena> {
  const device = await acquireDevice("webgpu");
  const gpu = device.gpu!;
  return {
    device,
    name: device.description.split(";")[0]!.replace(/^WebGPU, /, ""),
    engine: `WebGPU, Deno ${Deno.version.deno}`,
    peers: [
      {
        name: "onnxruntime-web WebGPU",
        async start() {
          const engine = await ortWebEngine({ gpu });
          return bareOrt({ engine, version: engine.name.split(" ")[1]! }, gpu);
        },
      },
      { name: "jax-js WebGPU", start: () => jaxJs("webgpu", versionOf("@jax-js/jax")) },
      { name: "PyTorch CUDA", start: async () => (await python()).on("cuda") },
    ],
    close: () => device.dispose(),
  };
}

/** The version that deno.json pins. */
function versionOf(name: keyof typeof config.imports): string {
  return config.imports[name].split("@").at(-1)!;
}

function message(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!.trim();
}

/** The rows of one kind of device. */
class Session {
  readonly #arena: Arena;
  readonly #options: KernelBenchOptions;
  readonly #started: ReadonlyMap<string, { get(): Promise<Competitor<KernelTask> | null> }>;
  readonly #meters = new Map<GPUDevice, BufferMeter>();
  /** What a peer last took for an operation of a kernel, in milliseconds. */
  readonly #pace = new Map<string, number>();

  constructor(arena: Arena, options: KernelBenchOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#started = new Map(arena.peers.map((peer) => [peer.name, once(() => this.#start(peer))]));
  }

  async run(): Promise<void> {
    const { quick } = this.#options;
    for (const [i, contest] of contests.entries()) {
      if (!contest.devices.includes(this.#arena.device.kind)) continue;
      if (quick && !contest.quick) continue;
      const peers = await this.#peersOf(contest);
      if (peers.length > 0) await this.#contest(contest, peers, new Rng(i));
    }
  }

  /** Starts a peer; one that can't be had is said so once and left out. */
  async #start(entrant: Entrant): Promise<Competitor<KernelTask> | null> {
    try {
      return await entrant.start();
    } catch (error) {
      this.#options.say(`${entrant.name} is left out: ${message(error)}`);
      return null;
    }
  }

  /** Those who compete here and pass the filter. */
  async #peersOf(contest: Contest): Promise<Competitor<KernelTask>[]> {
    const { device, peers, engine } = this.#arena;
    const { self, kernel, shape } = contest;
    const words = this.#options.filter.toLowerCase().split(/\s+/);
    const wanted = (name: string) => {
      const text = `${kernel} ${shape} ${engine} ${name}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    if (self) {
      return wanted(self.name)
        ? [{
          name: self.name,
          version: config.version,
          gpu: device.gpu,
          open: (task) => self.open(device, task),
        }]
        : [];
    }
    const found: Competitor<KernelTask>[] = [];
    for (const { name, only } of peers) {
      if ((only !== undefined && only !== kernel) || !wanted(name)) continue;
      const peer = await this.#started.get(name)!.get();
      if (peer !== null) found.push(peer);
    }
    return found;
  }

  /** The meter of a device's memory. */
  #meter(gpu: GPUDevice | null | undefined): BufferMeter | null {
    if (!gpu) return null;
    let meter = this.#meters.get(gpu);
    if (meter === undefined) this.#meters.set(gpu, meter = new BufferMeter(gpu));
    return meter;
  }

  async #contest(
    contest: Contest,
    peers: readonly Competitor<KernelTask>[],
    rng: Rng,
  ): Promise<void> {
    const { device, name, engine } = this.#arena;
    const { report, budget } = this.#options;
    const task = contest.task(rng);
    const meter = this.#meter(device.gpu);
    let ours: Side | null = null;
    let ms: number | null = null;
    let result: ArrayLike<number> | null = null;
    let failure: string | null = null;
    let memory: { peakBytes?: number } = {};
    let alone: { ms: number; rounds: number } | null = null;
    try {
      ours = await contest.ours(device, task);
      meter?.reset();
      ms = await warmUp(ours, budget);
      if (meter) memory = { peakBytes: meter.peak };
      result = await ours.result?.() ?? null;
    } catch (error) {
      failure = `ovstage: ${message(error)}`;
    }
    for (const peer of peers) {
      const row = {
        kernel: contest.kernel,
        shape: contest.shape,
        device: name,
        engine,
        peer: peer.name,
        peerVersion: peer.version,
        ...memory,
      };
      const missing = { ...row, peerMs: null, ratio: null };
      if (ours === null || ms === null || failure !== null) {
        report({ ...missing, ms: null, rounds: 0, note: failure ?? "not run" });
        continue;
      }
      try {
        await this.#probe(contest, peer, rng);
        report({ ...row, ...await this.#pair(contest.kernel, task, ours, ms, result, peer) });
      } catch (error) {
        alone ??= await measurePair(ours, nobody, { ms, peerMs: budget.sample }, budget);
        report({ ...missing, ms: alone.ms, rounds: alone.rounds, note: message(error) });
      }
    }
    await ours?.dispose();
  }

  /** Learns a peer's pace from a smaller task, unless a row before has told it. */
  async #probe(contest: Contest, peer: Competitor<KernelTask>, rng: Rng): Promise<void> {
    const key = `${peer.name} ${contest.kernel}`;
    if (contest.probe === undefined || this.#pace.has(key)) return;
    const task = contest.probe(rng);
    const side = await peer.open(task);
    try {
      await side.time(1);
      this.#pace.set(key, await side.time(1) / operations(task));
    } finally {
      await side.dispose();
    }
  }

  /** @throws {Error} If the peer can't do it in time, or does something else. */
  async #pair(
    kernel: string,
    task: KernelTask,
    ours: Side,
    ms: number,
    expected: ArrayLike<number> | null,
    peer: Competitor<KernelTask>,
  ) {
    const { budget } = this.#options;
    const key = `${peer.name} ${kernel}`;
    const guess = (this.#pace.get(key) ?? 0) * operations(task);
    if (guess > 1.5 * budget.limit) {
      throw new Error(
        `left out, a run would take about ${seconds(guess)} at the pace of a smaller task`,
      );
    }
    const side = await peer.open(task);
    try {
      const meter = this.#meter(peer.gpu);
      meter?.reset();
      const peerMs = await warmUp(side, budget);
      const memory = meter ? { peerPeakBytes: meter.peak } : {};
      this.#pace.set(key, peerMs / operations(task));
      if (peerMs > budget.limit) throw new Error(`left out, its first run took ${seconds(peerMs)}`);
      const result = expected === null ? null : await side.result?.() ?? null;
      let difference: { difference?: number } = {};
      if (expected !== null && result !== null) {
        const labels = task.kernel === "classification";
        const value = (labels ? disagreement : relativeError)(expected, result);
        if (!(value <= (labels ? 1e-3 : 1e-4))) {
          throw new Error(`its result differs: ${value.toExponential(1)}`);
        }
        difference = { difference: value };
      }
      return {
        ...await measurePair(ours, side, { ms, peerMs }, budget),
        ...difference,
        ...memory,
      };
    } finally {
      await side.dispose();
    }
  }
}

function seconds(ms: number): string {
  return `${ms < 10_000 ? (ms / 1000).toPrecision(2) : (ms / 1000).toFixed(0)} s`;
}
