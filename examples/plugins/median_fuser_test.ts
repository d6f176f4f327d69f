import { checkLaws, fuserLaws } from "@ovstage/ovstage/testing";
import medianFuser from "./median_fuser.ts";

Deno.test("the median fuser obeys the laws of fusers", async () => {
  // By design: the median of coordinates depends on the axes that they are coordinates of.
  const laws = fuserLaws(medianFuser, { except: ["rotation"] });
  console.log(`${await checkLaws(laws, { cases: 1000 })}`);
});
