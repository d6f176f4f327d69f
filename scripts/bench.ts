/**
 * `deno task bench`: the kernels on the CPU, and with `webgpu` as argument on WebGPU, each beside
 * the bare matrix product that a user would otherwise hand to ONNX Runtime. The two alternate in
 * the same run; the table shows medians.
 *
 * @module
 */
import { Gfa } from "../kernels/gfa/gfa.ts";
import { MaskPooling } from "../kernels/mask_pooling/mask_pooling.ts";
import { Graph } from "../lib/graph/graph.ts";
import * as ops from "../lib/graph/ops.ts";
import { Rng } from "../lib/rng.ts";
import { float32, formatShape, type HostTensor } from "../lib/tensor.ts";
import { ortNodeEngine } from "../plugins/runtimes/ort_node.ts";
import { acquireDevice } from "../plugins/runtimes/mod.ts";

const rounds = 15;
const rng = new Rng(1);

function normal(...shape: number[]): HostTensor<"float32"> {
  const tensor = float32(shape);
  for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = rng.normal();
  return tensor;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

async function time(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const device = await acquireDevice(Deno.args.includes("webgpu") ? "webgpu" : "cpu");
const engine = await ortNodeEngine();
const product = new Graph("product");
product.output(
  "y",
  ops.matMul(product.input("a", ["N", "K"]), product.input("b", ["K", "M"])),
);
const matMul = await engine.load(product.toOnnx());

interface Row {
  kernel: string;
  run: () => Promise<unknown>;
  a: HostTensor;
  b: HostTensor;
}

const pooling = new MaskPooling(device, { mode: "hard" });
const gfa = new Gfa(device, { omega: 0.5, lambda: 10 });
const rows: Row[] = [];
for (const [n, d, size] of [[32, 128, 48], [100, 640, 80]] as const) {
  const features = normal(d, size, size), maskLogits = normal(n, size, size);
  rows.push({
    kernel: `mask pooling ${formatShape([n, d, size, size])}`,
    async run() {
      using out = await pooling.run({ features, maskLogits });
      await out.pooled.read();
    },
    a: normal(n, size * size),
    b: normal(size * size, d),
  });
}
for (const [clips, queries, d] of [[32, 32, 128], [100, 100, 640]] as const) {
  const clip = normal(clips, d), query = normal(queries, d);
  rows.push({
    kernel: `GFA ${formatShape([clips, queries, d])}`,
    async run() {
      using out = await gfa.run({ clip, query });
      await out.clip.read();
    },
    a: normal(clips, d),
    b: normal(d, queries),
  });
}

console.log(`ovstage on ${device.description}; bare product on ${engine.name}; ${rounds} rounds`);
console.log("kernel and shape                 ovstage ms   product ms   product            ratio");
for (const { kernel, run, a, b } of rows) {
  const ours: number[] = [], theirs: number[] = [], ratios: number[] = [];
  // The first round compiles and is left out.
  for (let round = 0; round <= rounds; round++) {
    const mine = await time(run), bare = await time(() => matMul.run({ a, b }));
    if (round === 0) continue;
    ours.push(mine);
    theirs.push(bare);
    ratios.push(mine / bare);
  }
  console.log(
    [
      kernel.padEnd(30),
      median(ours).toFixed(2).padStart(12),
      median(theirs).toFixed(2).padStart(12),
      `  ${formatShape(a.shape)} · ${formatShape(b.shape)}`.padEnd(22),
      median(ratios).toFixed(2).padStart(6),
    ].join(" "),
  );
}
await pooling.dispose();
await gfa.dispose();
await matMul.dispose();
await device.dispose();
