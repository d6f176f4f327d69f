import assert from "node:assert/strict";
import fc from "fast-check";
import { OptionError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import type { OptionValue } from "../../../lib/stages/options.ts";
import { openStage } from "../../../lib/stages/plugin.ts";
import type { AnyStage } from "../../../lib/stages/stage.ts";
import { float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";
import medianFuser from "../../../examples/plugins/median_fuser.ts";
import { builtinRegistry } from "../../../plugins/builtin.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";

interface Rows {
  pooled: { embeddings: HostTensor<"float32">; empty: HostTensor<"uint8"> };
  queryEmbeddings: HostTensor<"float32">;
}

function rows(
  count: number,
  size: number,
  magnitude: number,
  empty: boolean[],
  seed: number,
): Rows {
  const rng = new Rng(seed);
  const draw = () =>
    float32(
      [count, size],
      Float32Array.from({ length: count * size }, () => magnitude * rng.normal()),
    );
  const embeddings = draw();
  empty.forEach((flag, n) => flag && embeddings.data.fill(0, n * size, (n + 1) * size));
  return {
    pooled: { embeddings, empty: new HostTensor("uint8", [count], Uint8Array.from(empty, Number)) },
    queryEmbeddings: draw(),
  };
}

function permuted(given: Rows, order: readonly number[]): Rows {
  const [count, size] = given.queryEmbeddings.shape as [number, number];
  const gather = (tensor: HostTensor<"float32">) =>
    float32(
      [count, size],
      Float32Array.from(
        order.flatMap((n) => [...tensor.data.subarray(n * size, (n + 1) * size)]),
      ),
    );
  return {
    pooled: {
      embeddings: gather(given.pooled.embeddings),
      empty: new HostTensor(
        "uint8",
        [count],
        Uint8Array.from(order, (n) => given.pooled.empty.data[n]!),
      ),
    },
    queryEmbeddings: gather(given.queryEmbeddings),
  };
}

async function fuse(stage: AnyStage, device: Device, given: Rows): Promise<Float32Array> {
  const { fused } = await stage.run(given, {
    device,
    signal: new AbortController().signal,
    progress() {},
  });
  assert.deepEqual(fused!.shape, given.queryEmbeddings.shape);
  return (fused as Tensor<"float32">).read();
}

function close(a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number): void {
  assert.equal(a.length, b.length);
  for (let i = 0; i < a.length; i++) {
    assert.ok(Math.abs(a[i]! - b[i]!) <= tolerance, `${i}: ${a[i]} and ${b[i]}`);
  }
}

const shapes = fc.record({
  size: fc.integer({ min: 1, max: 9 }),
  magnitude: fc.constantFrom(1e-6, 1, 1e4),
  seed: fc.integer(),
  empty: fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }),
});

const registry = builtinRegistry().register(medianFuser);
const cases: [string, Record<string, OptionValue>][] = [
  ["clip", {}],
  ["query", {}],
  ["mean", {}],
  ["gfa", { output: "clip", omega: 0.5, lambda: 10 }],
  ["gfa", { output: "query", omega: 0.9 }],
  ["gfa", { method: "series", tolerance: 1e-3, omega: 0.7 }],
  ["gfa", { method: "steps", steps: 3, checkFinite: true }],
  ["gfa", { affinity: "raw", lambda: 0.1 }],
  ["gfa", { output: "mean", lambda: 1 }],
  ["median", { weight: 0.7 }],
];

async function withFuser(
  name: string,
  options: Record<string, OptionValue>,
  body: (stage: AnyStage, device: Device) => Promise<void>,
): Promise<void> {
  const device = await acquireDevice("cpu");
  const stage = await openStage(registry.get("fuser", name), options, {
    device,
    models: modelsIn({}),
  });
  try {
    await body(stage, device);
  } finally {
    await stage.dispose?.();
    await device.dispose();
  }
}

for (const [name, options] of cases) {
  const title = `fuser "${name}" ${JSON.stringify(options)}`;

  Deno.test(`${title}: finite, and rows come out in the order they went in`, () =>
    withFuser(name, options, async (stage, device) => {
      await fc.assert(
        fc.asyncProperty(shapes, async ({ size, magnitude, seed, empty }) => {
          const given = rows(empty.length, size, magnitude, empty, seed);
          const plain = await fuse(stage, device, given);
          assert.ok(plain.every(Number.isFinite));
          const order = new Rng(seed).shuffle(empty.map((_, n) => n));
          const shuffled = await fuse(stage, device, permuted(given, order));
          const back = float32([empty.length, size], plain);
          const expected = permuted({ ...given, queryEmbeddings: back }, order).queryEmbeddings;
          const scale = name === "clip" || name === "query" ? magnitude : 1;
          close(shuffled, expected.data, 2e-4 * scale);
        }),
        { numRuns: 25 },
      );
    }));

  Deno.test(`${title}: inputs are left as they are`, () =>
    withFuser(name, options, async (stage, device) => {
      const given = rows(4, 3, 1, [false, true, false, false], 3);
      const copy = permuted(given, [0, 1, 2, 3]);
      await fuse(stage, device, given);
      assert.deepEqual(given.queryEmbeddings.data, copy.queryEmbeddings.data);
      assert.deepEqual(given.pooled.embeddings.data, copy.pooled.embeddings.data);
    }));
}

const unit = (row: readonly number[]) => row.map((x) => x / Math.hypot(...row));

Deno.test('fuser "mean" is the mean of unit rows; an empty mask leaves it to the query', () =>
  withFuser("mean", {}, async (stage, device) => {
    const fused = await fuse(stage, device, {
      pooled: {
        embeddings: float32([2, 2], Float32Array.of(3, 4, 0, 0)),
        empty: new HostTensor("uint8", [2], Uint8Array.of(0, 1)),
      },
      queryEmbeddings: float32([2, 2], Float32Array.of(0, 5, 8, 6)),
    });
    close(fused, [0.3, 0.9, ...unit([8, 6])], 1e-6);
  }));

Deno.test('fuser "gfa": an empty mask does not change what the others become', () =>
  withFuser("gfa", { omega: 0.7 }, async (stage, device) => {
    // With omega in play, F_C's empty row could only act through its column of Z's transpose.
    const given = rows(3, 4, 1, [false, true, false], 5);
    const fused = await fuse(stage, device, given);
    const dirty = rows(3, 4, 1, [false, false, false], 5);
    dirty.pooled.empty.data[1] = 1;
    close(await fuse(stage, device, dirty), fused, 1e-6);
  }));

Deno.test('fuser "gfa": with every mask empty, the queries speak alone', () =>
  withFuser("gfa", {}, async (stage, device) => {
    const given = rows(3, 4, 1, [true, true, true], 5);
    assert.deepEqual(await fuse(stage, device, given), given.queryEmbeddings.data);
  }));

Deno.test('fuser "gfa": omega towards 0 returns the pooled rows, and one repeated row stays', () =>
  withFuser("gfa", { omega: 1e-4, output: "clip" }, async (stage, device) => {
    const given = rows(4, 5, 1, [false, false, false, false], 9);
    const fused = await fuse(stage, device, given);
    const { data } = given.pooled.embeddings;
    const expected = Array.from(
      { length: 4 },
      (_, n) => unit([...data.subarray(5 * n, 5 * n + 5)]),
    );
    close(fused, expected.flat(), 1e-3);
    const same = float32([4, 5], Float32Array.from({ length: 20 }, (_, i) => i % 5 + 1));
    const still = await fuse(stage, device, {
      pooled: { ...given.pooled, embeddings: same },
      queryEmbeddings: same,
    });
    close(still, [0, 1, 2, 3].flatMap(() => unit([1, 2, 3, 4, 5])), 1e-5);
  }));

Deno.test('fuser "gfa" refuses omega and lambda outside their domains', async () => {
  for (const options of [{ omega: 1.5 }, { omega: NaN }, { omega: 0 }, { lambda: 0 }]) {
    await assert.rejects(withFuser("gfa", options, async () => {}), OptionError);
  }
});
