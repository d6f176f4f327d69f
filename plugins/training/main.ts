/**
 * `deno task train clip`: makes the shipped model, stage by stage. A run that was cut off goes on
 * when the same command is given again.
 *
 * @module
 */
import process from "node:process";
import { trainClip } from "./clip.ts";

const stages: Record<string, () => Promise<void>> = {
  clip: () => trainClip("runs/clip"),
};

const stage = stages[process.argv[2] ?? ""];
if (stage === undefined) {
  console.error(`usage: deno task train ${Object.keys(stages).join("|")}`);
  process.exit(2);
}
await stage();
