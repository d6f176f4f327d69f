import assert from "node:assert/strict";
import fc from "fast-check";
import { gfaGraph } from "../../kernels/gfa/cpu_graph.ts";
import type { GfaOptions } from "../../kernels/gfa/contract.ts";
import { Gfa, gfa } from "../../kernels/gfa/gfa.ts";
import { gfaGradients, gfaReference } from "../../kernels/gfa/reference.ts";
import { kernelsOn } from "../../kernels/kernels_on.ts";
import { maskPoolingGraph } from "../../kernels/mask_pooling/cpu_graph.ts";
import { MaskPooling, maskPooling } from "../../kernels/mask_pooling/mask_pooling.ts";
import { maskPoolingGradients } from "../../kernels/mask_pooling/reference.ts";
import { InputError, OptionError, ShapeError } from "../../lib/errors.ts";
import { toFloat16Array } from "../../lib/float16.ts";
import { gradients } from "../../lib/graph/gradient.ts";
import { type Dim, Graph, type Value } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
import { Rng } from "../../lib/rng.ts";
import type { Device } from "../../lib/runtime.ts";
import { float32, HostTensor, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { acquireDevice } from "../../plugins/runtimes/mod.ts";
import { countLoads } from "../count_loads.ts";
import { gfaCase, gfaInput, maskPoolingInput, poolingCase } from "./arbitraries.ts";
import { float32Tolerance, laws } from "./laws.ts";

const cases = Number(Deno.env.get("OVS_KERNEL_CASES") ?? 20);

function random(rng: Rng, shape: readonly number[]): HostTensor<"float32"> {
  return float32(shape, Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()));
}

function halved(x: HostTensor<"float32">): HostTensor<"float16"> {
  return new HostTensor("float16", x.shape, toFloat16Array(x.data));
}

/** The largest error, relative to the largest entry. */
async function errorOf(got: Tensor, expected: HostTensor<"float64">): Promise<number> {
  assert.deepEqual(got.shape, expected.shape);
  const data = await got.read() as Float32Array;
  let largest = 0;
  let error = 0;
  expected.data.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value));
    const difference = Math.abs(data[i]! - value);
    if (!(difference <= error)) error = difference;
  });
  return error / (largest || 1);
}

/** A test on a CPU device of one thread. */
function cpuTest(name: string, body: (device: Device) => Promise<void>): void {
  Deno.test(`CPU: ${name}`, async () => {
    const device = await acquireDevice("cpu", { threads: 1 });
    try {
      await body(device);
    } finally {
      await device.dispose();
    }
  });
}

{
  // The laws share sessions, whose models depend on few of the options.
  const device = await acquireDevice("cpu", { threads: 1 });
  const kernels = kernelsOn(device);
  for (const law of laws) {
    Deno.test(`CPU: ${law.name}`, async () => {
      const result = await law.run(kernels, { seed: 21, cases, tolerance: float32Tolerance });
      assert(result.ok, result.message ?? result.name);
    });
  }
  Deno.test("CPU: the laws' sessions are freed", async () => {
    await kernels[Symbol.asyncDispose]();
    await device.dispose();
  });
}

cpuTest("one session serves inputs of all sizes", async (cpu) => {
  const { device, loads } = countLoads(cpu);
  const fuser = new Gfa(device, { ...gfaCase, method: "closed" });
  for (const clips of [1, 7, 30]) {
    const out = await fuser.run(gfaInput({ ...gfaCase, clips, channels: clips }));
    assert.deepEqual(out.clip.shape, [clips, clips]);
    assert.deepEqual(out.query.shape, [4, clips]);
  }
  assert.equal(loads(), 1);
  await fuser.dispose();
});

cpuTest("kernels share a session whatever their omega and lambda", async (cpu) => {
  const { device, loads } = countLoads(cpu);
  const input = gfaInput(gfaCase);
  const kernels: Gfa[] = [];
  for (const [omega, lambda] of [[0.45, 2], [0.5, 9], [0.55, 0.1]] as const) {
    const options: GfaOptions = { omega, lambda, method: "closed" };
    const kernel = new Gfa(device, options);
    kernels.push(kernel);
    const out = await kernel.run(input);
    assert(await errorOf(out.clip, (await gfaReference(input, options)).clip) <= 1e-6);
  }
  assert.equal(loads(), 1);
  const [first, ...others] = kernels;
  await first!.dispose();
  await others[0]!.run(input);
  for (const kernel of others) await kernel.dispose();
  assert.equal(loads(), 1);
  await gfa(device, input, { ...gfaCase, method: "closed" });
  assert.equal(loads(), 2);
});

cpuTest("a system of many blocks agrees with the reference", async (device) => {
  for (const [clips, queries, omegas] of [[70, 65, [0.3, 0.9999]], [3, 150, [0.95]]] as const) {
    for (const omega of omegas) {
      const options: GfaOptions = { omega, lambda: 4, method: "closed" };
      const input = gfaInput({ ...gfaCase, clips, queries, channels: 5 });
      const got = await gfa(device, input, options);
      const expected = await gfaReference(input, options);
      const bound = float32Tolerance / (1 - omega ** 2);
      assert(await errorOf(got.clip, expected.clip) <= bound);
      assert(await errorOf(got.query, expected.query) <= bound);
      const kernel = new Gfa(device, options);
      const by = await kernel.gradients(input, input);
      const wanted = await gfaGradients(input, input, options);
      assert(await errorOf(by.clip, wanted.clip) <= bound);
      assert(await errorOf(by.query, wanted.query) <= bound);
      await kernel.dispose();
    }
  }
});

cpuTest("twenty thousand rows need no matrix of their number squared", async (device) => {
  const rng = new Rng(8);
  const input = { clip: random(rng, [20_000, 3]), query: random(rng, [2, 3]) };
  const got = await gfa(device, input, gfaCase);
  assert(await errorOf(got.clip, (await gfaReference(input, gfaCase)).clip) <= 2e-6);
});

cpuTest(
  "the method is the cheaper one, and its error bound says what it leaves out",
  async (device) => {
    const input = gfaInput({ ...gfaCase, channels: 40 });
    const run = async (options: Partial<GfaOptions>) => {
      const out = await gfa(device, input, { omega: 0.5, lambda: 5, ...options });
      return [out.method, out.errorBound];
    };
    assert.deepEqual(await run({}), ["closed", 0.25 ** 16]);
    assert.deepEqual(await run({ omega: 1e-5 }), ["series", 1e-5 ** 2]);
    assert.deepEqual(await run({ tolerance: 0.1 }), ["series", 0.25 ** 2]);
    assert.deepEqual(await run({ tolerance: 0.1, method: "closed" }), ["closed", 0.25 ** 16]);
    assert.deepEqual(await run({ tolerance: 1e-4, method: "series" }), ["series", 0.25 ** 8]);
    assert.deepEqual(await run({ steps: 2 }), ["steps", 2 * 0.5 ** 4]);
  },
);

cpuTest("raw affinity gets as many terms as its norm asks for", async (device) => {
  const input = gfaInput({ ...gfaCase, clips: 9 });
  const raw = { omega: 0.9, lambda: 1, affinity: "raw" } as const;
  const { norms } = await gfaReference(input, { ...raw, steps: 1 });
  const kernels: Gfa[] = [];
  for (const rate of [0.1, 0.999, 0.5]) {
    const options = { ...raw, lambda: rate / (raw.omega ** 2 * norms.system) };
    const kernel = new Gfa(device, options);
    kernels.push(kernel);
    const got = await kernel.run(input);
    assert(got.errorBound <= 2 ** -25);
    const expected = await gfaReference(input, options);
    assert(await errorOf(got.query, expected.query) <= float32Tolerance / (1 - rate));
    const by = await kernel.gradients(input, input);
    const wanted = await gfaGradients(input, input, options);
    assert(await errorOf(by.clip, wanted.clip) <= float32Tolerance / (1 - rate));
  }
  for (const kernel of kernels) await kernel.dispose();
});

cpuTest("extreme options stay finite", async (device) => {
  const input = gfaInput({ ...gfaCase, clips: 6, queries: 70 });
  for (const omega of [1e-300, 1e-12, 1 - 1e-6]) {
    for (const lambda of [1e-300, 30, 31, 1e30]) {
      const kernel = new Gfa(device, { omega, lambda });
      const out = await kernel.run(input);
      const by = await kernel.gradients(input, input);
      for (const x of [out.clip, out.query, by.clip, by.query]) {
        assert((await x.read()).every(Number.isFinite), `omega ${omega}, lambda ${lambda}`);
      }
      if (omega < 1e-9) {
        const expected = await gfaReference(input, { omega, lambda });
        assert(await errorOf(out.clip, expected.clip) <= 1e-6);
      }
      await kernel.dispose();
    }
  }
});

cpuTest("pooling and fusion compose into one session", async (device) => {
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
});

/** Σ value · weight over all elements. */
function weighted(value: Value, weight: Value): Value {
  return ops.reduceSum(ops.mul(value, weight));
}

cpuTest("a graph's gradients through GFA are the exact ones", async (device) => {
  const rng = new Rng(12);
  const all: GfaOptions[] = [
    { omega: 0.7, lambda: 4 },
    { omega: 0.7, lambda: 40 },
    { omega: 0.1, lambda: 4, method: "series", tolerance: 1e-3 },
    { omega: 0.7, lambda: 4, steps: 3 },
    { omega: 0.4, lambda: 0.2, affinity: "raw" },
  ];
  for (const options of all) {
    for (const lead of [[], [2]]) {
      for (const symbolic of [false, true]) {
        const shapes = { clip: [...lead, 6, 5], query: [...lead, 4, 5] };
        const clip = random(rng, shapes.clip), query = random(rng, shapes.query);
        const g = { clip: random(rng, shapes.clip), query: random(rng, shapes.query) };
        const graph = new Graph("fusion");
        const names = (rows: string): Dim[] => [...lead.map(() => "B"), rows, "D"];
        const c = graph.input("clip", symbolic ? names("C") : shapes.clip);
        const q = graph.input("query", symbolic ? names("Q") : shapes.query);
        const byClip = graph.input("byClip", c.shape), byQuery = graph.input("byQuery", q.shape);
        const fused = gfaGraph(c, q, options);
        const loss = ops.add(weighted(fused.clip, byClip), weighted(fused.query, byQuery));
        const [dc, dq] = gradients(loss, [c, q]);
        graph.output("dc", dc!);
        graph.output("dq", dq!);
        const session = await device.engine.load(graph.toOnnx());
        const got = await session.run({ clip, query, byClip: g.clip, byQuery: g.query });
        const expected = await gfaGradients({ clip, query }, g, options);
        const text = JSON.stringify(options);
        assert(await errorOf(got["dc"]!, expected.clip) <= 2e-5, text);
        assert(await errorOf(got["dq"]!, expected.query) <= 2e-5, text);
        await session.dispose();
      }
    }
  }
});

cpuTest("gradient: stop lets nothing pass in a graph", async (device) => {
  const graph = new Graph("fusion");
  const c = graph.input("clip", [5, 8]), q = graph.input("query", [4, 8]);
  const fused = gfaGraph(c, q, { ...gfaCase, gradient: "stop" });
  const [dc] = gradients(ops.reduceSum(ops.add(ops.reduceSum(fused.clip), ops.reduceSum(c))), [c]);
  graph.output("dc", dc!);
  const session = await device.engine.load(graph.toOnnx());
  const { dc: got } = await session.run({ ...gfaInput(gfaCase) });
  assert((await got!.read() as Float32Array).every((value) => value === 1));
  await session.dispose();
});

cpuTest("a graph with raw affinity that may diverge gives NaN, not numbers", async (device) => {
  const graph = new Graph("fusion");
  const c = graph.input("clip", [5, 8]), q = graph.input("query", [4, 8]);
  graph.output("fused", gfaGraph(c, q, { omega: 0.9, lambda: 50, affinity: "raw" }).query);
  const session = await device.engine.load(graph.toOnnx());
  const { fused } = await session.run({ ...gfaInput(gfaCase) });
  assert((await fused!.read() as Float32Array).every(Number.isNaN));
  await session.dispose();
});

cpuTest("a graph's gradients through mask pooling are the exact ones", async (device) => {
  const rng = new Rng(13);
  for (const mode of ["hard", "soft"] as const) {
    for (const lead of [[], [2]]) {
      for (const size of [[6, 7], [12, 14], [12, 15], [11, 13], [2, 3]]) {
        const shapes = { features: [...lead, 3, 6, 7], maskLogits: [...lead, 4, ...size] };
        const features = random(rng, shapes.features);
        const maskLogits = random(rng, shapes.maskLogits);
        const pooled = random(rng, [...lead, 4, 3]);
        const graph = new Graph("pooling");
        const batch = lead.map(() => "B");
        // Known sizes tell how the resize can be undone.
        const known = size[0]! > 11;
        const x = graph.input("features", [...batch, "D", ...(known ? [6, 7] : ["h", "w"])]);
        const m = graph.input("maskLogits", [...batch, "N", ...(known ? size : ["H", "W"])]);
        const g = graph.input("g", [...batch, "N", "D"]);
        const loss = weighted(maskPoolingGraph(x, m, { mode }).pooled, g);
        // Zeros for a hard mask would need a known size.
        const targets = mode === "hard" ? [x] : [x, m];
        const grads = gradients(loss, targets);
        grads.forEach((grad, i) => graph.output(`d${i}`, grad));
        const session = await device.engine.load(graph.toOnnx());
        const got = await session.run({ features, maskLogits, g: pooled });
        const input = { features, maskLogits };
        const expected = await maskPoolingGradients(input, { pooled }, { mode });
        assert(await errorOf(got["d0"]!, expected.features) <= 2e-6);
        if (mode === "soft") assert(await errorOf(got["d1"]!, expected.maskLogits) <= 5e-6);
        await session.dispose();
      }
    }
  }
});

/** Replaces one element. */
function spoiled(x: HostTensor<"float32">, index: number, value: number): HostTensor<"float32"> {
  const data = x.data.slice();
  data[index] = value;
  return float32(x.shape, data);
}

const bad = fc.constantFrom(NaN, Infinity, -Infinity);

cpuTest("checkFinite finds NaN and infinity wherever they are", async (device) => {
  const options: GfaOptions[] = [
    { omega: 0.5, lambda: 5 },
    { omega: 0.5, lambda: 50 },
    { omega: 0.5, lambda: 0.1, affinity: "raw" },
    { omega: 0.5, lambda: 5, steps: 1 },
  ];
  const fusers = options.map((o) => new Gfa(device, { ...o, checkFinite: true }));
  const poolers = (["hard", "soft"] as const).map((mode) =>
    new MaskPooling(device, { mode, checkFinite: true })
  );
  const names = ["clip", "query", "features", "maskLogits", "cotangent"] as const;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.nat(),
      bad,
      fc.nat(3),
      fc.boolean(),
      fc.boolean(),
      async (name, place, value, kind, backward, isHalf) => {
        const change = (other: string, x: HostTensor<"float32">) => {
          const y = other === name ? spoiled(x, place % x.data.length, value) : x;
          return isHalf ? halved(y) : y;
        };
        const rows = gfaInput(gfaCase);
        const images = maskPoolingInput(poolingCase);
        const pooled = random(new Rng(1), [5, 8]);
        const forFuser = { clip: change("clip", rows.clip), query: change("query", rows.query) };
        const forPooler = {
          features: change("features", images.features),
          maskLogits: change("maskLogits", images.maskLogits),
        };
        const isFusion = name === "clip" || name === "query" ||
          (name === "cotangent" && place % 2 === 0);
        const fuser = fusers[kind]!, pooler = poolers[kind % 2]!;
        const run = isFusion
          ? backward || name === "cotangent"
            ? fuser.gradients(forFuser, {
              clip: change("cotangent", rows.clip),
              query: rows.query,
            })
            : fuser.run(forFuser)
          : backward || name === "cotangent"
          ? pooler.gradients(forPooler, { pooled: change("cotangent", pooled) })
          : pooler.run(forPooler);
        await assert.rejects(run, (error) => {
          assert(error instanceof InputError, String(error));
          const what = name === "cotangent"
            ? /cotangent\.(clip|pooled)\[/
            : new RegExp(`${name}\\[`);
          assert.match(error.message, what);
          assert(error.message.includes(`is ${value};`), error.message);
          return true;
        });
      },
    ),
    { numRuns: 150, seed: 31 },
  );
  for (const kernel of [...fusers, ...poolers]) await kernel.dispose();
});

cpuTest("checkFinite names the element, and lets large finite ones pass", async (device) => {
  const rows = gfaInput({ ...gfaCase, kind: "huge" });
  const clip = spoiled(rows.clip, 2 * 8 + 3, NaN);
  await assert.rejects(
    gfa(device, { ...rows, clip }, { ...gfaCase, checkFinite: true }),
    /gfa: clip\[2, 3\] is NaN; every element must be finite/,
  );
  await gfa(device, rows, { ...gfaCase, checkFinite: true });
  const pooling = maskPoolingInput(poolingCase);
  // Their sum overflows.
  const maskLogits = float32(pooling.maskLogits.shape, pooling.maskLogits.data.map(() => 3e38));
  const out = await maskPooling(device, { ...pooling, maskLogits }, {
    mode: "soft",
    checkFinite: true,
  });
  assert((await out.pooled.read()).every(Number.isFinite));
});

cpuTest("bad inputs and options are refused by name", async (device) => {
  const ok = gfaInput(gfaCase);
  const refusedOptions: [Record<string, unknown>, RegExp][] = [
    ...[0, 1, 1.5, -0.1, NaN, Infinity].map((omega): [Record<string, unknown>, RegExp] => [
      { omega },
      /omega must be strictly between 0 and 1/,
    ]),
    ...[0, -1, NaN, Infinity].map((lambda): [Record<string, unknown>, RegExp] => [
      { lambda },
      /lambda must be above 0/,
    ]),
    ...[0, 1, NaN, 2].map((tolerance): [Record<string, unknown>, RegExp] => [
      { tolerance },
      /tolerance must be strictly between 0 and 1/,
    ]),
    ...[0, 1.5, NaN, -1].map((steps): [Record<string, unknown>, RegExp] => [
      { steps },
      /steps must be an integer and at least 1/,
    ]),
    [{ affinity: "cosine" }, /affinity must be one of "softmax", "raw", got "cosine"/],
    [{ method: "exact" }, /method must be one of .* got "exact"/],
    [{ gradient: "full" }, /gradient must be one of "implicit", "stop", got "full"/],
    [{ method: "steps" }, /method "steps" needs the option steps/],
    [{ method: "closed", steps: 3 }, /steps is 3, but method is "closed"/],
  ];
  for (const [change, pattern] of refusedOptions) {
    assert.throws(
      () => new Gfa(device, { omega: 0.5, lambda: 1, ...change } as GfaOptions),
      (error) => error instanceof OptionError && pattern.test(error.message),
      JSON.stringify(change),
    );
  }
  assert.throws(
    () => new MaskPooling(device, { mode: "medium" as "hard" }),
    (error) => error instanceof OptionError && /mode.*medium/.test(error.message),
  );
  await assert.rejects(
    gfa(device, ok, { omega: 0.9, lambda: 50, affinity: "raw" }),
    (error) =>
      error instanceof OptionError && /may diverge.* lambda below .*now 50/.test(error.message),
  );

  const fuser = new Gfa(device, gfaCase);
  const pooler = new MaskPooling(device, { mode: "soft" });
  const images = maskPoolingInput(poolingCase);
  const refused: [() => Promise<unknown>, RegExp][] = [
    [() => fuser.run({ ...ok, query: float32([4, 9]) }), /clip has 8 .* query has 9/],
    [() => fuser.run({ ...ok, clip: float32([8]) }), /clip must be N_C×D/],
    [() => fuser.run({ ...ok, clip: float32([0, 8]) }), /clip .* at least 1, got 0×8/],
    [
      () => fuser.run({ ...ok, clip: new HostTensor("float64", [2, 8]) }),
      /clip must be float32 or float16, got float64/,
    ],
    [() => fuser.run({ ...ok, clip: float32([2, 5, 8]) }), /query must be B×N_Q×D/],
    [
      () => fuser.run({ clip: float32([2, 5, 8]), query: float32([3, 4, 8]) }),
      /clip has a batch of 2, query of 3/,
    ],
    [
      () => fuser.gradients(ok, { ...ok, query: float32([5, 8]) }),
      /gradient by query must be 4×8, .* got 5×8/,
    ],
    [() => pooler.run({ ...images, features: float32([8, 6]) }), /features must be D×h×w/],
    [() => pooler.run({ ...images, maskLogits: float32([0, 2, 2]) }), /maskLogits .* at least 1/],
    [
      () => pooler.run({ ...images, features: new HostTensor("int32", [8, 6, 7]) }),
      /features must be float32 or float16, got int32/,
    ],
    [
      () => pooler.run({ features: float32([2, 8, 6, 7]), maskLogits: float32([1, 5, 6, 7]) }),
      /features have a batch of 2, maskLogits of 1/,
    ],
    [
      () => pooler.gradients(images, { pooled: float32([5, 9]) }),
      /gradient by pooled must be 5×8, .* got 5×9/,
    ],
  ];
  for (const [run, pattern] of refused) {
    await assert.rejects(
      run,
      (error) => {
        assert(error instanceof ShapeError, String(error));
        assert.match(error.message, pattern);
        return true;
      },
    );
  }
  await fuser.dispose();
  await pooler.dispose();
});
