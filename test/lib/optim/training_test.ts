import assert from "node:assert/strict";
import fixture from "../../fixtures/optim/training.json" with { type: "json" };
import { AdamW, clipByGlobalNorm } from "../../../lib/optim/adamw.ts";
import { ExponentialMovingAverage } from "../../../lib/optim/ema.ts";
import { cosineSchedule, polynomialSchedule, stepSchedule } from "../../../lib/optim/schedules.ts";

const { peak, warmup: warmupSteps, final, power, milestones, factor } = fixture;
const totalSteps = fixture.gradients.length;

Deno.test("schedules with warm-up agree with PyTorch's", () => {
  const schedules = {
    cosine: cosineSchedule({ peak, totalSteps, warmupSteps, final }),
    polynomial: polynomialSchedule({ peak, totalSteps, warmupSteps, power }),
    step: stepSchedule({ peak, milestones, factor, warmupSteps }),
  };
  for (const [name, rate] of Object.entries(schedules)) {
    fixture.schedules[name as keyof typeof schedules].forEach((expected, step) => {
      const error = Math.abs(rate(step) - expected);
      assert.ok(error <= 1e-12, `${name}, step ${step}: ${rate(step)} is not ${expected}`);
    });
  }
});

Deno.test("groups with rates and decays, clipping and averages agree with PyTorch's", () => {
  const size = fixture.start.length;
  const params = Float32Array.from(fixture.start);
  const groups = fixture.groups.map(({ rate, weightDecay }, i) => ({
    ranges: [[4 * i, 4 * i + 4]] as [number, number][],
    rate,
    weightDecay,
  }));
  const optimizer = new AdamW({ size, groups });
  const average = new ExponentialMovingAverage({ size, decay: fixture.decay });
  const close = (actual: Float32Array, expected: readonly number[], what: string) =>
    expected.forEach((value, i) => {
      const error = Math.abs(actual[i]! - value);
      assert.ok(error <= 3e-6 * Math.max(1, Math.abs(value)), `${what}[${i}]: ${error}`);
    });
  fixture.gradients.forEach((gradient, step) => {
    const grads = Float32Array.from(gradient);
    const norm = clipByGlobalNorm(grads, fixture.maxNorm);
    assert.ok(Math.abs(norm - fixture.norms[step]!) <= 1e-6 * norm);
    optimizer.step(params, grads, fixture.schedules.cosine[step]!);
    average.update(params);
    close(params, fixture.after[step]!, `step ${step}`);
    close(average.values, fixture.averages[step]!, `average ${step}`);
  });
});
