import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { DecoderStep } from "../../../plugins/training/decoder_step.ts";
import { openFolderData } from "../../../plugins/training/folder_batches.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { trainOvsnet } from "../../../plugins/training/ovsnet.ts";
import { openTowers } from "../../../plugins/training/towers.ts";
import type { FolderConfig } from "../../../plugins/training/train_config.ts";
import type { StepResult } from "../../../plugins/training/trainer.ts";
import { tinyOvsnet } from "./tiny_runs.ts";

const probe = await acquireDevice("webgpu", { networks: "cpu" }).catch(() => null);
await probe?.dispose();
const ignore = probe === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1";

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "ovs-kernels-"));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

type Changes = NonNullable<Parameters<typeof tinyOvsnet>[1]>;

/** Loss and gradient of one batch, on a device. */
async function stepOn(device: Device, root: string, changes: Changes): Promise<StepResult> {
  const config = await tinyOvsnet(root, changes);
  const data = await openFolderData(config.data as FolderConfig, {
    validates: false,
    verify: false,
  });
  const step = await DecoderStep.open(config, await openTowers(config.encoder), data, device);
  const params = step.layout.initialize(new Rng(1));
  const rng = new Rng(2);
  const result = await step.gradient(params, await data.batch(rng, config.batch), rng);
  await step.dispose();
  return result;
}

/** The largest difference, relative to the largest entry. */
function difference(a: Float32Array, b: Float32Array): number {
  const most = b.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  return a.reduce((max, x, i) => Math.max(max, Math.abs(x - b[i]!)), 0) / most;
}

// Only L_PC, only a fuser, and all of them: a small term must not hide behind large ones.
const none = { mask: 0, dice: 0, class: 0, proxyQuery: 0, proxyClip: 0, fused: 0 };
const cases: [string, Changes][] = [
  ["Proxy Calibration of pooled features", { loss: { ...none, proxyClip: 1 } }],
  ["GFA", { fuser: { kind: "gfa", omega: 0.5, lambda: 5 }, loss: { ...none, fused: 1 } }],
  ["a cross-attention fuser", {
    fuser: { kind: "cross_attention", heads: 2 },
    loss: { ...none, fused: 1 },
  }],
  ["the whole loss, in two pieces", {
    fuser: { kind: "gfa" },
    batch: 4,
    microBatches: 2,
  }],
];

for (const [title, changes] of cases) {
  Deno.test({
    name: `kernels: WGSL and the CPU engine give the same gradient to 1e-4: ${title}`,
    ignore,
    fn: () =>
      withFolder(async (root) => {
        await using cpu = await acquireDevice("cpu", { threads: 2 });
        await using gpu = await acquireDevice("webgpu", { networks: "cpu", threads: 2 });
        const expected = await stepOn(cpu, root, changes);
        const found = await stepOn(gpu, root, changes);
        assert.ok(expected.grads.some((g) => g !== 0));
        const error = difference(found.grads, expected.grads);
        assert.ok(error < 1e-4, `gradients differ by ${error}`);
        assert.deepEqual(Object.keys(found.metrics).sort(), Object.keys(expected.metrics).sort());
        for (const [name, value] of Object.entries(expected.metrics)) {
          assert.ok(Math.abs(found.metrics[name]! - value) < 1e-4 * Math.max(1, value), name);
        }
      }),
  });
}

Deno.test("kernels: GFA's gradient reaches the decoder: along it, the fused loss falls as it says", () =>
  withFolder(async (root) => {
    await using cpu = await acquireDevice("cpu", { threads: 2 });
    const config = await tinyOvsnet(root, {
      fuser: { kind: "gfa", omega: 0.5, lambda: 5 },
      loss: { ...none, fused: 1 },
    });
    const data = await openFolderData(config.data as FolderConfig, {
      validates: false,
      verify: false,
    });
    const step = await DecoderStep.open(config, await openTowers(config.encoder), data, cpu);
    const params = step.layout.initialize(new Rng(1));
    const rng = () => new Rng(2);
    const batch = await data.batch(rng(), config.batch);
    const { grads, metrics } = await step.gradient(params, batch, rng());
    // Matching costs have weights of 0: ties fall the same way wherever the parameters go.
    const norm = Math.hypot(...grads);
    const along = async (distance: number) => {
      const moved = params.map((x, i) => x + distance * grads[i]! / norm);
      return (await step.gradient(moved, batch, rng())).metrics["fusedLoss"]!;
    };
    const h = 2e-3;
    const slope = (await along(h) - await along(-h)) / (2 * h);
    assert.ok(metrics["fusedLoss"]! > 0);
    assert.ok(Math.abs(slope - norm) < 0.03 * norm, `slope ${slope}, gradient ${norm}`);
    await step.dispose();
  }));

Deno.test({
  name: "kernels: a run on WebGPU trains, and is not gone on with on the CPU",
  ignore,
  fn: () =>
    withFolder(async (root) => {
      const config = await tinyOvsnet(root, { kernels: "webgpu" });
      await trainOvsnet(config, { stopAfter: 2 });
      const [record] = readMetrics(join(root, "run", "metrics.jsonl"));
      assert.ok(record!["proxyClip"] as number > 0);
      await assert.rejects(
        trainOvsnet({ ...config, kernels: "cpu" }, { resume: true }),
        /kernels is "webgpu" there and "cpu" here/,
      );
      await trainOvsnet(config, { resume: true });
    }),
});
