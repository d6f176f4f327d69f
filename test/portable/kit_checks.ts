/**
 * The conformance kit in every runtime.
 *
 * @module
 */
import medianFuser from "../../examples/plugins/median_fuser.ts";
import { checkLaws, fuserLaws } from "../../kernels/testing.ts";
import { type Check, ensure } from "./check.ts";

/** Checks that the kit judges here as it does elsewhere. */
export function kitChecks(seed: number): Check[] {
  return [
    {
      name: "conformance kit: a fuser is judged, and what it is excepted from is left out",
      async run() {
        const laws = fuserLaws(medianFuser, { except: ["rotation"] });
        const { results, leftOut } = await checkLaws(laws, { seed, cases: 30 });
        ensure(results.length === 6 && leftOut.length === 1, `${results.length} laws held`);
        const all = await checkLaws(fuserLaws(medianFuser), { seed, cases: 30 }).then(
          () => "the median commutes with rotations",
          (error: Error) => error.message,
        );
        ensure(/^fuser "median": rotation.*\n.*"masks":/.test(all), all);
      },
    },
  ];
}
