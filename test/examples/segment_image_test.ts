import assert from "node:assert/strict";
import { readImage } from "../../plugins/codecs/read_image.ts";
import { explainsItself, Folder, linesOf, runExample, writeScene } from "./run_example.ts";

Deno.test("examples/segment_image.ts names what is in a picture, and draws it", async () => {
  using folder = new Folder();
  const { path, width, height, names } = await writeScene(folder);
  const lines = await linesOf("segment_image.ts", path, names.join(", "), folder.at("overlay.png"));
  assert.ok(lines.length > 0);
  for (const line of lines) {
    assert.match(line, /^.+: score [\d.]+, \d+ pixels in \[\d+, \d+, \d+, \d+\]$/);
    assert.ok(names.includes(line.split(":")[0]!), line);
  }
  const [before, after] = [await readImage(path), await readImage(folder.at("overlay.png"))];
  assert.deepEqual([after.width, after.height], [width, height]);
  assert.notDeepEqual(after.rgb, before.rgb);
});

Deno.test("examples/segment_image.ts says what it takes, and what is wrong with a file", async () => {
  using folder = new Folder();
  await explainsItself("segment_image.ts", folder.at("scene.png"));
  const { code, output } = await runExample("segment_image.ts", folder.at("none.png"), "dog");
  assert.equal(code, 1);
  assert.match(output, /InputError: .*none\.png: no such file/);
});
