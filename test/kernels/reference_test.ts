import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type GfaOptions,
  seriesBound,
  seriesTerms,
  seriesTolerance,
  stepsBound,
} from "../../kernels/gfa/contract.ts";
import {
  gfaGradients,
  gfaIteration,
  gfaReference,
  gfaSeries,
} from "../../kernels/gfa/reference.ts";
import {
  maskPoolingGradients,
  maskPoolingReference,
} from "../../kernels/mask_pooling/reference.ts";
import { Rng } from "../../lib/rng.ts";
import { OptionError } from "../../lib/errors.ts";
import { HostTensor } from "../../lib/tensor.ts";
import fixture from "../fixtures/kernels/numpy.json" with { type: "json" };
import torch from "../fixtures/kernels/torch.json" with { type: "json" };
import {
  type GfaCase,
  gfaCases,
  gfaInput,
  maskPoolingCases,
  maskPoolingInput,
} from "./arbitraries.ts";
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

Deno.test("the references and their gradients agree with PyTorch and its autograd", async () => {
  for (const c of torch.maskPooling) {
    const input = {
      features: double(c.featuresShape, c.features),
      maskLogits: double(c.maskLogitsShape, c.maskLogits),
    };
    const options = { mode: c.mode as "hard" | "soft" };
    const got = await maskPoolingReference(input, options);
    assertClose(got.pooled, c.pooled, 1e-13);
    assertClose(got.area, c.area, 1e-13);
    const pooled = double(got.pooled.shape, c.byPooled);
    const by = await maskPoolingGradients(input, { pooled }, options);
    assertClose(by.features, c.byFeatures, 1e-13);
    assertClose(by.maskLogits, c.byMaskLogits ?? by.maskLogits.data.map(() => 0), 1e-13);
  }
  for (const c of torch.gfa) {
    const input = { clip: double(c.clipShape, c.clip), query: double(c.queryShape, c.query) };
    const options: GfaOptions = {
      omega: c.omega,
      lambda: c.lambda,
      affinity: c.affinity as "softmax" | "raw",
      ...(c.steps === null ? {} : { steps: c.steps }),
    };
    const got = await gfaReference(input, options);
    assertClose(got.clip, c.fusedClip, 1e-12);
    assertClose(got.query, c.fusedQuery, 1e-12);
    const cotangent = {
      clip: double(c.clipShape, c.byFusedClip),
      query: double(c.queryShape, c.byFusedQuery),
    };
    const by = await gfaGradients(input, cotangent, options);
    assertClose(by.clip, c.byClip, 1e-11);
    assertClose(by.query, c.byQuery, 1e-11);
  }
});

Deno.test("in a batch, each image is computed as if alone", async () => {
  const options = { omega: 0.6, lambda: 2 };
  const images = torch.gfa.find((c) => c.clipShape[0] === 2)!;
  const input = {
    clip: double(images.clipShape, images.clip),
    query: double(images.queryShape, images.query),
  };
  const both = await gfaReference(input, options);
  const by = await gfaGradients(input, input, options);
  for (const b of [0, 1]) {
    const image = (x: Double) => {
      const size = x.data.length / 2;
      return double(x.shape.slice(1), x.data.subarray(b * size, (b + 1) * size));
    };
    const alone = { clip: image(input.clip), query: image(input.query) };
    const got = await gfaReference(alone, options);
    assertClose(got.clip, image(both.clip).data, 1e-15);
    const gradients = await gfaGradients(alone, alone, options);
    assertClose(gradients.query, image(by.query).data, 1e-15);
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

Deno.test("the bound on a series' length is kept, and no shorter one would do", () => {
  for (const omega of [1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999]) {
    for (const tolerance of [0.5, 1e-3, seriesTolerance, 1e-12]) {
      for (const norms of [{ system: 1, affinity: 1 }, { system: 0.3, affinity: 7 }]) {
        const terms = seriesTerms(omega, tolerance, norms);
        assert(seriesBound(omega, terms, norms) <= tolerance);
        assert(terms === 1 || seriesBound(omega, terms - 1, norms) > tolerance);
      }
    }
    assert.equal(
      seriesTerms(omega, 1e-3),
      Math.max(1, Math.ceil(Math.log(1e-3) / Math.log(omega ** 2))),
    );
  }
});

/** The case with a raw affinity, and a λ for which the walk has a limit. */
async function withRawAffinity(c: GfaCase): Promise<GfaCase & GfaOptions> {
  const raw = { ...c, affinity: "raw", lambda: 1 } as const;
  const { norms } = await gfaReference(gfaInput(c), { ...raw, steps: 1 });
  // The norm is proportional to lambda.
  const lambda = norms.system === 0 ? 1 : 0.9 / (c.omega ** 2 * norms.system);
  return { ...raw, lambda: Math.min(lambda, 1e3) };
}

Deno.test("series and walks keep their error bounds, raw affinity included", async () => {
  await fc.assert(
    fc.asyncProperty(
      gfaCases,
      fc.boolean(),
      fc.integer({ min: 1, max: 12 }),
      async (drawn, isRaw, count) => {
        // Closer to 1 the series takes thousands of terms.
        const c = { ...drawn, omega: Math.min(drawn.omega, 0.95) };
        const options = isRaw ? await withRawAffinity(c) : c;
        const input = gfaInput(c);
        const limit = await gfaReference(input, options);
        const errorOf = (got: { clip: Double; query: Double }) =>
          Math.max(
            ...(["clip", "query"] as const).map((key) =>
              got[key].data.reduce(
                (max, x, i) => Math.max(max, Math.abs(x - limit[key].data[i]!)),
                0,
              )
            ),
          );
        const slack = 1e-11 * (1 + limit.norms.affinity);
        const { omega } = c;
        assert(
          errorOf(await gfaSeries(input, options, count)) <=
            seriesBound(omega, count, limit.norms) + slack,
        );
        const walk = await gfaReference(input, { ...options, steps: count });
        assert.equal(walk.errorBound, stepsBound(omega, count, limit.norms));
        assert(errorOf(walk) <= walk.errorBound + slack);
        const series = await gfaReference(input, {
          ...options,
          method: "series",
          tolerance: 1e-3,
        });
        assert(series.errorBound <= 1e-3 && errorOf(series) <= series.errorBound + slack);
      },
    ),
    { numRuns: 60, seed: 15 },
  );
});

Deno.test("raw affinity that may diverge is refused with the largest lambda that would do", async () => {
  const input = { clip: double([1, 2], [1, 0]), query: double([1, 2], [0.6, 0.8]) };
  // Z = 0.6 λ and P = 1: the walk has a limit where 0.6 λ ω² < 1.
  const options = { omega: 0.5, lambda: 10, affinity: "raw" } as const;
  await assert.rejects(gfaReference(input, options), (error) => {
    assert(error instanceof OptionError);
    assert.match(error.message, /‖PZ‖∞ = 0.5² · 6 = 1.5, .* lambda below 6.666 \(now 10\)/);
    return true;
  });
  const got = await gfaReference(input, { ...options, lambda: 6.666 });
  assert(got.query.data.every(Number.isFinite));
  // A finite walk needs no limit.
  const walk = await gfaReference(input, { ...options, steps: 3 });
  assert.equal(walk.errorBound, Infinity);
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

/** How far GFA's gradients are from central differences of its own reference. */
async function gradientError(c: GfaCase, options: GfaOptions): Promise<number> {
  const input = gfaInput(c);
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
  const gradients = await gfaGradients({ clip, query }, g, options);
  const loss = async (step: number) => {
    const out = await gfaReference(
      { clip: moved(clip, dc, step), query: moved(query, dq, step) },
      options,
    );
    return dot(g.clip, out.clip) + dot(g.query, out.query);
  };
  const h = 1e-5;
  const expected = (await loss(h) - await loss(-h)) / (2 * h);
  const got = dot(gradients.clip, dc) + dot(gradients.query, dq);
  const scale = (1 + Math.abs(expected)) *
    (1 + Math.sqrt(dot(g.clip, g.clip) + dot(g.query, g.query)));
  return Math.abs(got - expected) / scale;
}

const smooth = gfaCases.map((c): GfaCase => ({
  ...c,
  kind: c.kind === "close" ? "close" : "normal",
}));

Deno.test("GFA's gradients are those of central differences", async () => {
  await fc.assert(
    fc.asyncProperty(smooth, fc.option(fc.integer({ min: 1, max: 6 })), async (c, steps) => {
      const options = steps === null ? c : { ...c, steps };
      const error = await gradientError(c, options);
      assert(error <= 1e-6, `error ${error}`);
    }),
    { numRuns: 80, seed: 14 },
  );
});

Deno.test("with raw affinity, GFA's gradients are those of central differences", async () => {
  await fc.assert(
    fc.asyncProperty(smooth, fc.option(fc.integer({ min: 1, max: 6 })), async (c, steps) => {
      fc.pre(c.channels > 1);
      const raw = await withRawAffinity(c);
      const options = steps === null ? { ...raw, lambda: raw.lambda / 2 } : { ...raw, steps };
      // Where a similarity changes its sign, |Z| has an edge.
      const { clip, query } = gfaInput(c);
      const least = smallestSimilarity(clip, query);
      fc.pre(least > 2e-3);
      const error = await gradientError(c, options);
      assert(error <= 1e-6, `error ${error}`);
    }),
    { numRuns: 60, seed: 16 },
  );
});

function smallestSimilarity(clip: HostTensor, query: HostTensor): number {
  const d = clip.shape[1]!;
  const row = (
    x: HostTensor,
    i: number,
  ) => [...(x.data as Float32Array).subarray(i * d, i * d + d)];
  let least = 1;
  for (let i = 0; i < clip.shape[0]!; i++) {
    for (let j = 0; j < query.shape[0]!; j++) {
      const [a, b] = [row(clip, i), row(query, j)];
      const cosine = a.reduce((sum, x, k) => sum + x * b[k]!, 0) /
        (Math.hypot(...a) * Math.hypot(...b));
      least = Math.min(least, Math.abs(cosine));
    }
  }
  return least;
}

Deno.test("gradient: stop gives zeros", async () => {
  const input = { clip: double([2, 2], [3, 1, 1, 2]), query: double([1, 2], [3, -1]) };
  const gradients = await gfaGradients(input, input, { omega: 0.5, lambda: 2, gradient: "stop" });
  assert([...gradients.clip.data, ...gradients.query.data].every((value) => value === 0));
});

Deno.test("a zero row has a zero gradient", async () => {
  const clip = double([2, 2], [0, 0, 1, 2]);
  const query = double([1, 2], [3, -1]);
  const ones = { clip: double([2, 2], [1, 1, 1, 1]), query: double([1, 2], [1, 1]) };
  const gradients = await gfaGradients({ clip, query }, ones, { omega: 0.5, lambda: 2 });
  assert.deepEqual([...gradients.clip.data.subarray(0, 2)], [0, 0]);
  assert(gradients.clip.data.every(Number.isFinite));
});
