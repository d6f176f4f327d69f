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
import { budgets } from "./harness.ts";
import { benchKernels, type KernelRow } from "./kernels.ts";

const spec = {
  name: "deno task bench",
  description: "Times this project beside other libraries that do the same task on the same " +
    "device. The two sides of a row take turns in one run; a row shows the medians, and the " +
    "median over the rounds of the peer's time divided by ours, so that above 1 is faster than " +
    "the peer. SUITE is kernels: mask pooling, GFA and per-pixel classification beside " +
    "onnxruntime-node, PyTorch and jax-js on the CPU, and beside onnxruntime-web, jax-js and, " +
    "where there is CUDA, PyTorch on WebGPU. PyTorch needs `pip install torch numpy`; OVS_PYTHON " +
    "names the Python that has it.",
  positionals: ["SUITE"],
  flags: {
    json: { value: "FILE", description: "Write the rows to FILE as well, after each one." },
    device: { value: "KIND", description: "cpu, webgpu or all (the default)." },
    filter: {
      value: "TEXT",
      description: "Only rows with all of these words in the kernel, shape, engine or peer.",
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
  if (suite !== "kernels") {
    throw new OptionError(`there is no suite "${suite}"; must be kernels`);
  }
  const kinds = devices[flags.device ?? "all"];
  if (kinds === undefined) {
    throw new OptionError(`device "${flags.device}" is unknown; must be cpu, webgpu or all`);
  }
  const threads = flags.threads === undefined ? availableParallelism() : Number(flags.threads);
  if (!Number.isInteger(threads) || threads < 1) {
    throw new OptionError(`threads must be a whole number from 1 on, got "${flags.threads}"`);
  }
  const rows: KernelRow[] = [];
  await benchKernels({
    devices: kinds,
    filter: flags.filter ?? "",
    quick: flags.quick,
    budget: flags.quick ? budgets.quick : budgets.full,
    threads,
    say: (line) => console.log(line),
    report(row) {
      rows.push(row);
      console.log(formatLine(row));
      if (flags.json !== undefined) {
        Deno.writeTextFileSync(flags.json, JSON.stringify(rows, null, 2) + "\n");
      }
    },
  });
  if (rows.length === 0) console.log("no row passes the filter");
  else printTable(rows);
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
