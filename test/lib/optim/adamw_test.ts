import assert from "node:assert/strict";
import fc from "fast-check";
import fixture from "../../fixtures/optim/adamw.json" with { type: "json" };
import { OptionError, ShapeError } from "../../../lib/errors.ts";
import { AdamW, clipByGlobalNorm, type ParameterGroup } from "../../../lib/optim/adamw.ts";

const finite = fc.float({ min: -1000, max: 1000, noNaN: true });
const vector = (length: number) =>
  fc.array(finite, { minLength: length, maxLength: length }).map((xs) => Float32Array.from(xs));

Deno.test("agrees with PyTorch's AdamW and gradient clipping", () => {
  for (const { betas, epsilon, weightDecay, start, gradients, norms, after } of fixture.cases) {
    const params = Float32Array.from(start);
    const optimizer = new AdamW({
      size: start.length,
      betas: [betas[0]!, betas[1]!],
      epsilon,
      weightDecay,
      decayMask: [[0, fixture.decayed]],
    });
    gradients.forEach((gradient, i) => {
      const grads = Float32Array.from(gradient);
      const norm = clipByGlobalNorm(grads, fixture.maxNorm);
      assert.ok(Math.abs(norm - norms[i]!) <= 1e-6 * norms[i]!);
      optimizer.step(params, grads, fixture.rates[i]!);
      after[i]!.forEach((expected, k) => {
        const error = Math.abs(params[k]! - expected);
        assert.ok(error <= 2e-6 * Math.max(1, Math.abs(expected)), `step ${i}, ${k}: ${error}`);
      });
    });
  }
});

Deno.test("the first step moves each parameter by the rate, whatever its gradient's size", () => {
  fc.assert(fc.property(vector(5), vector(5), (start, grads) => {
    const params = start.slice();
    new AdamW({ size: 5, weightDecay: 0, epsilon: 1e-30 }).step(params, grads, 0.5);
    params.forEach((value, i) => {
      // v = (1 − β₂)g² must be a normal float32 for the ratio to be exact.
      if (grads[i] !== 0 && Math.abs(grads[i]!) < 1e-15) return;
      const expected = start[i]! - 0.5 * Math.sign(grads[i]!);
      assert.ok(Math.abs(value - expected) <= 1e-4, `${value} ≠ ${expected}`);
    });
  }));
});

Deno.test("without gradients only the masked parameters shrink", () => {
  fc.assert(fc.property(vector(8), fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), (
    start,
    flags,
  ) => {
    const params = start.slice();
    const decayMask = Uint8Array.from(flags, Number);
    new AdamW({ size: 8, weightDecay: 0.5, decayMask }).step(params, new Float32Array(8), 0.25);
    const expected = start.map((x, i) => flags[i] ? x * 0.875 : x);
    assert.deepEqual([...params].map((x) => x + 0), [...expected].map((x) => x + 0));
  }));
});

Deno.test("ranges, overlapping or empty ones too, say what a mask says", () => {
  const range = fc.tuple(fc.nat(6), fc.nat(6)).map(([a, b]) =>
    [Math.min(a, b), Math.max(a, b)] as const
  );
  fc.assert(fc.property(vector(6), vector(6), fc.array(range), (start, grads, ranges) => {
    const mask = new Uint8Array(6);
    for (const [from, to] of ranges) mask.fill(1, from, to);
    const results = [ranges, mask].map((decayMask) => {
      const params = start.slice();
      new AdamW({ size: 6, weightDecay: 0.5, decayMask }).step(params, grads, 0.1);
      return params;
    });
    assert.deepEqual(results[0], results[1]);
  }));
});

Deno.test("a group is an optimiser of its own", () => {
  fc.assert(fc.property(vector(6), fc.array(vector(6), { maxLength: 4 }), (start, all) => {
    const params = start.slice();
    const groups = [{ ranges: [[1, 2], [4, 6]], rate: 0.25, weightDecay: 0.5 }] as const;
    const optimizer = new AdamW({ size: 6, groups, decayMask: [[0, 5]], weightDecay: 0.1 });
    // Parameter by parameter: rate and decay.
    const own = [[1, 0.1], [0.25, 0.5], [1, 0.1], [1, 0.1], [0.25, 0.5], [0.25, 0]] as const;
    const alone = own.map(([, weightDecay]) => new AdamW({ size: 1, weightDecay }));
    const each = own.map((_, i) => start.slice(i, i + 1));
    for (const grads of all) {
      optimizer.step(params, grads, 0.5);
      alone.forEach((one, i) => one.step(each[i]!, grads.slice(i, i + 1), 0.5 * own[i]![0]));
    }
    assert.deepEqual([...params], each.map(([value]) => value));
  }));
});

Deno.test("a restored state goes on exactly as the original", () => {
  fc.assert(
    fc.property(vector(4), fc.array(vector(4), { minLength: 1, maxLength: 6 }), (start, all) => {
      const params = start.slice();
      const optimizer = new AdamW({ size: 4 });
      const half = all.length >> 1;
      for (const grads of all.slice(0, half)) optimizer.step(params, grads, 0.01);
      const saved = optimizer.save();
      const resumedParams = params.slice();
      const resumed = new AdamW({ size: 4 });
      resumed.restore(saved);
      for (const grads of all.slice(half)) {
        optimizer.step(params, grads, 0.01);
        resumed.step(resumedParams, grads, 0.01);
      }
      assert.deepEqual(resumedParams, params);
      assert.deepEqual(resumed.save(), optimizer.save());
      assert.equal(saved.step, half);
    }),
  );
});

Deno.test("clipping bounds the norm over all arrays and keeps the direction", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5).chain(vector), { maxLength: 3 }),
      fc.double({ min: 1e-3, max: 1e4, noNaN: true }),
      (arrays, maxNorm) => {
        const clipped = arrays.map((array) => array.slice());
        const norm = clipByGlobalNorm(clipped, maxNorm);
        const flat = arrays.flatMap((array) => [...array]);
        assert.ok(Math.abs(norm - Math.hypot(...flat)) <= 1e-9 * norm);
        const factor = Math.min(1, maxNorm / norm);
        clipped.flatMap((array) => [...array]).forEach((value, i) => {
          if (norm <= maxNorm) assert.equal(value, flat[i]);
          else assert.ok(Math.abs(value - flat[i]! * factor) <= 1e-6 * Math.abs(value) + 1e-40);
        });
      },
    ),
  );
});

Deno.test("a gradient that is not finite is reported and left alone", () => {
  for (const bad of [NaN, Infinity]) {
    const grads = Float32Array.of(1, bad);
    assert.ok(!Number.isFinite(clipByGlobalNorm(grads, 1)));
    assert.deepEqual(grads, Float32Array.of(1, bad));
  }
});

Deno.test("wrong options and sizes are named", () => {
  assert.throws(() => new AdamW({ size: -1 }), /size is -1/);
  assert.throws(() => new AdamW({ size: 1, betas: [0.9, 1] }), /betas\[1\] is 1/);
  assert.throws(() => new AdamW({ size: 1, betas: [NaN, 0.9] }), /betas\[0\] is NaN/);
  assert.throws(() => new AdamW({ size: 1, epsilon: 0 }), /epsilon is 0/);
  assert.throws(() => new AdamW({ size: 1, weightDecay: -1 }), /weightDecay is -1/);
  assert.throws(() => new AdamW({ size: 2, decayMask: new Uint8Array(3) }), /3 flags/);
  assert.throws(() => new AdamW({ size: 2, decayMask: [[1, 3]] }), /range 1 to 3/);
  const groups = (...groups: ParameterGroup[]) => () => new AdamW({ size: 4, groups });
  assert.throws(groups({ ranges: [[0, 1]], rate: -1 }), /groups\[0\]\.rate is -1/);
  assert.throws(groups({ ranges: [], weightDecay: NaN }), /groups\[0\]\.weightDecay is NaN/);
  assert.throws(groups({ ranges: [[3, 5]] }), /groups\[0\] range 3 to 5/);
  assert.throws(
    groups({ ranges: [[0, 2]] }, { ranges: [[3, 4], [1, 3]] }),
    /groups\[1\] and groups\[0\] share parameters of 1 to 3/,
  );
  const optimizer = new AdamW({ size: 2 });
  const two = new Float32Array(2);
  assert.throws(() => optimizer.step(two, new Float32Array(3), 0.1), ShapeError);
  assert.throws(() => optimizer.step(two, two, NaN), /learningRate is NaN/);
  assert.throws(() => optimizer.restore({ step: 1, m: two, v: new Float32Array(1) }), ShapeError);
  assert.throws(() => optimizer.restore({ step: -1, m: two, v: two }), OptionError);
  assert.throws(() => clipByGlobalNorm(two, 0), /maxNorm is 0/);
  assert.equal(optimizer.steps, 0);
});
