import assert from "node:assert/strict";
import fc from "fast-check";
import { Rng } from "../../lib/rng.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { ortNodeEngine } from "../../plugins/runtimes/ort_node.ts";
import { BufferMeter } from "../../scripts/bench/buffer_meter.ts";
import { classificationContests } from "../../scripts/bench/classification.ts";
import { gfaContests } from "../../scripts/bench/gfa.ts";
import { benchGraphs, type GraphRow, type GraphTimeRow } from "../../scripts/bench/graphs.ts";
import {
  type Budget,
  disagreement,
  measurePair,
  median,
  relativeError,
  repeatsFor,
  type Side,
} from "../../scripts/bench/harness.ts";
import { benchKernels, type KernelRow } from "../../scripts/bench/kernels.ts";
import { poolingContests } from "../../scripts/bench/mask_pooling.ts";
import { networkSide } from "../../scripts/bench/network_sides.ts";
import { taskOf } from "../../scripts/bench/network_task.ts";
import { layoutOf, smallNetworks } from "../../scripts/bench/networks.ts";
import { bandPlan, ranges, resizeTaps } from "../../scripts/bench/peers/bands.ts";
import { bareOrt } from "../../scripts/bench/peers/ort.ts";
import { blobs, type KernelTask, noise, probabilities } from "../../scripts/bench/tasks.ts";

const tiny: Budget = { row: 50, rounds: 2, sample: 0, limit: 10_000, pause: 0 };

/** A side that says it took the given times, one after the other. */
function clock(times: readonly number[], log: string[] = [], name = ""): Side {
  let at = 0;
  return {
    time(repeats) {
      log.push(name);
      return Promise.resolve(times[at++ % times.length]! * repeats);
    },
    dispose: () => Promise.resolve(),
  };
}

Deno.test("bench: half of the values lie on either side of the median", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
  fc.assert(fc.property(
    fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1 }),
    (values) => {
      const middle = median(values);
      assert.ok(values.filter((value) => value < middle).length <= values.length / 2);
      assert.ok(values.filter((value) => value > middle).length <= values.length / 2);
    },
  ));
});

Deno.test("bench: the ratio is the median of the rounds' ratios", async () => {
  // The machine is half as fast in the second round: both slow down, the ratio stays.
  const row = await measurePair(
    clock([2, 4, 2, 2, 2]),
    clock([6, 12, 6, 7, 5]),
    { ms: 2, peerMs: 6 },
    { ...tiny, row: 10_000, rounds: 5 },
  );
  assert.deepEqual(row, { ms: 2, peerMs: 6, ratio: 3, rounds: 5 });
});

Deno.test("bench: the two sides take turns in going first", async () => {
  const log: string[] = [];
  await measurePair(
    clock([1], log, "ours"),
    clock([1], log, "peer"),
    { ms: 1, peerMs: 1 },
    { ...tiny, row: 10_000, rounds: 3 },
  );
  assert.deepEqual(log, ["ours", "peer", "peer", "ours", "ours", "peer"]);
});

Deno.test("bench: short runs are repeated until a sample is long enough", () => {
  assert.equal(repeatsFor(30, 20), 1);
  assert.equal(repeatsFor(3, 20), 7);
  assert.equal(repeatsFor(0, 20), 1000);
});

Deno.test("bench: results that differ are told apart, NaN included", () => {
  assert.equal(relativeError([1, -4], [1, -4]), 0);
  assert.equal(relativeError([1, -4], [1, -3]), 0.25);
  assert.equal(relativeError([1, -4], [1, NaN]), Infinity);
  assert.equal(relativeError([1], [1, 2]), Infinity);
  assert.equal(disagreement([1, 2, 3, 4], [1, 2, 3, 5]), 0.25);
  assert.equal(disagreement([1], []), 1);
});

Deno.test("bench: bands and groups cover everything once and fit", () => {
  const sizes = fc.integer({ min: 1, max: 3000 });
  fc.assert(fc.property(sizes, sizes, sizes, sizes, (masks, classes, height, width) => {
    const bytes = 16e6;
    const { bands, groups } = bandPlan(masks, classes, height, width, bytes);
    for (const [parts, size] of [[bands, height], [groups, classes]] as const) {
      assert.equal(parts[0]!.begin, 0);
      assert.equal(parts.at(-1)!.end, size);
      parts.slice(1).forEach(({ begin }, i) => assert.equal(begin, parts[i]!.end));
    }
    const rows = bands[0]!.end, group = groups[0]!.end;
    assert.ok(group === 1 || 4 * rows * width * group <= bytes);
  }));
  assert.deepEqual(ranges(5, 2), [{ begin: 0, end: 2 }, { begin: 2, end: 4 }, {
    begin: 4,
    end: 5,
  }]);
});

Deno.test("bench: taps of a resize reproduce a straight line inside", () => {
  const { low, high, share } = resizeTaps(4, 16);
  for (let i = 0; i < 16; i++) {
    const at = low[i]! + (high[i]! - low[i]!) * share[i]!;
    assert.equal(at, Math.min(3, Math.max(0, (i + 0.5) / 4 - 0.5)));
  }
});

Deno.test("bench: the memory of buffers is counted from the reset on", () => {
  const device = {
    createBuffer: () => ({ destroy() {} }),
  } as unknown as GPUDevice;
  const meter = new BufferMeter(device);
  const make = (size: number) => device.createBuffer({ size, usage: 0 });
  make(1000);
  meter.reset();
  const first = make(100);
  first.destroy();
  first.destroy();
  make(60);
  make(50);
  assert.equal(meter.peak, 110);
});

Deno.test("bench: generated class probabilities are those of a softmax without void", () => {
  const { data, shape } = probabilities(new Rng(3), 20, 50);
  assert.deepEqual(shape, [20, 50]);
  for (let n = 0; n < 20; n++) {
    const row = data.subarray(50 * n, 50 * n + 50);
    const sum = row.reduce((a, b) => a + b);
    assert.ok(row.every((p) => p > 0) && sum < 1, `mask ${n}: ${sum}`);
  }
});

Deno.test("bench: the bare graphs do the same tasks as the kernels", async () => {
  await using device = await acquireDevice("cpu");
  const peer = bareOrt({ engine: await ortNodeEngine(), version: "" }, null);
  const rng = new Rng(5);
  const cases: [KernelTask, (typeof poolingContests)[number]][] = [
    [{
      kernel: "pooling",
      features: noise(rng, [7, 6, 5]),
      maskLogits: blobs(rng, 4, 12, 10),
    }, poolingContests[0]!],
    [{
      kernel: "gfa",
      clip: noise(rng, [9, 6]),
      query: noise(rng, [5, 6]),
      omega: 0.5,
      lambda: 10,
    }, gfaContests[0]!],
    [{
      kernel: "classification",
      maskLogits: blobs(rng, 6, 36, 10),
      probabilities: probabilities(rng, 6, 11),
      height: 144,
      width: 40,
    }, classificationContests[0]!],
  ];
  for (const [task, contest] of cases) {
    const ours = await contest.ours(device, task), theirs = await peer.open(task);
    const [a, b] = [await ours.result!(), await theirs.result!()];
    const labels = task.kernel === "classification";
    assert.ok(a.length > 0);
    // A pixel may lie on the border between two classes.
    assert.ok(labels ? disagreement(a, b) < 2e-3 : relativeError(a, b) < 1e-5, task.kernel);
    await ours.dispose();
    await theirs.dispose();
  }
});

Deno.test("bench: a row has all of its fields", async () => {
  const rows: KernelRow[] = [];
  await benchKernels({
    devices: ["cpu"],
    filter: "gfa checkFinite",
    quick: true,
    budget: tiny,
    threads: 1,
    say: () => {},
    report: (row) => rows.push(row),
  });
  assert.equal(rows.length, 1);
  const { device, engine, peerVersion, ms, peerMs, ratio, rounds, difference, ...rest } = rows[0]!;
  assert.match(device, /, 1 threads$/);
  assert.match(engine, /^onnxruntime-node \d/);
  assert.match(peerVersion, /^\d/);
  assert.ok(ms! > 0 && peerMs! > 0 && ratio! > 0 && rounds >= 1);
  assert.equal(difference, 0);
  assert.deepEqual(rest, {
    kernel: "gfa, checkFinite",
    shape: "N 250, D 640",
    peer: "checkFinite off",
  });
});

Deno.test("bench: a peer that takes too long is named in a row with our own time", async () => {
  const rows: KernelRow[] = [];
  await benchKernels({
    devices: ["cpu"],
    filter: "gfa checkFinite",
    quick: true,
    budget: { ...tiny, limit: 0 },
    threads: 1,
    say: () => {},
    report: (row) => rows.push(row),
  });
  assert.equal(rows.length, 1);
  const [{ ms, peerMs, ratio, rounds, note, peer }] = rows as [KernelRow];
  assert.ok(ms! > 0 && rounds >= 1);
  assert.deepEqual({ peerMs, ratio, peer }, { peerMs: null, ratio: null, peer: "checkFinite off" });
  assert.match(note!, /^left out, its first run took /);
});

Deno.test("bench: rows of networks have their fields and no others", async () => {
  const rows: GraphRow[] = [];
  const run = (filter: string) =>
    benchGraphs({
      filter,
      quick: true,
      budget: tiny,
      threads: 1,
      say: () => {},
      report: (row) => rows.push(row),
    });
  await run("ViT forward jax-js");
  await run("Mask2Former forward jax-js");
  assert.equal(rows.length, 2);
  const [measured, missing] = rows as [GraphTimeRow, GraphTimeRow];
  const { ms, peerMs, ratio, peerVersion, ...rest } = measured;
  assert.ok(ms! > 0 && peerMs! > 0 && ratio! > 0);
  assert.match(peerVersion, /^\d/);
  assert.deepEqual(rest, {
    net: "ViT, width 24, 2 layers, 16 tokens, batch 2",
    pass: "forward",
    peer: "jax-js Wasm",
  });
  const { note, ...others } = missing;
  assert.ok(missing.ms! > 0 && missing.peerMs === null && missing.ratio === null);
  assert.match(note!, /grid sampling/);
  assert.deepEqual(Object.keys(others).sort(), Object.keys(measured).sort());
});

Deno.test("bench: steps of training lower the loss that the networks start from", async () => {
  const engine = await ortNodeEngine({ threads: 1 });
  for (const network of smallNetworks) {
    const layout = layoutOf(network);
    const task = { ...taskOf(network, layout, "training step"), learningRate: 1e-3 };
    const side = await networkSide(engine, network, layout, task);
    const [first, second, third] = Array.from(await side.result!()) as [number, number, number];
    assert.ok(third < second && second < first, `${network.name}: ${[first, second, third]}`);
    await side.dispose();
  }
});
