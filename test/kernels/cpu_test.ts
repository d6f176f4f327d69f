import assert from "node:assert/strict";
import { Gfa, gfa } from "../../kernels/gfa/gfa.ts";
import { gfaGraph } from "../../kernels/gfa/cpu_graph.ts";
import { MaskPooling, maskPooling } from "../../kernels/mask_pooling/mask_pooling.ts";
import { maskPoolingGraph } from "../../kernels/mask_pooling/cpu_graph.ts";
import { OptionError, ShapeError } from "../../lib/errors.ts";
import { Graph } from "../../lib/graph/graph.ts";
import type { Device } from "../../lib/runtime.ts";
import { float32, HostTensor } from "../../lib/tensor.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { gfaInput, maskPoolingInput } from "./arbitraries.ts";
import { float32Tolerance, type Implementation, laws } from "./laws.ts";

/** The public kernels on a device, each session used for all runs with the same options. */
function kernelsOn(device: Device): { implementation: Implementation; dispose(): Promise<void> } {
  const pooling = {
    hard: new MaskPooling(device, { mode: "hard" }),
    soft: new MaskPooling(device, { mode: "soft" }),
  };
  const fusers = new Map<string, Gfa>();
  return {
    implementation: {
      async maskPooling(input, { mode }) {
        const out = await pooling[mode].run(input);
        return {
          pooled: await out.pooled.read(),
          area: await out.area.read(),
          empty: await out.empty(),
        };
      },
      async gfa(input, options) {
        const key = `${options.omega} ${options.lambda}`;
        let kernel = fusers.get(key);
        if (kernel === undefined) fusers.set(key, kernel = new Gfa(device, options));
        const out = await kernel.run(input);
        return { clip: await out.clip.read(), query: await out.query.read() };
      },
    },
    async dispose() {
      await pooling.hard.dispose();
      await pooling.soft.dispose();
      for (const fuser of fusers.values()) await fuser.dispose();
    },
  };
}

/** Every case of GFA loads a session of its own, for its ω and λ. */
const cases = Number(Deno.env.get("OVS_KERNEL_CASES") ?? 20);

const gfaCase = {
  clips: 5,
  queries: 4,
  channels: 8,
  kind: "normal",
  seed: 3,
  omega: 0.5,
  lambda: 5,
} as const;
const poolingCase = {
  mode: "soft",
  channels: 8,
  height: 6,
  width: 7,
  masks: 5,
  maskHeight: 12,
  maskWidth: 14,
  kind: "normal",
  seed: 4,
} as const;

for (const law of laws) {
  Deno.test(`CPU: ${law.name}`, async () => {
    const device = await acquireDevice("cpu", { threads: 1 });
    const kernels = kernelsOn(device);
    const result = await law.run(kernels.implementation, {
      seed: 21,
      cases,
      tolerance: float32Tolerance,
    });
    await kernels.dispose();
    await device.dispose();
    assert(result.ok, result.message ?? result.name);
  });
}

Deno.test("CPU: one session serves inputs of all sizes", async () => {
  const device = await acquireDevice("cpu", { threads: 1 });
  let loads = 0;
  const counting: Device = {
    ...device,
    engine: {
      ...device.engine,
      load(...args) {
        loads++;
        return device.engine.load(...args);
      },
    },
  };
  const fuser = new Gfa(counting, gfaCase);
  for (const clips of [1, 7, 30]) {
    const input = gfaInput({ ...gfaCase, clips, channels: clips });
    const out = await fuser.run(input);
    assert.deepEqual(out.clip.shape, [clips, clips]);
    assert.deepEqual(out.query.shape, [4, clips]);
  }
  assert.equal(loads, 1);
  await fuser.dispose();
  await device.dispose();
});

Deno.test("CPU: pooling and fusion compose into one session", async () => {
  const device = await acquireDevice("cpu", { threads: 1 });
  const { query } = gfaInput(gfaCase);
  const input = maskPoolingInput(poolingCase);
  const graph = new Graph("pool_and_fuse");
  const { pooled } = maskPoolingGraph(
    graph.input("features", [8, "h", "w"]),
    graph.input("maskLogits", ["N", "H", "W"]),
    poolingCase,
  );
  const fused = gfaGraph(pooled, graph.input("query", ["Q", 8]), gfaCase);
  assert.deepEqual(fused.clip.shape, ["N", 8]);
  graph.output("fused", fused.clip);
  const session = await device.engine.load(graph.toOnnx());
  const { fused: got } = await session.run({ ...input, query });
  const apart = await maskPooling(device, input, poolingCase);
  const expected = await (await gfa(device, { clip: apart.pooled, query }, gfaCase)).clip.read();
  (await got!.read() as Float32Array).forEach((value, i) =>
    assert(Math.abs(value - expected[i]!) <= 1e-6)
  );
  await session.dispose();
  await device.dispose();
});

Deno.test("bad inputs and options are refused by name", async () => {
  const device = await acquireDevice("cpu", { threads: 1 });
  const ok = gfaInput(gfaCase);
  for (const omega of [0, 1, 1.5, -0.1, NaN, Infinity]) {
    await assert.rejects(
      gfa(device, ok, { omega, lambda: 1 }),
      (error) => error instanceof OptionError && /omega/.test(error.message),
    );
  }
  for (const lambda of [0, -1, NaN, Infinity]) {
    await assert.rejects(
      gfa(device, ok, { omega: 0.5, lambda }),
      (error) => error instanceof OptionError && /lambda/.test(error.message),
    );
  }
  await assert.rejects(
    maskPooling(device, maskPoolingInput(poolingCase), { mode: "medium" as "hard" }),
    (error) => error instanceof OptionError && /mode.*medium/.test(error.message),
  );
  const shapes: [Promise<unknown>, RegExp][] = [
    [gfa(device, { ...ok, query: float32([4, 9]) }, gfaCase), /clip has 8 .* query has 9/],
    [gfa(device, { ...ok, clip: float32([8]) }, gfaCase), /clip must be N_C×D/],
    [gfa(device, { ...ok, clip: float32([0, 8]) }, gfaCase), /clip .* at least 1, got 0×8/],
    [
      gfa(device, { ...ok, clip: new HostTensor("float64", [2, 8]) }, gfaCase),
      /clip must be float32, got float64/,
    ],
    [
      maskPooling(
        device,
        { features: float32([8, 6]), maskLogits: float32([1, 2, 2]) },
        poolingCase,
      ),
      /features must be D×h×w/,
    ],
    [
      maskPooling(
        device,
        { features: float32([8, 6, 6]), maskLogits: float32([0, 2, 2]) },
        poolingCase,
      ),
      /maskLogits .* at least 1/,
    ],
  ];
  for (const [run, pattern] of shapes) {
    await assert.rejects(
      run,
      (error) => error instanceof ShapeError && pattern.test(error.message),
    );
  }
  await device.dispose();
});
