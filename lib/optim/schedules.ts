/**
 * Learning-rate schedules: pure functions from the step's number to its rate.
 *
 * @module
 */
import { OptionError } from "../errors.ts";

/** The learning rate of step 0, 1, 2 …; total, so a run that goes on too long gets the last rate. */
export type Schedule = (step: number) => number;

/** What the schedules share. */
export interface ScheduleOptions {
  /** The highest rate, reached when the warm-up ends; above 0. */
  readonly peak: number;
  /** Number of steps in all, warm-up included; at least 1. */
  readonly totalSteps: number;
  /** Steps of linear warm-up, 0 where left out; at most `totalSteps`. */
  readonly warmupSteps?: number;
  /** The rate that the run ends on, from 0 to `peak`; 0 where left out. */
  readonly final?: number;
}

/** Options of {@linkcode polynomialSchedule}. */
export interface PolynomialOptions extends ScheduleOptions {
  /** Exponent of the decay, above 0; 0.9 as in segmentation where left out, 1 is linear. */
  readonly power?: number;
}

/**
 * Linear warm-up, then half a cosine (Loshchilov and Hutter, 2017):
 * `final + (peak − final) · (1 + cos πx) / 2`, x going from 0 to 1 over the steps after the warm-up.
 *
 * @throws {OptionError} If an option is out of its domain; the message names it.
 *
 * @example
 * ```ts
 * import { cosineSchedule } from "@ovstage/ovstage";
 * const rate = cosineSchedule({ peak: 1e-3, totalSteps: 101, warmupSteps: 1 });
 * console.log(rate(0), rate(50).toFixed(4), rate(100)); // 0.001 0.0005 0
 * ```
 */
export function cosineSchedule(options: ScheduleOptions): Schedule {
  return warmedUp("cosineSchedule", options, (x) => (1 + Math.cos(Math.PI * x)) / 2);
}

/**
 * Linear warm-up, then `final + (peak − final) · (1 − x)^power`, x going from 0 to 1 over the steps
 * after the warm-up.
 *
 * @throws {OptionError} If an option is out of its domain; the message names it.
 *
 * @example
 * ```ts
 * import { polynomialSchedule } from "@ovstage/ovstage";
 * const rate = polynomialSchedule({ peak: 1, totalSteps: 5, power: 1 });
 * console.log([0, 1, 2, 3, 4].map(rate)); // [1, 0.75, 0.5, 0.25, 0]
 * ```
 */
export function polynomialSchedule(options: PolynomialOptions): Schedule {
  const { power = 0.9 } = options;
  check("polynomialSchedule", power > 0 && power < Infinity, "power", power, "above 0");
  return warmedUp("polynomialSchedule", options, (x) => (1 - x) ** power);
}

/** Options of {@linkcode stepSchedule}. */
export interface StepOptions {
  /** The rate from the end of the warm-up to the first milestone; above 0. */
  readonly peak: number;
  /** Steps from which on the rate is smaller, ascending. */
  readonly milestones: readonly number[];
  /** What the rate is multiplied by at each milestone, above 0; 0.1 where left out. */
  readonly factor?: number;
  /** Steps of linear warm-up, 0 where left out. */
  readonly warmupSteps?: number;
}

/**
 * Linear warm-up, then `peak · factor^n`, n being the number of milestones passed.
 *
 * @throws {OptionError} If an option is out of its domain; the message names it.
 *
 * @example
 * ```ts
 * import { stepSchedule } from "@ovstage/ovstage";
 * const rate = stepSchedule({ peak: 1, milestones: [2, 3], factor: 0.5 });
 * console.log([0, 1, 2, 3, 4].map(rate)); // [1, 1, 0.5, 0.25, 0.25]
 * ```
 */
export function stepSchedule(options: StepOptions): Schedule {
  const { peak, milestones, factor = 0.1, warmupSteps = 0 } = options;
  const name = "stepSchedule";
  check(name, peak > 0 && peak < Infinity, "peak", peak, "above 0");
  check(name, factor > 0 && factor < Infinity, "factor", factor, "above 0");
  const whole = Number.isInteger(warmupSteps) && warmupSteps >= 0;
  check(name, whole, "warmupSteps", warmupSteps, "an integer of at least 0");
  milestones.forEach((step, i) => {
    const least = i === 0 ? 1 : milestones[i - 1]! + 1;
    const fits = Number.isInteger(step) && step >= least;
    check(name, fits, `milestones[${i}]`, step, `an integer of at least ${least}`);
  });
  return (step) => {
    const passed = milestones.filter((milestone) => step >= milestone).length;
    const warm = step < warmupSteps ? (Math.max(step, 0) + 1) / warmupSteps : 1;
    return peak * warm * factor ** passed;
  };
}

function warmedUp(name: string, options: ScheduleOptions, decay: (x: number) => number): Schedule {
  const { peak, totalSteps, warmupSteps = 0, final = 0 } = options;
  const count = (value: number, least: number) => Number.isInteger(value) && value >= least;
  check(name, peak > 0 && peak < Infinity, "peak", peak, "above 0");
  check(name, count(totalSteps, 1), "totalSteps", totalSteps, "an integer of at least 1");
  check(
    name,
    count(warmupSteps, 0) && warmupSteps <= totalSteps,
    "warmupSteps",
    warmupSteps,
    `an integer from 0 to totalSteps, ${totalSteps}`,
  );
  check(name, final >= 0 && final <= peak, "final", final, `from 0 to peak, ${peak}`);
  // The last step of the warm-up is the first at the peak; the last step of all is at `final`.
  const turn = Math.max(warmupSteps - 1, 0);
  const span = totalSteps - 1 - turn;
  return (step) => {
    if (step < warmupSteps) return peak * (Math.max(step, 0) + 1) / warmupSteps;
    const x = span === 0 ? 1 : Math.min(Math.max((step - turn) / span, 0), 1);
    return final + (peak - final) * decay(x);
  };
}

function check(schedule: string, ok: boolean, name: string, value: unknown, domain: string): void {
  if (!ok) throw new OptionError(`${schedule}: ${name} is ${value}; it must be ${domain}`);
}
