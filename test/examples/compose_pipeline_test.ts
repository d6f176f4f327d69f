import assert from "node:assert/strict";
import { explainsItself, Folder, linesOf, writeScene } from "./run_example.ts";

Deno.test("examples/compose_pipeline.ts runs its stages in order, its own among them", async () => {
  using folder = new Folder();
  const { path, width, height, names } = await writeScene(folder);
  const [masks, ...lines] = await linesOf("compose_pipeline.ts", path, names.join(", "));
  const [, all, empty] = /^(\d+) masks, (\d+) of them without a pixel$/.exec(masks!)!;
  assert.ok(Number(empty) <= Number(all) && Number(all) > 0, masks!);
  const stages = lines.flatMap((line) => /^([\w-]+) ".+": [\d.]+ ms$/.exec(line)?.[1] ?? []);
  assert.deepEqual(stages, [
    "image-encoder",
    "text-encoder",
    "decoder",
    "filter",
    "pooler",
    "fuser",
    "classifier",
    "segmenter",
  ]);
  const found = lines.slice(stages.length).map((line) => /^(.+): (\d+) pixels$/.exec(line)!);
  assert.ok(found.length > 0);
  let pixels = 0;
  for (const [, name, area] of found) {
    assert.ok(names.includes(name!), name!);
    pixels += Number(area);
  }
  assert.ok(pixels <= width * height);
});

Deno.test("examples/compose_pipeline.ts says what it takes", async () => {
  await explainsItself("compose_pipeline.ts");
});
