/**
 * `deno task bench`: this project beside what a user would otherwise pick.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import process from "node:process";
import { formatHelp, parseArguments } from "../../lib/cli/arguments.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { OptionError, OvsError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import { benchGraphs, type GraphRow } from "./graphs.ts";
import { budgets } from "./harness.ts";
import { benchKernels, type KernelRow } from "./kernels.ts";
import { benchStudio, type StudioRow } from "./studio.ts";

const spec = {
  name: "deno task bench",
  description: "Times this project beside other libraries that do the same task on the same " +
    "device. The two sides of a row take turns in one run; a row shows the medians, and the " +
    "median over the rounds of the peer's time divided by ours, so that above 1 is faster than " +
    "the peer. SUITE is kernels: mask pooling, GFA and per-pixel classification beside " +
    "onnxruntime-node, PyTorch and jax-js on the CPU, and beside onnxruntime-web, jax-js and, " +
    "where there is CUDA, PyTorch on WebGPU; or graphs: networks, forward and in training, beside " +
    "PyTorch and jax-js on the CPU; or studio, which has no peer: how long people wait for the page " +
    "in headless Chromium. PyTorch needs `pip install torch numpy`; OVS_PYTHON names the " +
    "Python that has it.",
  positionals: ["SUITE"],
  flags: {
    json: { value: "FILE", description: "Write the rows to FILE as well, after each one." },
    device: { value: "KIND", description: "Of kernels: cpu, webgpu or all (the default)." },
    filter: {
      value: "TEXT",
      description: "Only rows with all of these words in the kernel, shape, engine or peer; or " +
        "in the net, pass or peer.",
    },
    quick: { description: "A few small rows with few rounds, in about a minute." },
    threads: {
      value: "COUNT",
      description: "Threads of ONNX Runtime and PyTorch on the CPU; as many as there are cores.",
    },
  },
  examples: [
    "deno task bench kernels --json bench/results/laptop.json",
    'deno task bench kernels --device cpu --filter "gfa pytorch"',
    "deno task bench kernels --quick",
    "deno task bench graphs --json bench/results/laptop-graphs.json",
    "deno task bench studio",
  ],
} as const;

const devices: Record<string, readonly Device["kind"][]> = {
  all: ["cpu", "webgpu"],
  cpu: ["cpu"],
  webgpu: ["webgpu"],
};

/** A number of milliseconds with three digits. */
function formatMs(ms: number | null): string {
  return ms === null ? "–" : ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3);
}

/** A ratio with two decimals. */
function formatRatio(ratio: number | null): string {
  return ratio === null ? "–" : `${ratio.toFixed(2)}×`;
}

/** A row as it is printed when it is done. */
function formatLine(row: KernelRow): string {
  return `${row.kernel} ${row.shape} · ${row.engine} ${formatMs(row.ms)} ms · ` +
    (row.ratio === null
      ? row.note ?? ""
      : `${row.peer} ${formatMs(row.peerMs)} ms · ${formatRatio(row.ratio)}`);
}

/** What a row of networks has: times or memory. */
function figuresOf(row: GraphRow): { ours: string; peer: string } {
  if ("ms" in row) return { ours: `${formatMs(row.ms)} ms`, peer: `${formatMs(row.peerMs)} ms` };
  return { ours: `${row.megabytes ?? "–"} MB`, peer: `${row.peerMegabytes ?? "–"} MB` };
}

function formatGraphLine(row: GraphRow): string {
  const { ours, peer } = figuresOf(row);
  return `${row.net}, ${row.pass} · ${ours} · ` +
    (row.ratio === null ? row.note ?? "" : `${row.peer} ${peer} · ${formatRatio(row.ratio)}`);
}

function printGraphTable(rows: readonly GraphRow[]): void {
  console.log();
  console.log(formatTable(
    [
      { title: "net" },
      { title: "pass" },
      { title: "ovstage", align: "right" },
      { title: "peer" },
      { title: "of the peer", align: "right" },
      { title: "ratio", align: "right" },
    ],
    rows.map((row) => {
      const { ours, peer } = figuresOf(row);
      const name = `${row.peer} ${row.peerVersion}`;
      return [row.net, row.pass, ours, name, peer, formatRatio(row.ratio)];
    }),
  ));
  for (const { net, pass, peer, note } of rows) {
    if (note !== undefined) console.log(`${net}, ${pass}, ${peer}: ${note}`);
  }
}

function printTable(rows: readonly KernelRow[]): void {
  for (const device of new Set(rows.map((row) => row.device))) {
    const here = rows.filter((row) => row.device === device);
    const withMemory = here.some((row) => row.peakBytes !== undefined);
    const mebibytes = (bytes?: number) => bytes === undefined ? "" : (bytes / 2 ** 20).toFixed(1);
    console.log(`\n${device}, ${here[0]!.engine}`);
    console.log(formatTable(
      [
        { title: "kernel" },
        { title: "shape" },
        { title: "ms", align: "right" },
        { title: "peer" },
        { title: "peer ms", align: "right" },
        { title: "ratio", align: "right" },
        { title: "rounds", align: "right" },
        ...(withMemory
          ? [
            { title: "MiB", align: "right" as const },
            { title: "peer MiB", align: "right" as const },
          ]
          : []),
      ],
      here.map((row) => [
        row.kernel,
        row.shape,
        formatMs(row.ms),
        `${row.peer} ${row.peerVersion}`,
        formatMs(row.peerMs),
        formatRatio(row.ratio),
        String(row.rounds),
        ...(withMemory ? [mebibytes(row.peakBytes), mebibytes(row.peerPeakBytes)] : []),
      ]),
    ));
    const perPixel = new Map(
      here.filter(({ kernel, ms }) => kernel === "gfa per pixel" && ms !== null)
        .map(({ shape, ms }) => [shape, ms! / Number(/N_C (\d+)/.exec(shape)![1])]),
    );
    if (perPixel.size > 1) {
      const points = [...perPixel].map(([shape, ms]) =>
        `${shape} ${(1000 * ms).toPrecision(3)} µs`
      );
      console.log(`gfa per pixel, time per row of F_C: ${points.join("; ")}`);
    }
    for (const { kernel, shape, peer, note } of here) {
      if (note !== undefined) console.log(`${kernel} ${shape}, ${peer}: ${note}`);
    }
  }
}

/** Runs what the command line asks for. */
async function main(args: readonly string[]): Promise<void> {
  const { positionals, flags, help } = parseArguments(spec, args);
  if (help) {
    console.log(formatHelp(spec));
    return;
  }
  const [suite] = positionals;
  if (suite !== "kernels" && suite !== "graphs" && suite !== "studio") {
    throw new OptionError(`there is no suite "${suite}"; must be kernels, graphs or studio`);
  }
  if (suite === "graphs" && flags.device !== undefined && flags.device !== "cpu") {
    throw new OptionError(`graphs run on the cpu alone, got device "${flags.device}"`);
  }
  const kinds = devices[flags.device ?? "all"];
  if (kinds === undefined) {
    throw new OptionError(`device "${flags.device}" is unknown; must be cpu, webgpu or all`);
  }
  const threads = flags.threads === undefined ? availableParallelism() : Number(flags.threads);
  if (!Number.isInteger(threads) || threads < 1) {
    throw new OptionError(`threads must be a whole number from 1 on, got "${flags.threads}"`);
  }
  const rows: (KernelRow | GraphRow | StudioRow)[] = [];
  const shared = {
    filter: flags.filter ?? "",
    quick: flags.quick,
    budget: flags.quick ? budgets.quick : budgets.full,
    threads,
    say: (line: string) => console.log(line),
  };
  const keep = (row: KernelRow | GraphRow | StudioRow, line: string) => {
    rows.push(row);
    console.log(line);
    if (flags.json !== undefined) {
      Deno.writeTextFileSync(flags.json, JSON.stringify(rows, null, 2) + "\n");
    }
  };
  if (suite === "studio") {
    await benchStudio({
      quick: flags.quick,
      report(row) {
        const { wait, device, ms, slowestMs, rounds, browser } = row;
        const slowest = `at most ${formatMs(slowestMs)} ms in ${rounds} rounds`;
        keep(row, `${wait}: ${formatMs(ms)} ms, ${slowest} · ${device} · ${browser}`);
      },
    });
  } else if (suite === "graphs") {
    await benchGraphs({ ...shared, report: (row) => keep(row, formatGraphLine(row)) });
    if (rows.length > 0) printGraphTable(rows as GraphRow[]);
  } else {
    await benchKernels({
      ...shared,
      devices: kinds,
      report: (row) => keep(row, formatLine(row)),
    });
    if (rows.length > 0) printTable(rows as KernelRow[]);
  }
  if (rows.length === 0) console.log("no row passes the filter");
}

if (import.meta.main) {
  // Mesa prints errors about a desktop where this is not set.
  if (process.env.XDG_RUNTIME_DIR === undefined) process.env.XDG_RUNTIME_DIR = "/tmp";
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof OvsError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
  // The workers of jax-js would keep the process alive.
  Deno.exit(0);
}
