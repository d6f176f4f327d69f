import assert from "node:assert/strict";
import { OptionError } from "../../../lib/errors.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import type { AnyBody, AnyPlugin } from "../../../lib/stages/plugin.ts";
import type { Slots } from "../../../lib/stages/slots.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import {
  checkLaws,
  type FuserLawName,
  fuserLawNames,
  fuserLaws,
  type FuserLawsOptions,
  LawError,
} from "../../../lib/testing/mod.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { builtinRegistry } from "../../../plugins/builtin.ts";

type Rows = (clip: Float32Array, query: Float32Array, columns: number) => ArrayLike<number>;

/** A fuser of embeddings, from a function of their numbers. */
function fuser(name: string, rows: Rows): AnyPlugin {
  return plugin(name, async ({ pooled, queryEmbeddings }) => {
    const [clip, query] = [await pooled!.embeddings.read(), await queryEmbeddings!.read()];
    const { shape } = queryEmbeddings!;
    return { fused: float32(shape, Float32Array.from(rows(clip, query, shape[1]!))) };
  });
}

function plugin(name: string, run: AnyBody["run"], dispose?: () => void): AnyPlugin {
  return {
    role: "fuser",
    name,
    description: "for tests",
    needs: ["pooled", "queryEmbeddings"],
    gives: ["fused"],
    options: {},
    create: () => ({ run, ...(dispose ? { dispose } : {}) }),
  };
}

/** Which laws a fuser breaks, in 60 cases. */
async function broken(plugin: AnyPlugin, options: FuserLawsOptions = {}): Promise<FuserLawName[]> {
  const names: FuserLawName[] = [];
  for (const [i, law] of fuserLaws(plugin, options).entries()) {
    await law.check({ seed: 5, cases: 60 }).catch((error) => {
      assert(error instanceof LawError, String(error?.stack ?? error));
      assert.match(error.message, /^fuser ".*": .*\n.*\{.*"?masks"?:.*\n.*repeat with check\(/);
      names.push(fuserLawNames[i]!);
    });
  }
  return names;
}

const half = fuser("half", (clip, query) => clip.map((x, i) => x / 2 + query[i]! / 2));

Deno.test("a sound fuser obeys all laws of fusers", async () => {
  assert.deepEqual(await broken(half), []);
});

let calls = 0;
const bad: [FuserLawName[], AnyPlugin][] = [
  [
    ["permutation"],
    fuser(
      "remembers the first row",
      (clip, query, columns) => clip.map((x, i) => x + query[i % columns]!),
    ),
  ],
  [
    ["rotation"],
    fuser(
      "treats the first axis apart",
      (clip, _, columns) => clip.map((x, i) => i % columns === 0 ? 2 * x : x),
    ),
  ],
  [["rotation"], fuser("adds a constant", (clip) => clip.map((x) => x + 1e13))],
  [
    ["finite"],
    fuser("divides by a row's length", (clip, _, columns) =>
      clip.map((x, i) => {
        const at = i - i % columns;
        return x / Math.hypot(...clip.subarray(at, at + columns));
      })),
  ],
  [
    ["determinism"],
    fuser("counts its calls", (clip) => {
      calls++;
      return clip.map((x) => x * (1 + 1e-6 * (calls % 7)));
    }),
  ],
  [
    ["inputs"],
    fuser("works in place", (clip) => {
      for (let i = 0; i < clip.length; i++) clip[i]! *= 0.5;
      return clip;
    }),
  ],
  [
    ["inputs"],
    plugin("disposes of what it was lent", ({ pooled }) => {
      pooled!.embeddings.dispose();
      return {
        fused: float32(
          pooled!.embeddings.shape,
          new Float32Array(pooled!.embeddings.shape.reduce((a, b) => a * b)),
        ),
      };
    }),
  ],
  [
    [...fuserLawNames],
    plugin("transposes", ({ pooled }) => {
      const [rows, columns] = pooled!.embeddings.shape as [number, number];
      return { fused: float32([columns, rows]) };
    }),
  ],
  [
    [...fuserLawNames],
    plugin("counts in doubles", ({ pooled }) => ({
      fused: new HostTensor("float64", pooled!.embeddings.shape) as never,
    })),
  ],
  [[...fuserLawNames], plugin("gives nothing", () => ({}) as Partial<Slots>)],
];

for (const [laws, plugin] of bad) {
  Deno.test(`a fuser that ${plugin.name} breaks ${laws.join(", ")}`, async () => {
    assert.deepEqual(await broken(plugin), laws);
  });
}

Deno.test("a fuser that differs from one stage to the next is not deterministic", async () => {
  let stages = 0;
  const born: AnyPlugin = {
    ...half,
    create() {
      const own = ++stages;
      return {
        run: ({ pooled }) => ({
          fused: float32(pooled!.embeddings.shape).data.length % 2 === 0
            ? pooled!.embeddings
            : scaled(pooled!.embeddings as HostTensor<"float32">, own),
        }),
      };
    },
  };
  assert.deepEqual(await broken(born), ["determinism"]);
});

function scaled(tensor: HostTensor<"float32">, factor: number): HostTensor<"float32"> {
  return float32(tensor.shape, tensor.data.map((x) => x * factor));
}

Deno.test("a fuser whose runs disturb each other is not deterministic", async () => {
  let current: Float32Array = new Float32Array();
  const shared = plugin("shares its scratch memory", async ({ pooled }) => {
    const { shape } = pooled!.embeddings;
    current = await pooled!.embeddings.read();
    await Promise.resolve();
    const size = shape[0]! * shape[1]!;
    const mine = Float32Array.from({ length: size }, (_, i) => current[i]!);
    return { fused: float32(shape, mine) };
  });
  assert.deepEqual(await broken(shared), ["determinism"]);
});

Deno.test("a fuser that keeps its sessions breaks disposal", async () => {
  const device = await acquireDevice("cpu", { threads: 1 });
  const leaky = (dispose: boolean): AnyPlugin => ({
    ...half,
    async create(_, { device }) {
      const graph = new Graph("twice");
      graph.output("y", ops.mul(graph.input("x", ["N", "D"]), 2));
      const session = await device.engine.load(graph.toOnnx());
      return {
        async run({ pooled }) {
          const { y } = await session.run({ x: pooled!.embeddings });
          return { fused: y as HostTensor<"float32"> };
        },
        ...(dispose ? { dispose: () => session.dispose() } : {}),
      };
    },
  });
  assert.deepEqual(await broken(leaky(true), { device }), []);
  assert.deepEqual(await broken(leaky(false), { device }), ["disposal"]);
  await device.dispose();
});

Deno.test("what a fuser is excepted from is left out, and the report says so", async () => {
  const apart = bad[1]![1];
  const laws = fuserLaws(apart, { except: ["rotation"] });
  assert.deepEqual(laws.filter(({ leftOut }) => leftOut).map(({ name }) => name), [
    'fuser "treats the first axis apart": rotation: a reflection of the feature space reflects the rows',
  ]);
  const report = await checkLaws(laws, { cases: 20, seed: 3 });
  assert.equal(report.results.length, fuserLawNames.length - 1);
  assert.match(String(report), /holds: .*finite.*\(20 cases, seed 3\)/);
  assert.match(String(report), /left out: fuser "treats the first axis apart": rotation/);
  await assert.rejects(
    checkLaws(fuserLaws(bad[8]![1]), { cases: 5 }),
    (error) => error instanceof LawError && error.results.length === fuserLawNames.length,
  );
});

Deno.test("what is no fuser, or needs what can't be drawn, is refused by name", async () => {
  const refused = (plugin: AnyPlugin, pattern: RegExp, options: FuserLawsOptions = {}) =>
    assert.throws(
      () => fuserLaws(plugin, options),
      (error) => error instanceof OptionError && pattern.test(error.message),
    );
  refused({ ...half, gives: ["text"] }, /fuser "half" gives text; a fuser gives fused/);
  refused({ ...half, needs: ["segmentation"] }, /needs segmentation, which .* draw image, vocab/);
  refused(half, /no law of fusers "speed"; except takes shape, /, { except: ["speed" as "shape"] });
  const gfa = builtinRegistry().get("fuser", "gfa");
  await assert.rejects(
    fuserLaws(gfa)[0]!.check({ cases: 1 }),
    /the laws were given no device; pass one/,
  );
});

Deno.test("the project's own fusers obey the laws of fusers", async () => {
  const device = await acquireDevice("cpu", { threads: 1 });
  // Learned fusers are of one D: test/plugins/fusers/attention_test.ts has networks for each.
  const fusers = builtinRegistry().plugins().filter(({ role, options }) =>
    role === "fuser" && !("model" in options)
  );
  assert.ok(fusers.length >= 4);
  for (const plugin of fusers) {
    await checkLaws(fuserLaws(plugin, { device }), { cases: 100 });
  }
  await device.dispose();
});
