import assert from "node:assert/strict";
import fc from "fast-check";
import {
  cosineSchedule,
  polynomialSchedule,
  type Schedule,
  stepSchedule,
} from "../../../lib/optim/schedules.ts";

const run = fc.record({
  peak: fc.double({ min: 1e-6, max: 10, noNaN: true }),
  totalSteps: fc.integer({ min: 1, max: 200 }),
  warmup: fc.double({ min: 0, max: 1, noNaN: true }),
  ratio: fc.double({ min: 0, max: 1, noNaN: true }),
  power: fc.double({ min: 0.1, max: 4, noNaN: true }),
}).map(({ peak, totalSteps, warmup, ratio, power }) => ({
  peak,
  totalSteps,
  warmupSteps: Math.floor(warmup * totalSteps),
  final: peak * ratio,
  power,
}));

Deno.test("rates climb to the peak, fall to the final rate, and stay there", () => {
  fc.assert(fc.property(run, fc.boolean(), (options, cosine) => {
    const { peak, totalSteps, warmupSteps, final } = options;
    const rate: Schedule = cosine ? cosineSchedule(options) : polynomialSchedule(options);
    const slack = 1e-12 * peak;
    for (let step = 0; step < totalSteps; step++) {
      if (step < warmupSteps) {
        assert.ok(Math.abs(rate(step) - peak * (step + 1) / warmupSteps) <= slack);
      } else {
        assert.ok(rate(step) <= rate(step - 1) + slack || step === 0);
        assert.ok(rate(step) >= final - slack && rate(step) <= peak + slack);
      }
    }
    if (totalSteps > Math.max(warmupSteps, 1)) {
      assert.ok(Math.abs(rate(totalSteps - 1) - final) <= slack);
      assert.ok(Math.abs(rate(Math.max(warmupSteps - 1, 0)) - peak) <= slack);
    }
    assert.ok(Math.abs(rate(totalSteps + 1000) - final) <= slack);
  }));
});

Deno.test("halfway, a cosine is at half its height and a polynomial at 2^-power", () => {
  const options = { peak: 2, totalSteps: 101 };
  assert.ok(Math.abs(cosineSchedule(options)(50) - 1) < 1e-12);
  for (const power of [0.5, 0.9, 1, 2]) {
    const half = polynomialSchedule({ ...options, power })(50);
    assert.ok(Math.abs(half - 2 * 0.5 ** power) < 1e-12);
  }
  assert.equal(polynomialSchedule(options)(50), polynomialSchedule({ ...options, power: 0.9 })(50));
});

Deno.test("wrong options are named", () => {
  const good = { peak: 1, totalSteps: 10 };
  assert.throws(() => cosineSchedule({ ...good, peak: 0 }), /cosineSchedule: peak is 0/);
  assert.throws(() => cosineSchedule({ ...good, totalSteps: 0 }), /totalSteps is 0/);
  assert.throws(() => cosineSchedule({ ...good, warmupSteps: 11 }), /warmupSteps is 11/);
  assert.throws(() => cosineSchedule({ ...good, final: 2 }), /final is 2/);
  assert.throws(() => polynomialSchedule({ ...good, power: NaN }), /power is NaN/);
  const steps = { peak: 1, milestones: [2, 5] };
  assert.throws(() => stepSchedule({ ...steps, peak: NaN }), /stepSchedule: peak is NaN/);
  assert.throws(() => stepSchedule({ ...steps, factor: 0 }), /factor is 0/);
  assert.throws(() => stepSchedule({ ...steps, warmupSteps: -1 }), /warmupSteps is -1/);
  assert.throws(
    () => stepSchedule({ ...steps, milestones: [3, 3] }),
    /milestones\[1\] is 3; it must be an integer of at least 4/,
  );
});
