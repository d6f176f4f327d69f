import assert from "node:assert/strict";
import fc from "fast-check";
import { seriesDoublings } from "../../kernels/gfa/cpu_graph.ts";
import { seriesTolerance } from "../../kernels/gfa/contract.ts";
import { gfaGradients, gfaIteration, gfaReference } from "../../kernels/gfa/reference.ts";
import {
  maskPoolingGradients,
  maskPoolingReference,
} from "../../kernels/mask_pooling/reference.ts";
import { Rng } from "../../lib/rng.ts";
import { HostTensor } from "../../lib/tensor.ts";
import fixture from "../fixtures/kernels/numpy.json" with { type: "json" };
import { gfaCases, gfaInput, maskPoolingCases, maskPoolingInput } from "./arbitraries.ts";
import { float32Tolerance, type Implementation, laws } from "./laws.ts";

type Double = HostTensor<"float64">;

function double(shape: readonly number[], data: ArrayLike<number>): Double {
  return new HostTensor("float64", shape, Float64Array.from(data));
}

function assertClose(got: Double, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(got.data.length, expected.length);
  got.data.forEach((value, i) => {
    const bound = tolerance * Math.max(1, Math.abs(expected[i]!));
    assert(Math.abs(value - expected[i]!) <= bound, `[${i}] ${value}, expected ${expected[i]}`);
  });
}

function dot(a: Double, b: Double): number {
  return a.data.reduce((sum, value, i) => sum + value * b.data[i]!, 0);
}

function random(rng: Rng, shape: readonly number[], scale = 1): Double {
  const out = new HostTensor("float64", shape);
  for (let i = 0; i < out.data.length; i++) out.data[i] = scale * rng.normal();
  return out;
}

function moved(x: Double, direction: Double, step: number): Double {
  return double(x.shape, x.data.map((value, i) => value + step * direction.data[i]!));
}

/** The reference, judged by the laws of the engines. */
const reference: Implementation = {
  async maskPooling(input, options) {
    const { pooled, area } = await maskPoolingReference(input, options);
    return {
      pooled: pooled.data,
      area: area.data,
      empty: Array.from(area.data, (value) => value <= 1e-8),
    };
  },
  async gfa(input, options) {
    const { clip, query } = await gfaReference(input, options);
    return { clip: clip.data, query: query.data };
  },
};

Deno.test("the references agree with NumPy", async () => {
  for (const c of fixture.maskPooling) {
    const got = await maskPoolingReference({
      features: double(c.featuresShape, c.features),
      maskLogits: double(c.maskLogitsShape, c.maskLogits),
    }, { mode: c.mode as "hard" | "soft" });
    assertClose(got.pooled, c.pooled, 1e-13);
    assertClose(got.area, c.area, 1e-13);
  }
  for (const c of fixture.gfa) {
    const got = await gfaReference(
      { clip: double(c.clipShape, c.clip), query: double(c.queryShape, c.query) },
      { omega: c.omega, lambda: c.lambda },
    );
    assertClose(got.clip, c.fusedClip, 1e-13);
    assertClose(got.query, c.fusedQuery, 1e-13);
  }
});

for (const law of laws.filter(({ name }) => !name.includes("reference"))) {
  // Two laws compare with expectations that are stored in float32.
  const tolerance = /permuted|rotation/.test(law.name)
    ? float32Tolerance
    : /towards 0|saturated/.test(law.name)
    ? 1e-6
    : 1e-12;
  Deno.test(`the float64 reference obeys: ${law.name}`, async () => {
    const result = await law.run(reference, { seed: 11, cases: 60, tolerance });
    assert(result.ok, result.message ?? result.name);
  });
}

Deno.test("GFA's walk approaches the closed form by omega squared per step", async () => {
  await fc.assert(
    fc.asyncProperty(gfaCases, fc.integer({ min: 1, max: 12 }), async (c, steps) => {
      const input = gfaInput(c);
      const limit = await gfaReference(input, c);
      const distance = async (t: number) => {
        const { clip } = await gfaIteration(input, c, t);
        return clip.data.reduce((max, x, i) => Math.max(max, Math.abs(x - limit.clip.data[i]!)), 0);
      };
      const first = await distance(1);
      assert(await distance(steps) <= first * c.omega ** (2 * (steps - 1)) + 1e-11);
    }),
    { numRuns: 60, seed: 12 },
  );
});

Deno.test("the truncated series keeps the bound that its length is chosen by", () => {
  for (const omega of [1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-9]) {
    const k = seriesDoublings(omega);
    assert(omega ** (2 * 2 ** k) <= seriesTolerance);
    assert(k === 0 || omega ** 2 ** k > seriesTolerance);
  }
});

Deno.test("mask pooling's gradients are those of central differences", async () => {
  await fc.assert(
    fc.asyncProperty(maskPoolingCases, async (c) => {
      fc.pre(c.kind !== "saturated");
      const input = maskPoolingInput({ ...c, kind: "normal" });
      const rng = new Rng(c.seed + 9);
      const x = double(input.features.shape, input.features.data);
      const m = double(input.maskLogits.shape, input.maskLogits.data);
      const g = random(rng, [c.masks, c.channels]);
      const dx = random(rng, x.shape);
      // Hard masks are constant almost everywhere; a finite step could still cross an edge.
      const dm = random(rng, m.shape, c.mode === "soft" ? 1 : 0);
      const gradients = await maskPoolingGradients(
        { features: x, maskLogits: m },
        { pooled: g },
        c,
      );
      const loss = async (step: number) =>
        dot(
          g,
          (await maskPoolingReference({
            features: moved(x, dx, step),
            maskLogits: moved(m, dm, step),
          }, c)).pooled,
        );
      const h = 1e-5;
      const expected = (await loss(h) - await loss(-h)) / (2 * h);
      const got = dot(gradients.features, dx) + dot(gradients.maskLogits, dm);
      const scale = 1 + Math.sqrt(dot(g, g));
      assert(Math.abs(got - expected) <= 1e-6 * scale, `${got}, expected ${expected}`);
      if (c.mode === "hard") assert(gradients.maskLogits.data.every((value) => value === 0));
    }),
    { numRuns: 60, seed: 13 },
  );
});

Deno.test("GFA's gradients are those of central differences", async () => {
  await fc.assert(
    fc.asyncProperty(gfaCases, async (c) => {
      const input = gfaInput({ ...c, kind: c.kind === "close" ? "close" : "normal" });
      const rng = new Rng(c.seed + 9);
      const clip = double(input.clip.shape, input.clip.data);
      const query = double(input.query.shape, input.query.data);
      // Rows near zero turn fast: differences would need a smaller step there.
      for (const rows of [clip, query]) {
        for (let at = 0; at < rows.data.length; at += c.channels) {
          fc.pre(Math.hypot(...rows.data.subarray(at, at + c.channels)) > 0.3);
        }
      }
      const g = { clip: random(rng, clip.shape), query: random(rng, query.shape) };
      const dc = random(rng, clip.shape);
      const dq = random(rng, query.shape);
      const gradients = await gfaGradients({ clip, query }, g, c);
      const loss = async (step: number) => {
        const out = await gfaReference(
          { clip: moved(clip, dc, step), query: moved(query, dq, step) },
          c,
        );
        return dot(g.clip, out.clip) + dot(g.query, out.query);
      };
      const h = 1e-5;
      const expected = (await loss(h) - await loss(-h)) / (2 * h);
      const got = dot(gradients.clip, dc) + dot(gradients.query, dq);
      const scale = (1 + Math.abs(expected)) *
        (1 + Math.sqrt(dot(g.clip, g.clip) + dot(g.query, g.query)));
      assert(Math.abs(got - expected) <= 1e-6 * scale, `${got}, expected ${expected}`);
    }),
    { numRuns: 60, seed: 14 },
  );
});

Deno.test("a zero row has a zero gradient", async () => {
  const clip = double([2, 2], [0, 0, 1, 2]);
  const query = double([1, 2], [3, -1]);
  const ones = { clip: double([2, 2], [1, 1, 1, 1]), query: double([1, 2], [1, 1]) };
  const gradients = await gfaGradients({ clip, query }, ones, { omega: 0.5, lambda: 2 });
  assert.deepEqual([...gradients.clip.data.subarray(0, 2)], [0, 0]);
  assert(gradients.clip.data.every(Number.isFinite));
});
