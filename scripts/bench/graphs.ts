/**
 * `deno task bench graphs`: networks, forward and in training, beside PyTorch and jax-js.
 *
 * @module
 */
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };
import type { ParameterLayout } from "../../lib/graph/mod.ts";
import type { Engine } from "../../lib/runtime.ts";
import { ortNodeEngine } from "../../plugins/runtimes/ort_node.ts";
import {
  type Budget,
  type Competitor,
  measurePair,
  relativeError,
  type Side,
  warmUp,
} from "./harness.ts";
import { networkSide } from "./network_sides.ts";
import { type NetworkTask, type Pass, taskOf } from "./network_task.ts";
import { type BenchNetwork, layoutOf, networks, smallNetworks } from "./networks.ts";
import { steps } from "./peak_memory.ts";
import { jaxJsNetworks } from "./peers/jax_js_networks.ts";
import { startPyTorch } from "./peers/pytorch.ts";

/** One row of times: this project and one peer on one pass of one network. */
export interface GraphTimeRow {
  /** The network with its sizes. */
  readonly net: string;
  /** Which pass. */
  readonly pass: Pass;
  /** Median of this project's runs, in milliseconds; null where it could not do it. */
  readonly ms: number | null;
  /** The other side. */
  readonly peer: string;
  /** Its version. */
  readonly peerVersion: string;
  /** Median of the peer's runs; null where it was not measured, see the note. */
  readonly peerMs: number | null;
  /** Median over the rounds of peerMs / ms. */
  readonly ratio: number | null;
  /** Why something is missing. */
  readonly note?: string;
}

/** One row of memory: the most that a process which does nothing but train had at once. */
export interface GraphMemoryRow {
  /** The network with its sizes. */
  readonly net: string;
  /** Tells it from the rows of times. */
  readonly pass: typeof memoryPass;
  /** This project's, in megabytes of 10⁶ bytes; null where it could not do it. */
  readonly megabytes: number | null;
  /** The other side. */
  readonly peer: string;
  /** Its version. */
  readonly peerVersion: string;
  /** The peer's; null where it was not measured, see the note. */
  readonly peerMegabytes: number | null;
  /** peerMegabytes / megabytes. */
  readonly ratio: number | null;
  /** Why something is missing. */
  readonly note?: string;
}

/** A row. */
export type GraphRow = GraphTimeRow | GraphMemoryRow;

/** What may be chosen on the command line. */
export interface GraphBenchOptions {
  /** Words which must all occur in a row's net, pass or peer. */
  readonly filter: string;
  /** Small networks in place of the real ones. */
  readonly quick: boolean;
  /** How long each row may take. */
  readonly budget: Budget;
  /** Threads inside one operator. */
  readonly threads: number;
  /** Gets remarks, such as which peer is missing. */
  readonly say: (line: string) => void;
  /** Gets each row when it is done. */
  readonly report: (row: GraphRow) => void;
}

const memoryPass = "training step, peak memory";
const passes: readonly Pass[] = ["forward", "training step"];
const torchName = "PyTorch CPU", jaxName = "jax-js Wasm";
const jaxVersion = config.imports["@jax-js/jax"].split("@").at(-1)!;

/** Runs the rows, one after the other. */
export async function benchGraphs(options: GraphBenchOptions): Promise<void> {
  const { say, threads } = options;
  const engine = await ortNodeEngine({ threads });
  const processor = cpus()[0]?.model.trim() ?? "CPU";
  say(`${processor}, ${threads} threads: ovstage ${config.version} on ${engine.name}`);
  const nets = options.quick ? smallNetworks : networks;
  const entrants: readonly Entrant[] = [
    {
      name: torchName,
      async start() {
        const torch = await startPyTorch(threads);
        return { peer: torch.on("cpu"), close: () => torch.close() };
      },
    },
    {
      name: jaxName,
      start: async () => ({
        peer: await jaxJsNetworks(jaxVersion),
        close: () => Promise.resolve(),
      }),
    },
  ];
  // One library after the other: waiting workers of jax-js would slow PyTorch down.
  for (const { name, start } of entrants) {
    const wanted = (net: BenchNetwork, pass: string) => isWanted(options, net.name, pass, name);
    if (!nets.some((net) => [...passes, memoryPass].some((pass) => wanted(net, pass)))) continue;
    let opponent: Awaited<ReturnType<Entrant["start"]>>;
    try {
      opponent = await start();
    } catch (error) {
      say(`${name} is left out: ${message(error)}`);
      continue;
    }
    const { peer, close } = opponent;
    try {
      for (const net of nets) {
        for (const pass of passes) {
          if (wanted(net, pass)) options.report(await compare(net, pass, peer, engine, options));
        }
        if (name === torchName && wanted(net, memoryPass)) {
          options.report(await compareMemory(net, peer.version, options));
        }
      }
    } finally {
      await close();
    }
  }
}

/** A peer that is started when it is its turn. */
interface Entrant {
  readonly name: string;
  start(): Promise<{ peer: Competitor<NetworkTask>; close(): Promise<void> }>;
}

/** Whether every word of the filter occurs in a row's description. */
function isWanted({ filter }: GraphBenchOptions, ...texts: readonly string[]): boolean {
  const text = texts.join(" ").toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function message(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!.trim();
}

/** The row of one pass of one network. */
async function compare(
  network: BenchNetwork,
  pass: Pass,
  peer: Competitor<NetworkTask>,
  engine: Engine,
  { budget }: GraphBenchOptions,
): Promise<GraphTimeRow> {
  const layout = layoutOf(network);
  const task = taskOf(network, layout, pass);
  const row = { net: network.name, pass, peer: peer.name, peerVersion: peer.version };
  let ms: number | null = null;
  let ours: Side | null = null;
  try {
    ours = await networkSide(engine, network, layout, task);
    ms = await warmUp(ours, budget);
    const { rounds: _, ...figures } = await pair(network, layout, task, ours, ms, peer, budget);
    return { ...row, ...figures };
  } catch (error) {
    const whose = ms === null ? "ovstage: " : "";
    return { ...row, ms, peerMs: null, ratio: null, note: whose + message(error) };
  } finally {
    await ours?.dispose();
  }
}

/** @throws {Error} If the peer can't do it in time, or does something else. */
async function pair(
  network: BenchNetwork,
  layout: ParameterLayout,
  task: NetworkTask,
  ours: Side,
  ms: number,
  peer: Competitor<NetworkTask>,
  budget: Budget,
) {
  // Nothing that runs in this process can be stopped, so it is asked for one image first.
  if (peer.name === jaxName) {
    const one = network.withBatch(1);
    const trial = await peer.open(taskOf(one, layout, task.pass));
    const single = await warmUp(trial, budget);
    await trial.dispose();
    if (single * network.batch > budget.limit) {
      throw new Error(
        `left out, one image of ${network.batch} takes ${(single / 1000).toPrecision(2)} s`,
      );
    }
  }
  const side = await peer.open(task);
  try {
    const peerMs = await warmUp(side, budget);
    if (peerMs > budget.limit) {
      throw new Error(`left out, its first run took ${(peerMs / 1000).toFixed(0)} s`);
    }
    // Of training, the losses of the first steps.
    const results = [await ours.result!(), await side.result!()].map((x) => Array.from(x));
    const length = Math.min(...results.map((x) => x.length));
    const [mine, theirs] = results.map((x) => task.pass === "forward" ? x : x.slice(0, length));
    const error = relativeError(mine!, theirs!);
    if (!(error <= 1e-4)) throw new Error(`its result differs: ${error.toExponential(1)}`);
    return await measurePair(ours, side, { ms, peerMs }, budget);
  } finally {
    await side.dispose();
  }
}

/** Trains for a few steps in a process of each side's own. */
async function compareMemory(
  network: BenchNetwork,
  version: string,
  { threads }: GraphBenchOptions,
): Promise<GraphMemoryRow> {
  const row = {
    net: network.name,
    pass: memoryPass,
    peer: torchName,
    peerVersion: version,
  } as const;
  try {
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        fileURLToPath(new URL("peak_memory.ts", import.meta.url)),
        network.name,
        String(threads),
      ],
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    if (!success) throw new Error(text(stderr).split("\n").at(-1)!);
    const bytes = Number(text(stdout));
    const peerBytes = await peakOfPyTorch(network, threads);
    return {
      ...row,
      megabytes: Math.round(bytes / 1e6),
      peerMegabytes: Math.round(peerBytes / 1e6),
      ratio: peerBytes / bytes,
    };
  } catch (error) {
    return { ...row, megabytes: null, peerMegabytes: null, ratio: null, note: message(error) };
  }
}

async function peakOfPyTorch(network: BenchNetwork, threads: number): Promise<number> {
  const torch = await startPyTorch(threads);
  try {
    const layout = layoutOf(network);
    const side = await torch.on("cpu").open(taskOf(network, layout, "training step"));
    await side.time(steps);
    return await torch.peakMemory();
  } finally {
    await torch.close();
  }
}
