import assert from "node:assert/strict";
import { explainsItself, linesOf } from "./run_example.ts";

Deno.test("examples/compare_fusers.ts prints a row for each fuser, one's own included", async () => {
  const module = "examples/plugins/median_fuser.ts";
  const [title, , ...rows] = await linesOf("compare_fusers.ts", "2", module);
  assert.match(title!, /^2 scenes, 172 classes, in percent$/);
  const figures = new Map(rows.map((row) => {
    const [fuser, ...values] = row.split(/\s+/);
    return [fuser!, values.map(Number)] as const;
  }));
  assert.deepEqual([...figures.keys()], ["gfa", "mean", "clip", "query", "median"]);
  for (const [fuser, values] of figures) {
    assert.equal(values.length, 3);
    assert.ok(values.every((value) => value >= 0 && value <= 100), `${fuser}: ${values}`);
  }
  assert.equal(figures.get("gfa")![2], 100);
  // Fusers differ, or the comparison compares nothing.
  assert.ok(new Set([...figures.values()].map(([, pixels]) => pixels)).size > 1);
});

Deno.test("examples/compare_fusers.ts says what it takes", async () => {
  await explainsItself("compare_fusers.ts", "many");
});
