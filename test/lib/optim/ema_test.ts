import assert from "node:assert/strict";
import fc from "fast-check";
import { OptionError, ShapeError } from "../../../lib/errors.ts";
import { ExponentialMovingAverage } from "../../../lib/optim/ema.ts";

const finite = fc.float({ min: -1000, max: 1000, noNaN: true });
const vectors = fc.array(fc.array(finite, { minLength: 3, maxLength: 3 }), { minLength: 1 })
  .map((all) => all.map((values) => Float32Array.from(values)));
const decay = fc.double({ min: 0, max: 0.999, noNaN: true });

Deno.test("averages stay within what they are averages of, and start at the first", () => {
  fc.assert(fc.property(vectors, decay, fc.boolean(), (all, decay, warmup) => {
    const average = new ExponentialMovingAverage({ size: 3, decay, warmup });
    all.forEach((params, n) => {
      average.update(params);
      average.values.forEach((value, i) => {
        const seen = all.slice(0, n + 1).map((other) => other[i]!);
        const slack = 1e-4 * Math.max(...seen.map(Math.abs));
        assert.ok(value >= Math.min(...seen) - slack && value <= Math.max(...seen) + slack);
        if (n === 0) assert.equal(value, params[i]);
      });
    });
    assert.equal(average.steps, all.length);
  }));
});

Deno.test("with warm-up the second update takes (1 + 1)/(10 + 1) of the first", () => {
  const average = new ExponentialMovingAverage({ size: 1, decay: 0.99, warmup: true });
  average.update(Float32Array.of(11));
  average.update(Float32Array.of(0));
  assert.ok(Math.abs(average.values[0]! - 2) < 1e-6);
});

Deno.test("a restored average goes on exactly as the original", () => {
  fc.assert(fc.property(vectors, vectors, decay, fc.boolean(), (before, after, decay, warmup) => {
    const options = { size: 3, decay, warmup };
    const [average, resumed] = [options, options].map((o) => new ExponentialMovingAverage(o)) as [
      ExponentialMovingAverage,
      ExponentialMovingAverage,
    ];
    before.forEach((params) => average.update(params));
    const saved = average.save();
    resumed.restore(saved);
    for (const params of after) {
      average.update(params);
      resumed.update(params);
    }
    assert.deepEqual(resumed.save(), average.save());
    assert.equal(saved.step, before.length);
  }));
});

Deno.test("wrong options and sizes are named", () => {
  assert.throws(() => new ExponentialMovingAverage({ size: 1.5, decay: 0.5 }), /size is 1\.5/);
  assert.throws(() => new ExponentialMovingAverage({ size: 1, decay: 1 }), /decay is 1/);
  const average = new ExponentialMovingAverage({ size: 2, decay: 0.5 });
  assert.throws(() => average.update(new Float32Array(3)), ShapeError);
  assert.throws(() => average.restore({ step: 0, average: new Float32Array(1) }), ShapeError);
  assert.throws(() => average.restore({ step: -1, average: new Float32Array(2) }), OptionError);
});
